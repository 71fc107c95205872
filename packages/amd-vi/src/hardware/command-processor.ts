import {
  type Clock,
  type Digest,
  type Digestible,
  type Engine,
  type PhysicalMemory,
  type Trace,
  type Words,
  getBits,
} from "@iommu-lab/core";
import type { IommuHardware, RootComplex } from "@iommu-lab/pci";
import { NO_PASID } from "@iommu-lab/pci";
import type { InterruptLine } from "../interrupt.ts";
import { commandName, commandOpcode, iotlbPasid } from "../layout/command-text.ts";
import { COMMAND_BYTES, OPCODE, PAGES_GN, WAIT_INTERRUPT, WAIT_STORE } from "../layout/command.ts";
import { ERROR_MASTER_ABORT, EVENT, encodeEvent, eventType } from "../layout/event.ts";
import { decodePageRange } from "../layout/page-range.ts";
import { CONTROL_BIT, decodeBufferBase } from "../layout/registers.ts";
import type { CommandCapabilities } from "./command-check.ts";
import { isLegalCommand } from "./command-check.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceInvalidation } from "./device-iotlbs.ts";
import { DeviceIotlbs } from "./device-iotlbs.ts";
import type { DeviceTable } from "./device-table.ts";
import type { IoTlb } from "./io-tlb.ts";
import { HOST } from "./io-tlb.ts";
import type { LogBuffer } from "./log-buffer.ts";
import type { OpenPoints } from "./open-points.ts";

const POINTER_MASK = 0x7fff0;

/** What executing commands needs. */
export interface CommandParts {
  readonly unit: IommuHardware;
  readonly memory: PhysicalMemory;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly root: RootComplex;
  readonly interrupt: InterruptLine;
  readonly control: ControlRegister;
  readonly table: DeviceTable;
  readonly iotlb: IoTlb;
  readonly events: LogBuffer;
  readonly capabilities: CommandCapabilities;
  readonly open: OpenPoints;
}

/**
 * The command buffer: one command a step, in order. COMPLETION_WAIT stays at the head until every earlier invalidation of
 * a device's IOTLB has ended, INVALIDATE_IOTLB_PAGES until there is room for it. A command that is not legal, or cannot be
 * read, stops it with the head on that command.
 *
 * Source: AMD IOMMU specification §2.4, §2.5.6, §2.5.7.
 */
export class CommandProcessor implements Engine, Digestible {
  readonly name: string;
  /** Invalidations on their way to devices. */
  readonly devices: DeviceIotlbs;
  readonly #parts: CommandParts;
  readonly #words: Words = new Uint32Array(COMMAND_BYTES / 4);
  #baseLo = 0;
  #baseHi = 0;
  #head = 0;
  #tail = 0;
  #halted = false;
  #waitInterrupt = false;

  constructor(parts: CommandParts) {
    this.#parts = parts;
    this.name = `${parts.unit.name} commands`;
    this.devices = new DeviceIotlbs(`${parts.unit.name} device IOTLBs`, parts.clock, {
      completed: (one) => this.#report(one.submit, "INVALIDATE_IOTLB_PAGES", "completed"),
      timedOut: (one, itag) => this.#timedOut(one, itag),
    });
  }

  /** Command Buffer Base as halves. */
  get base(): readonly [lo: number, hi: number] {
    return [this.#baseLo, this.#baseHi];
  }

  /** Writes the base register; ignored while it runs. Head and tail become 0. */
  writeBase(lo: number, hi: number): void {
    if (!this.running) {
      this.#baseLo = lo;
      this.#baseHi = hi;
      this.#head = 0;
      this.#tail = 0;
    }
  }

  /** The next command to execute. */
  get head(): number {
    return this.#head;
  }

  /** Writes the head; ignored while it runs. */
  writeHead(value: number): void {
    if (!this.running) {
      this.#head = value & POINTER_MASK;
    }
  }

  /** Where software puts the next command. */
  get tail(): number {
    return this.#tail;
  }

  /** Writes the tail: the doorbell. */
  writeTail(value: number): void {
    this.#tail = value & POINTER_MASK;
  }

  /** CmdBufRun. */
  get running(): boolean {
    const { control } = this.#parts;
    return control.enabled && control.has(CONTROL_BIT.CmdBufEn) && !this.#halted;
  }

  /** ComWaitInt. */
  get waitInterrupt(): boolean {
    return this.#waitInterrupt;
  }

  /** Software writes a one to ComWaitInt. */
  acknowledge(): void {
    this.#waitInterrupt = false;
  }

  /** CmdBufEn went from 0 to 1. */
  restart(): void {
    this.#halted = false;
  }

  ready(): boolean {
    return this.running && this.#head !== this.#tail && !this.#held();
  }

  step(): void {
    if (!this.ready()) {
      return;
    }
    const { memory, capabilities } = this.#parts;
    const { bytes } = decodeBufferBase(this.#baseLo, this.#baseHi);
    const address = this.#load();
    const submit = memory.writerOf(address);
    const name = commandName(this.#words);
    if (!memory.exists(address)) {
      this.#halt(EVENT.COMMAND_HARDWARE_ERROR, address, submit, name);
      return;
    }
    if (!isLegalCommand(this.#words, capabilities)) {
      this.#halt(EVENT.ILLEGAL_COMMAND_ERROR, address, submit, name);
      return;
    }
    if (!this.#execute(address, submit, name)) {
      this.#halt(EVENT.COMMAND_HARDWARE_ERROR, address, submit, name);
      return;
    }
    this.#head = (this.#head + COMMAND_BYTES) % bytes;
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    for (const value of [this.#baseLo, this.#baseHi, this.#head, this.#tail]) {
      into.number(value);
    }
    into.number((this.#halted ? 1 : 0) | (this.#waitInterrupt ? 2 : 0));
    this.devices.digest(into);
  }

  /** Reads the command at the head. @returns its address */
  #load(): number {
    const { address } = decodeBufferBase(this.#baseLo, this.#baseHi);
    const slot = address + this.#head;
    for (let index = 0; index < this.#words.length; index += 1) {
      this.#words[index] = this.#parts.memory.load32(slot + index * 4);
    }
    return slot;
  }

  #held(): boolean {
    this.#load();
    const words = this.#words;
    switch (commandOpcode(words)) {
      case OPCODE.COMPLETION_WAIT:
        return this.devices.pending > 0;
      case OPCODE.INVALIDATE_IOTLB_PAGES:
        return !this.devices.hasRoom(getBits(words, 15, 0), getBits(words, 47, 32), getBits(words, 31, 24));
      default:
        return false;
    }
  }

  /** @returns false when a store found no memory */
  #execute(address: number, submit: number, name: string): boolean {
    const { table, iotlb, unit, root } = this.#parts;
    const words = this.#words;
    switch (commandOpcode(words)) {
      case OPCODE.COMPLETION_WAIT:
        if (!this.#wait()) {
          return false;
        }
        break;
      case OPCODE.INVALIDATE_DEVTAB_ENTRY:
        table.invalidate(getBits(words, 15, 0));
        break;
      case OPCODE.INVALIDATE_IOMMU_PAGES: {
        const guest = ((words[2] ?? 0) & PAGES_GN) !== 0;
        const range = decodePageRange(words[2] ?? 0, words[3] ?? 0);
        iotlb.invalidate(getBits(words, 47, 32), guest ? getBits(words, 19, 0) : HOST, range);
        break;
      }
      case OPCODE.INVALIDATE_IOTLB_PAGES:
        this.#invalidateDevice(address, submit);
        return true;
      case OPCODE.COMPLETE_PPR_REQUEST: {
        const pasid = ((words[2] ?? 0) & PAGES_GN) === 0 ? NO_PASID : getBits(words, 51, 32);
        root.sendPageResponse(unit, getBits(words, 15, 0), pasid, getBits(words, 104, 96), getBits(words, 111, 108));
        break;
      }
      case OPCODE.INVALIDATE_IOMMU_ALL:
        table.clear();
        iotlb.clear();
        break;
      default:
        // Interrupt tables are not modelled, and a prefetch is a hint.
        break;
    }
    this.#report(submit, name, "completed");
    return true;
  }

  #wait(): boolean {
    const { memory, control, interrupt } = this.#parts;
    const words = this.#words;
    const flags = words[0] ?? 0;
    if ((flags & WAIT_STORE) !== 0) {
      const target = getBits(words, 51, 3) * 8;
      if (!memory.exists(target)) {
        return false;
      }
      memory.store64(target, words[2] ?? 0, words[3] ?? 0);
    }
    if ((flags & WAIT_INTERRUPT) !== 0) {
      this.#waitInterrupt = true;
      if (control.has(CONTROL_BIT.ComWaitIntEn)) {
        interrupt.raise();
      }
    }
    return true;
  }

  /** The requests of a device whose DTE has GIoV are those of PASID 0; see {@link OpenPoints.guestIoInvalidation}. */
  #invalidateDevice(command: number, submit: number): void {
    const { table, root, unit, control, open } = this.#parts;
    const words = this.#words;
    const rid = getBits(words, 15, 0);
    const { page, sizeLog2 } = decodePageRange(words[2] ?? 0, words[3] ?? 0);
    let pasid = ((words[2] ?? 0) & PAGES_GN) === 0 ? NO_PASID : iotlbPasid(words);
    if (pasid === 0 && open.guestIoInvalidation === "without-pasid" && table.fetch(rid)?.entry.guestIo === true) {
      pasid = NO_PASID;
    }
    const one = { rid, queueId: getBits(words, 47, 32), command, submit };
    const itag = this.devices.start(one, control.invalidationTimeout);
    root.sendInvalidate(unit, rid, itag, pasid, page, sizeLog2, false, submit);
  }

  #timedOut(one: DeviceInvalidation, itag: number): void {
    const { events, trace, unit } = this.#parts;
    const lo = one.command >>> 0;
    const hi = Math.floor(one.command / 2 ** 32);
    events.append(encodeEvent({ code: EVENT.IOTLB_INV_TIMEOUT, deviceId: one.rid, lo, hi }));
    if (trace.active) {
      trace.emit("invalidate:timeout", { iommu: unit.name, rid: one.rid, itag }, one.submit);
    }
    this.#report(one.submit, "INVALIDATE_IOTLB_PAGES", "IOTLB_INV_TIMEOUT");
  }

  #halt(code: number, address: number, submit: number, name: string): void {
    this.#halted = true;
    const flags = code === EVENT.COMMAND_HARDWARE_ERROR ? eventType(ERROR_MASTER_ABORT) : 0;
    const lo = address >>> 0;
    const hi = Math.floor(address / 2 ** 32);
    this.#parts.events.append(encodeEvent({ code, deviceId: 0, flags, lo, hi }));
    const result = code === EVENT.ILLEGAL_COMMAND_ERROR ? "ILLEGAL_COMMAND_ERROR" : "COMMAND_HARDWARE_ERROR";
    this.#report(submit, name, result);
  }

  #report(submit: number, opcode: string, result: string): void {
    const { trace, unit } = this.#parts;
    if (trace.active) {
      trace.emit("command:complete", { iommu: unit.name, opcode, submit, result }, submit);
    }
  }
}
