import type { Digest, Digestible } from "@iommu-lab/core";
import type { ControlBit } from "../layout/registers.ts";
import {
  COMMAND_BASE,
  COMMAND_HEAD,
  COMMAND_TAIL,
  CONTROL,
  CONTROL_BIT,
  DEVICE_SPECIFIC,
  DEVICE_TABLE_BASE,
  DEVICE_TABLE_SEGMENT,
  EVENT_BASE,
  EVENT_B_BASE,
  EVENT_B_HEAD,
  EVENT_B_TAIL,
  EVENT_HEAD,
  EVENT_TAIL,
  EXCLUSION_BASE,
  EXCLUSION_LIMIT,
  EXTENDED_FEATURE,
  EXTENDED_FEATURE_2,
  GA_LOG_BASE,
  GA_LOG_HEAD,
  GA_LOG_TAIL,
  GA_LOG_TAIL_ADDRESS,
  HARDWARE_EVENT_LOWER,
  HARDWARE_EVENT_STATUS,
  HARDWARE_EVENT_UPPER,
  MARC,
  MSI_MIRROR,
  PPR_AUTO_RESPONSE,
  PPR_BASE,
  PPR_B_BASE,
  PPR_B_HEAD,
  PPR_B_TAIL,
  PPR_HEAD,
  PPR_OVERFLOW_EARLY,
  PPR_TAIL,
  SMI_FILTER,
  STATUS,
  STATUS_COMMAND_RUN,
  STATUS_COM_WAIT_INT,
  STATUS_EVENT_INT,
  STATUS_EVENT_OVERFLOW,
  STATUS_EVENT_RUN,
  STATUS_GA_LOG_RUN,
  STATUS_PPR_INT,
  STATUS_PPR_OVERFLOW,
  STATUS_PPR_RUN,
  XT_INTERRUPT,
} from "../layout/registers.ts";
import type { CommandProcessor } from "./command-processor.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceTable } from "./device-table.ts";
import type { ExclusionRange } from "./exclusion-range.ts";
import type { HardwareEvents } from "./hardware-events.ts";
import type { LogBuffer } from "./log-buffer.ts";

/** Segment of the device table whose base register this is; 0 = none. */
function segmentOf(offset: number): number {
  const segment = (offset - DEVICE_TABLE_SEGMENT) / 8 + 1;
  return segment >= 1 && segment <= 7 ? segment : 0;
}

/** A 64-bit register as halves. */
export type Register64 = readonly [lo: number, hi: number];

/** What the registers lead to. */
export interface RegisterParts {
  readonly efr: Register64;
  readonly efr2: Register64;
  readonly control: ControlRegister;
  readonly table: DeviceTable;
  readonly commands: CommandProcessor;
  readonly events: LogBuffer;
  readonly requests: LogBuffer;
  readonly exclusion: ExclusionRange;
  readonly hardwareEvents: HardwareEvents;
  /** DevTblSegSup: log2 of the segments that the device table may have. */
  readonly segmentBits: number;
}

const ZERO: Register64 = [0, 0];

/** Registers that hold what was written and do nothing here: first offset and how many. */
const PLAIN: readonly (readonly [offset: number, count: number])[] = [
  [SMI_FILTER, 16],
  [GA_LOG_BASE, 1],
  [GA_LOG_TAIL_ADDRESS, 1],
  [PPR_B_BASE, 1],
  [EVENT_B_BASE, 1],
  [DEVICE_SPECIFIC, 3],
  [MSI_MIRROR, 4],
  [XT_INTERRUPT, 3],
  [MARC, 12],
  [GA_LOG_HEAD, 1],
  [GA_LOG_TAIL, 1],
  [PPR_B_HEAD, 1],
  [PPR_B_TAIL, 1],
  [EVENT_B_HEAD, 1],
  [EVENT_B_TAIL, 1],
  [PPR_AUTO_RESPONSE, 1],
  [PPR_OVERFLOW_EARLY, 2],
];

function isPlain(offset: number): boolean {
  return PLAIN.some(([first, count]) => offset >= first && offset < first + count * 8);
}

const ENABLES: readonly ControlBit[] = [CONTROL_BIT.CmdBufEn, CONTROL_BIT.EventLogEn, CONTROL_BIT.PPRLogEn];

/**
 * The register window. Registers are 64 bits wide and may be read and written in halves.
 *
 * Source: AMD IOMMU specification §3.4.
 */
export class RegisterWindow implements Digestible {
  readonly #parts: RegisterParts;
  readonly #readers: ReadonlyMap<number, () => Register64>;
  readonly #plain = new Map<number, Register64>();

  constructor(parts: RegisterParts) {
    const { efr, efr2, control, table, commands, events, requests, exclusion, hardwareEvents } = parts;
    this.#parts = parts;
    this.#readers = new Map<number, () => Register64>([
      [DEVICE_TABLE_BASE, () => table.base()],
      [COMMAND_BASE, () => commands.base],
      [EVENT_BASE, () => events.base],
      [CONTROL, () => [control.lo, control.hi]],
      [EXCLUSION_BASE, () => exclusion.base],
      [EXCLUSION_LIMIT, () => exclusion.limit],
      [EXTENDED_FEATURE, () => efr],
      [HARDWARE_EVENT_UPPER, () => hardwareEvents.upper],
      [HARDWARE_EVENT_LOWER, () => hardwareEvents.lower],
      [HARDWARE_EVENT_STATUS, () => [hardwareEvents.status, 0]],
      [PPR_BASE, () => requests.base],
      [EXTENDED_FEATURE_2, () => efr2],
      [COMMAND_HEAD, () => [commands.head, 0]],
      [COMMAND_TAIL, () => [commands.tail, 0]],
      [EVENT_HEAD, () => [events.head, 0]],
      [EVENT_TAIL, () => [events.tail, 0]],
      [STATUS, () => [this.#status(), 0]],
      [PPR_HEAD, () => [requests.head, 0]],
      [PPR_TAIL, () => [requests.tail, 0]],
    ]);
  }

  /** Reads 4 bytes. */
  read32(offset: number): number {
    const [lo, hi] = this.#read(offset - (offset % 8));
    return (offset % 8 === 0 ? lo : hi) >>> 0;
  }

  /** Writes 4 bytes; the other half keeps its value. */
  write32(offset: number, value: number): void {
    const register = offset - (offset % 8);
    // A one written to Status clears; the half that is not written must not.
    const [lo, hi] = register === STATUS ? [0, 0] : this.#read(register);
    this.write64(register, offset % 8 === 0 ? value : lo, offset % 8 === 0 ? hi : value);
  }

  /** Writes 8 bytes. */
  write64(offset: number, lo: number, hi: number): void {
    const { table, commands, events, requests, exclusion } = this.#parts;
    switch (offset) {
      case DEVICE_TABLE_BASE:
        return table.writeBase(lo, hi);
      case COMMAND_BASE:
        return commands.writeBase(lo, hi);
      case EVENT_BASE:
        return events.writeBase(lo, hi);
      case PPR_BASE:
        return requests.writeBase(lo, hi);
      case CONTROL:
        return this.#writeControl(lo, hi);
      case EXCLUSION_BASE:
        return exclusion.writeBase(lo, hi);
      case EXCLUSION_LIMIT:
        return exclusion.writeLimit(lo, hi);
      case STATUS:
        return this.#writeStatus(lo);
      default:
        return this.#writePointer(offset, lo, hi);
    }
  }

  digest(into: Digest): void {
    for (const [offset, [lo, hi]] of [...this.#plain].toSorted((a, b) => a[0] - b[0])) {
      into.number(offset);
      into.number(lo);
      into.number(hi);
    }
  }

  #writePointer(offset: number, lo: number, hi: number): void {
    const { commands, events, requests } = this.#parts;
    switch (offset) {
      case COMMAND_HEAD:
        return commands.writeHead(lo);
      case COMMAND_TAIL:
        return commands.writeTail(lo);
      case EVENT_HEAD:
        return events.writeHead(lo);
      case EVENT_TAIL:
        return events.writeTail(lo);
      case PPR_HEAD:
        return requests.writeHead(lo);
      case PPR_TAIL:
        return requests.writeTail(lo);
      case HARDWARE_EVENT_STATUS:
        return this.#parts.hardwareEvents.writeStatus(lo);
      default:
        return this.#writeOther(offset, lo, hi);
    }
  }

  #writeOther(offset: number, lo: number, hi: number): void {
    const segment = segmentOf(offset);
    if (segment > 0 && segment < 2 ** this.#parts.segmentBits) {
      this.#parts.table.writeBase(lo, hi, segment);
    } else if (isPlain(offset)) {
      this.#plain.set(offset, [lo, hi]);
    }
  }

  #read(offset: number): Register64 {
    const segment = segmentOf(offset);
    if (segment > 0) {
      return this.#parts.table.base(segment);
    }
    return this.#readers.get(offset)?.() ?? this.#plain.get(offset) ?? ZERO;
  }

  #writeControl(lo: number, hi: number): void {
    const { control, commands, events, requests } = this.#parts;
    const before = ENABLES.map((bit) => control.has(bit));
    control.write(lo, hi);
    for (const [index, part] of [commands, events, requests].entries()) {
      const bit = ENABLES[index];
      if (bit !== undefined && before[index] === false && control.has(bit)) {
        part.restart();
      }
    }
  }

  #status(): number {
    const { control, commands, events, requests } = this.#parts;
    const bits: readonly (readonly [boolean, number])[] = [
      [events.overflow, STATUS_EVENT_OVERFLOW],
      [events.interrupt, STATUS_EVENT_INT],
      [commands.waitInterrupt, STATUS_COM_WAIT_INT],
      [events.running, STATUS_EVENT_RUN],
      [commands.running, STATUS_COMMAND_RUN],
      [requests.overflow, STATUS_PPR_OVERFLOW],
      [requests.interrupt, STATUS_PPR_INT],
      [requests.running, STATUS_PPR_RUN],
      [control.enabled && control.has(CONTROL_BIT.GALogEn), STATUS_GA_LOG_RUN],
    ];
    return bits.reduce((status, [set, bit]) => (set ? status | bit : status), 0);
  }

  #writeStatus(lo: number): void {
    const { commands, events, requests } = this.#parts;
    events.acknowledge((lo & STATUS_EVENT_OVERFLOW) !== 0, (lo & STATUS_EVENT_INT) !== 0);
    requests.acknowledge((lo & STATUS_PPR_OVERFLOW) !== 0, (lo & STATUS_PPR_INT) !== 0);
    if ((lo & STATUS_COM_WAIT_INT) !== 0) {
      commands.acknowledge();
    }
  }
}
