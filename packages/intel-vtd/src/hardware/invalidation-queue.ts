import {
  type Clock,
  type Digest,
  type Digestible,
  type Engine,
  type PhysicalMemory,
  type Trace,
  type Words,
  getBit,
  getBits,
} from "@iommu-lab/core";
import type { InterruptSink } from "../interrupt.ts";
import { descriptorName, descriptorType } from "../layout/descriptor-text.ts";
import { INV_WAIT } from "../layout/descriptor.ts";
import type { InvalidationQueueAddress } from "../layout/registers.ts";
import { FSTS_ICE, FSTS_IQE, FSTS_ITE, QUEUE_ERROR, decodeInvalidationQueueAddress } from "../layout/registers.ts";
import type { Capabilities } from "../layout/capabilities.ts";
import { checkDescriptor } from "./descriptor-check.ts";
import { DeviceTlbs } from "./device-tlbs.ts";
import { EventBlock } from "./event-block.ts";
import type { FaultRecorder } from "./fault-recorder.ts";

/** What executes a descriptor that was found valid. */
export interface DescriptorExecutor {
  /** @returns false when it needs an ITag and none is free: it stays at the head. */
  execute(words: Words, type: number, submit: number): boolean;
}

/** What the queue belongs to. */
export interface QueueOwner {
  readonly name: string;
  readonly memory: PhysicalMemory;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly caps: Capabilities;
  /** Host address width in bits. */
  readonly hostWidth: number;
  readonly faults: FaultRecorder;
  readonly executor: DescriptorExecutor;
  /** TTM as it is in force. */
  mode(): number;
}

/** A wait that older device-TLB invalidations hold up. */
interface PendingWait {
  readonly words: Words;
  readonly submit: number;
  /** Device-TLB invalidations up to this one must be done. */
  readonly sequence: number;
  readonly fence: boolean;
}

/**
 * The invalidation queue: fetches a descriptor, checks it, moves the head past it and executes it; one step each. A bad
 * descriptor keeps the head, a device that does not answer aborts the waits behind it, and either stops fetching until
 * software has cleared the error.
 *
 * Source: VT-d 5.10 §6.5.2.
 */
export class InvalidationQueue implements Engine, Digestible {
  readonly name: string;
  /** Device-TLB invalidations on their way. */
  readonly devices: DeviceTlbs;
  /** The invalidation completion event. */
  readonly event: EventBlock;
  readonly #owner: QueueOwner;
  readonly #waits: PendingWait[] = [];
  #enabled = false;
  #address: InvalidationQueueAddress = { base: 0, wide: false, size: 0 };
  #addressLo = 0;
  #addressHi = 0;
  #head = 0;
  #tail = 0;
  #completed = false;
  #errorLo = 0;
  #errorHi = 0;
  /** The descriptor at the head waits for an ITag. */
  #stalled = false;

  /** @param timeout ns after which a device-TLB invalidation is given up */
  constructor(owner: QueueOwner, timeout: number, sink: InterruptSink) {
    this.#owner = owner;
    this.name = `${owner.name} invalidation queue`;
    this.event = new EventBlock(sink);
    this.devices = new DeviceTlbs(`${owner.name} device-TLB tracker`, owner.clock, timeout, {
      completed: (_rid, submit, opcode) => this.#released(submit, opcode, "completed"),
      timedOut: (rid, itag, submit, opcode) => this.#timedOut(rid, itag, submit, opcode),
    });
  }

  /** QIES. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** QIE changes. Switching off resets the head. */
  enable(on: boolean): void {
    this.#enabled = on;
    this.#stalled = false;
    if (!on) {
      this.#head = 0;
      this.#waits.length = 0;
    }
  }

  /** IQH. */
  get head(): number {
    return this.#head;
  }

  /** IQT. */
  get tail(): number {
    return this.#tail;
  }

  /** Writes IQT: the doorbell. */
  writeTail(value: number): void {
    this.#tail = value & 0x7fff0;
  }

  /** IQA as halves. */
  get address(): readonly [lo: number, hi: number] {
    return [this.#addressLo, this.#addressHi];
  }

  /** Writes IQA. */
  writeAddress(lo: number, hi: number): void {
    this.#addressLo = lo;
    this.#addressHi = hi;
    this.#address = decodeInvalidationQueueAddress(lo, hi);
  }

  /** ICS. */
  get completionStatus(): number {
    return this.#completed ? 1 : 0;
  }

  /** Writes ICS: a one clears IWC. */
  writeCompletionStatus(value: number): void {
    if ((value & 1) !== 0) {
      this.#completed = false;
      this.event.clear();
    }
  }

  /** IQERCD as halves: IQEI; ITESID and ICESID. */
  get errorRecord(): readonly [lo: number, hi: number] {
    return [this.#errorLo, this.#errorHi];
  }

  /** An Invalidate Completion arrived. */
  complete(rid: number, itags: number, count: number): void {
    if (!this.devices.complete(rid, itags, count) && this.#owner.faults.raise(FSTS_ICE)) {
      this.#errorHi = ((rid << 16) | (this.#errorHi & 0xffff)) >>> 0;
    }
  }

  ready(): boolean {
    const [wait] = this.#waits;
    if (wait !== undefined && this.devices.settled(wait.sequence)) {
      return true;
    }
    return this.#canFetch();
  }

  step(): void {
    const [wait] = this.#waits;
    if (wait !== undefined && this.devices.settled(wait.sequence)) {
      this.#waits.shift();
      this.#finishWait(wait);
    } else if (this.#canFetch()) {
      this.#fetch();
    }
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    into.number(this.#addressLo);
    into.number(this.#addressHi);
    into.number(this.#head);
    into.number(this.#tail);
    into.number(this.#enabled ? 1 : 0);
    into.number(this.#completed ? 1 : 0);
    into.number(this.#errorLo);
    into.number(this.#errorHi);
    for (const wait of this.#waits) {
      into.number(wait.words[3] ?? 0);
      into.number(wait.words[2] ?? 0);
      into.number(this.devices.settled(wait.sequence) ? 1 : 0);
    }
    this.devices.digest(into);
    this.event.digest(into);
  }

  #canFetch(): boolean {
    return (
      this.#enabled &&
      !this.#stalled &&
      this.#head !== this.#tail &&
      !this.#owner.faults.has(FSTS_IQE | FSTS_ITE) &&
      !this.#waits.some((wait) => wait.fence)
    );
  }

  #fetch(): void {
    const { memory, caps, executor } = this.#owner;
    const { base, wide, size } = this.#address;
    const bytes = 4096 * 2 ** size;
    if (this.#tail >= bytes) {
      this.#refuse(QUEUE_ERROR.tail, 0, 0);
      return;
    }
    if (wide && (this.#tail & 0x10) !== 0) {
      this.#refuse(QUEUE_ERROR.misaligned, 0, 0);
      return;
    }
    const slot = base + this.#head;
    const submit = memory.writerOf(slot);
    if (!memory.exists(slot)) {
      this.#refuse(QUEUE_ERROR.fetch, 0, submit);
      return;
    }
    const words = new Uint32Array(wide ? 8 : 4);
    for (let index = 0; index < words.length; index += 1) {
      words[index] = memory.load32(slot + index * 4);
    }
    const type = descriptorType(words);
    const error = checkDescriptor(caps, words, this.#owner.mode());
    if (error !== 0) {
      this.#refuse(error, type, submit);
      return;
    }
    if (type !== INV_WAIT && !executor.execute(words, type, submit)) {
      this.#stalled = true;
      return;
    }
    this.#head = (this.#head + (wide ? 32 : 16)) % bytes;
    if (type === INV_WAIT) {
      this.#waits.push({ words, submit, sequence: this.devices.sequence, fence: getBit(words, 6) });
    }
  }

  #finishWait({ words, submit }: PendingWait): void {
    const { memory, trace } = this.#owner;
    if (getBit(words, 5)) {
      memory.store32(getBits(words, 63 + this.#owner.hostWidth, 66) * 4, words[1] ?? 0);
    }
    if (getBit(words, 4) && !this.#completed) {
      this.#completed = true;
      this.event.raise();
    }
    this.#report(trace, submit, "inv_wait", "completed");
  }

  #refuse(error: number, type: number, submit: number): void {
    if (this.#owner.faults.raise(FSTS_IQE)) {
      this.#errorLo = error;
    }
    this.#report(this.#owner.trace, submit, descriptorName(type), `invalidation queue error ${error}`);
  }

  #released(submit: number, opcode: string, result: string): void {
    this.#stalled = false;
    this.#report(this.#owner.trace, submit, opcode, result);
  }

  #timedOut(rid: number, itag: number, submit: number, opcode: string): void {
    const { trace, name: iommu } = this.#owner;
    if (trace.active) {
      trace.emit("invalidate:timeout", { iommu, rid, itag }, submit);
    }
    this.#released(submit, opcode, "timed out");
    if (this.#owner.faults.raise(FSTS_ITE)) {
      this.#errorHi = ((this.#errorHi & 0xffff0000) | rid) >>> 0;
    }
    for (const wait of this.#waits.splice(0)) {
      this.#report(this.#owner.trace, wait.submit, "inv_wait", "aborted");
    }
  }

  #report(trace: Trace, submit: number, opcode: string, result: string): void {
    if (trace.active) {
      trace.emit("command:complete", { iommu: this.#owner.name, opcode, submit, result }, submit);
    }
  }
}
