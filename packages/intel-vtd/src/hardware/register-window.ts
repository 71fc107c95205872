import type { Capabilities } from "../layout/capabilities.ts";
import { FAULT_RECORD_BYTES } from "../layout/fault-record.ts";
import {
  CAP,
  CCMD,
  ECAP,
  FECTL,
  FSTS,
  GCMD,
  GSTS,
  ICS,
  IECTL,
  IQA,
  IQERCD,
  IQH,
  IQT,
  PECTL,
  PQA,
  PQH,
  PQT,
  PRS,
  RTADDR,
  VER,
} from "../layout/registers.ts";
import type { EventBlock } from "./event-block.ts";
import type { FaultRecorder } from "./fault-recorder.ts";
import type { GlobalCommand } from "./global-command.ts";
import type { InvalidationQueue } from "./invalidation-queue.ts";
import type { PageRequestQueue } from "./page-request-queue.ts";
import type { ProtectedMemory } from "./protected-memory.ts";
import type { RegisterInvalidation } from "./register-invalidation.ts";

/** What the registers show and steer. */
export interface RegisterOwners {
  readonly version: number;
  readonly cap: readonly [lo: number, hi: number];
  readonly ecap: readonly [lo: number, hi: number];
  readonly caps: Capabilities;
  readonly command: GlobalCommand;
  readonly faults: FaultRecorder;
  readonly queue: InvalidationQueue;
  readonly pageRequests: PageRequestQueue;
  readonly protectedMemory: ProtectedMemory;
  readonly registerInvalidation: RegisterInvalidation;
}

/**
 * The register file of a unit. 64-bit registers answer as two halves; a write to the low half of a queue tail is a
 * doorbell, as drivers write 4 bytes there.
 *
 * Source: VT-d 5.10 §11.4.
 */
export class RegisterWindow {
  readonly #owners: RegisterOwners;
  readonly #events: readonly (readonly [base: number, event: EventBlock])[];

  /** Offset of IVA; a unit without such registers has IRO=0. */
  readonly #iotlb: number;

  constructor(owners: RegisterOwners) {
    this.#owners = owners;
    this.#iotlb = owners.caps.iotlbOffset === 0 ? -16 : owners.caps.iotlbOffset;
    this.#events = [
      [FECTL, owners.faults.event],
      [IECTL, owners.queue.event],
      [PECTL, owners.pageRequests.event],
    ];
  }

  /** Reads 4 bytes. Unknown registers read 0. */
  read32(offset: number): number {
    const record = this.#recordOffset(offset);
    if (record >= 0) {
      return this.#owners.faults.readRecord(record);
    }
    if (this.#owners.protectedMemory.has(offset)) {
      return this.#owners.protectedMemory.read(offset);
    }
    const aligned = offset - (offset % 8);
    const pair = this.#read64(aligned);
    if (pair !== undefined) {
      return (offset % 8 === 0 ? pair[0] : pair[1]) >>> 0;
    }
    return this.#readNarrow(offset) >>> 0;
  }

  /** Writes 4 bytes. */
  write32(offset: number, value: number): void {
    const record = this.#recordOffset(offset);
    if (record >= 0) {
      this.#owners.faults.writeRecord(record, value);
      return;
    }
    if (this.#owners.protectedMemory.has(offset)) {
      this.#owners.protectedMemory.write(offset, value);
      return;
    }
    const aligned = offset - (offset % 8);
    const pair = this.#read64(aligned);
    if (pair === undefined) {
      this.#writeNarrow(offset, value);
    } else {
      this.write64(aligned, offset % 8 === 0 ? value : pair[0], offset % 8 === 0 ? pair[1] : value);
    }
  }

  /** Writes 8 bytes. */
  write64(offset: number, lo: number, hi: number): void {
    const { command, queue, pageRequests, registerInvalidation } = this.#owners;
    switch (offset) {
      case RTADDR:
        command.writeRoot(lo, hi);
        break;
      case CCMD:
        registerInvalidation.writeContextCommand(lo, hi);
        break;
      case this.#iotlb:
        registerInvalidation.writeAddress(lo, hi);
        break;
      case this.#iotlb + 8:
        registerInvalidation.writeIotlbCommand(lo, hi);
        break;
      case IQT:
        queue.writeTail(lo);
        break;
      case IQA:
        queue.writeAddress(lo, hi);
        break;
      case PQH:
        pageRequests.writeHead(lo);
        break;
      case PQT:
        pageRequests.writeTail(lo);
        break;
      case PQA:
        pageRequests.writeAddress(lo, hi);
        break;
      default:
        if (this.#read64(offset) === undefined) {
          this.write32(offset, lo);
          this.write32(offset + 4, hi);
        }
    }
  }

  /** Offset into the fault recording registers, or -1. */
  #recordOffset(offset: number): number {
    const { faultRecordOffset, faultRecords } = this.#owners.caps;
    const at = offset - faultRecordOffset;
    return at >= 0 && at < faultRecords * FAULT_RECORD_BYTES ? at : -1;
  }

  /** A 64-bit register as halves; undefined where there is none. */
  #read64(offset: number): readonly [lo: number, hi: number] | undefined {
    const { cap, ecap, command, queue, pageRequests, registerInvalidation } = this.#owners;
    switch (offset) {
      case CAP:
        return cap;
      case ECAP:
        return ecap;
      case RTADDR:
        return command.root;
      case CCMD:
        return registerInvalidation.contextCommand;
      case this.#iotlb:
        return registerInvalidation.address;
      case this.#iotlb + 8:
        return registerInvalidation.iotlbCommand;
      case IQH:
        return [queue.head, 0];
      case IQT:
        return [queue.tail, 0];
      case IQA:
        return queue.address;
      case IQERCD:
        return queue.errorRecord;
      case PQH:
        return [pageRequests.head, 0];
      case PQT:
        return [pageRequests.tail, 0];
      case PQA:
        return pageRequests.address;
      default:
        return undefined;
    }
  }

  #readNarrow(offset: number): number {
    const { version, command, faults, queue, pageRequests } = this.#owners;
    switch (offset) {
      case VER:
        return version;
      case GSTS:
        return command.status;
      case FSTS:
        return faults.readStatus();
      case ICS:
        return queue.completionStatus;
      case PRS:
        return pageRequests.status;
      default:
        return this.#readEvent(offset);
    }
  }

  #writeNarrow(offset: number, value: number): void {
    const { command, faults, queue, pageRequests } = this.#owners;
    switch (offset) {
      case GCMD:
        command.write(value);
        break;
      case FSTS:
        faults.writeStatus(value);
        break;
      case ICS:
        queue.writeCompletionStatus(value);
        break;
      case PRS:
        pageRequests.writeStatus(value);
        break;
      default:
        this.#writeEvent(offset, value);
    }
  }

  #readEvent(offset: number): number {
    for (const [base, event] of this.#events) {
      if (offset >= base && offset < base + 16) {
        return event.read((offset - base) >>> 2);
      }
    }
    return 0;
  }

  #writeEvent(offset: number, value: number): void {
    for (const [base, event] of this.#events) {
      if (offset >= base && offset < base + 16) {
        event.write((offset - base) >>> 2, value);
      }
    }
  }
}
