import type { Clock, Digest, Digestible, Engine, PhysicalMemory, Trace, Words } from "@iommu-lab/core";
import { getBits } from "@iommu-lab/core";
import type { IommuHardware, RootComplex } from "@iommu-lab/pci";
import type { InterruptLine } from "../interrupt.ts";
import { commandName, commandOpcode } from "../layout/command-text.ts";
import { COMMAND_BYTES, OPCODE, WAIT_FLUSH } from "../layout/command.ts";
import { ERROR_MASTER_ABORT, EVENT, encodeEvent, eventType } from "../layout/event.ts";
import { eventName } from "../layout/event-text.ts";
import { CONTROL_BIT, decodeBufferBase } from "../layout/registers.ts";
import type { CommandCapabilities } from "./command-check.ts";
import { commandProblem } from "./command-check.ts";
import { executeInvalidation } from "./command-execution.ts";
import { CompletionWaits } from "./completion-waits.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceInvalidation } from "./device-iotlbs.ts";
import { DeviceIotlbs } from "./device-iotlbs.ts";
import type { DeviceTable } from "./device-table.ts";
import type { LogBuffer } from "./log-buffer.ts";
import type { OpenPoints } from "./open-points.ts";
import type { TranslationCaches } from "./translation-caches.ts";

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
  readonly caches: TranslationCaches;
  readonly events: LogBuffer;
  readonly capabilities: CommandCapabilities;
  readonly open: OpenPoints;
}

/**
 * The command buffer: one command a step, in order. INVALIDATE_IOTLB_PAGES stays at the head until there is room for it, a
 * COMPLETION_WAIT with F until everything before it has ended; without F later commands overtake it. A command that is not
 * legal, or cannot be read, stops the buffer with the head on that command.
 *
 * Source: AMD IOMMU specification §2.4, §2.5.6, §2.5.7.
 */
export class CommandProcessor implements Engine, Digestible {
  readonly name: string;
  /** Invalidations on their way to devices. */
  readonly devices: DeviceIotlbs;
  readonly #waits: CompletionWaits;
  readonly #parts: CommandParts;
  readonly #words: Words = new Uint32Array(COMMAND_BYTES / 4);
  #baseLo = 0;
  #baseHi = 0;
  #head = 0;
  #tail = 0;
  #halted = false;

  constructor(parts: CommandParts) {
    this.#parts = parts;
    this.name = `${parts.unit.name} commands`;
    this.devices = new DeviceIotlbs(`${parts.unit.name} device IOTLBs`, parts.clock, {
      completed: (one) => this.#report(one.submit, "INVALIDATE_IOTLB_PAGES", "completed"),
      timedOut: (one, itag) => this.#timedOut(one, itag),
    });
    const { memory, control, interrupt, open } = parts;
    const neverAfterTimeout = open.waitAfterTimeout === "never";
    this.#waits = new CompletionWaits({ memory, control, interrupt, devices: this.devices, neverAfterTimeout });
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
    return this.#waits.interrupt;
  }

  /** Software writes a one to ComWaitInt. */
  acknowledge(): void {
    this.#waits.acknowledge();
  }

  /** CmdBufEn went from 0 to 1. */
  restart(): void {
    this.#halted = false;
    this.#waits.reset();
  }

  ready(): boolean {
    return this.running && (this.#waits.due || (this.#head !== this.#tail && !this.#held()));
  }

  step(): void {
    if (!this.ready()) {
      return;
    }
    if (this.#waits.due) {
      this.#endOvertaken();
      return;
    }
    const { memory, capabilities } = this.#parts;
    const address = this.#load();
    const submit = memory.writerOf(address);
    if (!memory.exists(address)) {
      this.#halt(EVENT.COMMAND_HARDWARE_ERROR, address, submit);
    } else if (commandProblem(this.#words, capabilities) !== "") {
      this.#halt(EVENT.ILLEGAL_COMMAND_ERROR, address, submit);
    } else if (this.#execute(address, submit)) {
      this.#advance();
    } else {
      this.#halt(EVENT.COMMAND_HARDWARE_ERROR, address, submit);
    }
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    for (const value of [this.#baseLo, this.#baseHi, this.#head, this.#tail]) {
      into.number(value);
    }
    into.number(this.#halted ? 1 : 0);
    this.#waits.digest(into);
    this.devices.digest(into);
  }

  #advance(): void {
    const { bytes } = decodeBufferBase(this.#baseLo, this.#baseHi);
    this.#head = (this.#head + COMMAND_BYTES) % bytes;
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
      case OPCODE.COMPLETION_WAIT: {
        const flush = ((words[0] ?? 0) & WAIT_FLUSH) !== 0;
        return !this.#waits.clear && (flush || !this.#waits.hasRoom);
      }
      case OPCODE.INVALIDATE_IOTLB_PAGES:
        return !this.devices.hasRoom(getBits(words, 15, 0), getBits(words, 47, 32), getBits(words, 31, 24));
      default:
        return false;
    }
  }

  /** @returns false when a store found no memory */
  #execute(address: number, submit: number): boolean {
    const words = this.#words;
    if (commandOpcode(words) === OPCODE.COMPLETION_WAIT) {
      if (!this.#waits.clear) {
        this.#waits.postpone(words, address, submit);
        return true;
      }
      if (!this.#waits.complete(words)) {
        return false;
      }
    } else if (!executeInvalidation(this.#parts, this.devices, words, address, submit)) {
      return true;
    }
    this.#report(submit, commandName(words), "completed");
    return true;
  }

  /** Ends the oldest COMPLETION_WAIT that was overtaken. */
  #endOvertaken(): void {
    const wait = this.#waits.take();
    if (wait === undefined) {
      return;
    }
    if (this.#waits.complete(wait.words)) {
      this.#report(wait.submit, "COMPLETION_WAIT", "completed");
    } else {
      this.#halt(EVENT.COMMAND_HARDWARE_ERROR, wait.command, wait.submit, "COMPLETION_WAIT");
    }
  }

  #timedOut(one: DeviceInvalidation, itag: number): void {
    const { events, trace, unit } = this.#parts;
    const lo = one.command >>> 0;
    const hi = Math.floor(one.command / 2 ** 32);
    this.#waits.noteTimeout();
    events.append(encodeEvent({ code: EVENT.IOTLB_INV_TIMEOUT, deviceId: one.rid, lo, hi }));
    if (trace.active) {
      trace.emit("invalidate:timeout", { iommu: unit.name, rid: one.rid, itag }, one.submit);
    }
    this.#report(one.submit, "INVALIDATE_IOTLB_PAGES", "IOTLB_INV_TIMEOUT");
  }

  #halt(code: number, address: number, submit: number, name: string = commandName(this.#words)): void {
    const { events, open } = this.#parts;
    this.#halted = true;
    const flags = code === EVENT.COMMAND_HARDWARE_ERROR ? eventType(ERROR_MASTER_ABORT) : 0;
    const lo = address >>> 0;
    const hi = Math.floor(address / 2 ** 32);
    events.append(encodeEvent({ code, deviceId: 0, flags, lo, hi }));
    if (code === EVENT.ILLEGAL_COMMAND_ERROR && open.headAfterError === "behind") {
      this.#advance();
    }
    this.#report(submit, name, eventName(code));
  }

  #report(submit: number, opcode: string, result: string): void {
    const { trace, unit } = this.#parts;
    if (trace.active) {
      trace.emit("command:complete", { iommu: unit.name, opcode, submit, result }, submit);
    }
  }
}
