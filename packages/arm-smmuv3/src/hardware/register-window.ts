import type { IdRegisters } from "../layout/id-registers.ts";
import { REG } from "../layout/registers.ts";
import type { CommandQueue } from "./command-queue.ts";
import type { Control } from "./control.ts";
import type { GlobalErrors } from "./global-errors.ts";
import type { QueueRegisters } from "./queue-registers.ts";

/** What the registers show and steer. */
export interface RegisterOwners {
  readonly id: IdRegisters;
  readonly control: Control;
  readonly errors: GlobalErrors;
  readonly commands: CommandQueue;
  readonly events: QueueRegisters;
  /** Software took events or enabled their queue: there may be room. */
  readonly eventsTaken: () => void;
  readonly pageRequests: QueueRegisters;
}

/** Bits 31:0 of base registers, and of the others, by offset. */
type Reader = () => number;
type Writer = (value: number) => void;

/**
 * The register file: page 0, and page 1 with the indices of event and page request queues. Registers that only
 * interrupts by message use are kept and otherwise ignored.
 *
 * Source: SMMUv3 §6.
 */
export class RegisterWindow {
  readonly #readers: ReadonlyMap<number, Reader>;
  readonly #writers: ReadonlyMap<number, Writer>;
  readonly #plain = new Map<number, number>();

  constructor(owners: RegisterOwners) {
    this.#readers = readersOf(owners);
    this.#writers = writersOf(owners);
  }

  /** Reads 4 bytes. Unknown registers read 0. */
  read32(offset: number): number {
    return (this.#readers.get(offset)?.() ?? this.#plain.get(offset) ?? 0) >>> 0;
  }

  /** Writes 4 bytes. */
  write32(offset: number, value: number): void {
    const writer = this.#writers.get(offset);
    if (writer !== undefined) {
      writer(value >>> 0);
    } else if (!this.#readers.has(offset)) {
      this.#plain.set(offset, value >>> 0);
    }
  }
}

function readersOf(owners: RegisterOwners): ReadonlyMap<number, Reader> {
  const { id, control, errors, commands, events, pageRequests } = owners;
  return new Map<number, Reader>([
    [REG.idr0, () => id.idr0],
    [REG.idr1, () => id.idr1],
    [REG.idr2, () => id.idr2 ?? 0],
    [REG.idr3, () => id.idr3],
    [REG.idr4, () => id.idr4 ?? 0],
    [REG.idr5, () => id.idr5],
    [REG.iidr, () => id.iidr ?? 0],
    [REG.aidr, () => id.aidr ?? 0],
    [REG.statusr, () => 0],
    [REG.cr0, () => control.cr0],
    [REG.cr0Ack, () => control.cr0Ack],
    [REG.cr1, () => control.cr1],
    [REG.cr2, () => control.cr2],
    [REG.gbpa, () => control.gbpa],
    [REG.irqCtrl, () => control.irqCtrl],
    [REG.irqCtrlAck, () => control.irqCtrlAck],
    [REG.gerror, () => errors.raised],
    [REG.gerrorn, () => errors.acknowledged],
    [REG.strtabBase, () => control.strtabBase[0]],
    [REG.strtabBase + 4, () => control.strtabBase[1]],
    [REG.strtabBaseCfg, () => control.strtabBaseCfg],
    ...baseReaders(REG.cmdqBase, commands.registers),
    [REG.cmdqProd, () => commands.registers.prod],
    [REG.cmdqCons, () => commands.registers.cons],
    ...baseReaders(REG.eventqBase, events),
    [REG.eventqProd, () => events.prod],
    [REG.eventqCons, () => events.cons],
    ...baseReaders(REG.priqBase, pageRequests),
    [REG.priqProd, () => pageRequests.prod],
    [REG.priqCons, () => pageRequests.cons],
  ]);
}

function writersOf(owners: RegisterOwners): ReadonlyMap<number, Writer> {
  const { control, errors, commands, events, pageRequests } = owners;
  return new Map<number, Writer>([
    [REG.cr0, (value) => control.writeCr0(value)],
    [
      REG.cr1,
      (value) => {
        control.cr1 = value;
      },
    ],
    [REG.cr2, (value) => control.writeCr2(value)],
    [REG.gbpa, (value) => control.writeGbpa(value)],
    [REG.irqCtrl, (value) => control.writeIrqCtrl(value)],
    [REG.gerrorn, (value) => errors.acknowledge(value)],
    [REG.strtabBase, (value) => control.writeStrtabBase(value, control.strtabBase[1])],
    [REG.strtabBase + 4, (value) => control.writeStrtabBase(control.strtabBase[0], value)],
    [REG.strtabBaseCfg, (value) => control.writeStrtabBaseCfg(value)],
    ...baseWriters(REG.cmdqBase, commands.registers),
    [
      REG.cmdqProd,
      (value) => {
        commands.registers.prod = value;
      },
    ],
    [REG.cmdqCons, (value) => commands.registers.writeCons(value)],
    ...baseWriters(REG.eventqBase, events),
    [REG.eventqProd, (value) => events.writeProd(value)],
    [
      REG.eventqCons,
      (value) => {
        events.cons = value;
        owners.eventsTaken();
      },
    ],
    ...baseWriters(REG.priqBase, pageRequests),
    [REG.priqProd, (value) => pageRequests.writeProd(value)],
    [
      REG.priqCons,
      (value) => {
        pageRequests.cons = value;
      },
    ],
  ]);
}

function baseReaders(offset: number, queue: QueueRegisters): [number, Reader][] {
  return [
    [offset, () => queue.base[0]],
    [offset + 4, () => queue.base[1]],
  ];
}

function baseWriters(offset: number, queue: QueueRegisters): [number, Writer][] {
  return [
    [offset, (value) => queue.writeBase(value, queue.base[1])],
    [offset + 4, (value) => queue.writeBase(queue.base[0], value)],
  ];
}
