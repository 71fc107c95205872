import type { Digest, Digestible, PhysicalMemory, Words } from "@iommu-lab/core";
import type { InterruptLine } from "../interrupt-line.ts";
import { OVERFLOW_FLAG, advance, isFull } from "../layout/queue-index.ts";
import type { GlobalErrors, InterruptMask } from "./global-errors.ts";
import { QueueRegisters } from "./queue-registers.ts";

/** What a queue of records belongs to. */
export interface RecordQueueOptions {
  readonly memory: PhysicalMemory;
  /** Largest log2 of the number of entries. */
  readonly limit: number;
  readonly recordBytes: number;
  /** Whether records are taken (EVENTQEN, PRIQEN). */
  readonly enabled: () => boolean;
  readonly errors: GlobalErrors;
  /** GERROR bit of an aborted write. */
  readonly abortError: number;
  readonly mask: InterruptMask;
  /** IRQ_CTRL bit. */
  readonly interrupt: number;
  readonly line: InterruptLine;
  /** Whether an overflow that software has not acknowledged keeps later records out, as it does for page requests. */
  readonly overflowBlocks: boolean;
}

/** What became of a record. */
export type RecordOutcome = "written" | "disabled" | "overflow";

/**
 * A queue that hardware fills: the event queue and the page request queue.
 *
 * Source: SMMUv3 §3.5, §7.2, §7.4, §8.2.
 */
export class RecordQueue implements Digestible {
  /** Its registers. */
  readonly registers: QueueRegisters;
  readonly #options: RecordQueueOptions;

  constructor(options: RecordQueueOptions) {
    this.#options = options;
    this.registers = new QueueRegisters(options.limit, options.recordBytes, options.enabled);
  }

  /** Whether an overflow waits for its acknowledgement. */
  get overflowed(): boolean {
    return ((this.registers.prod ^ this.registers.cons) & OVERFLOW_FLAG) !== 0;
  }

  /** Writes a record where software will look for it. */
  write(record: Words): RecordOutcome {
    const { memory, enabled, errors, abortError, overflowBlocks } = this.#options;
    const { registers } = this;
    if (!enabled() || errors.active(abortError)) {
      return "disabled";
    }
    if (isFull(registers.prod, registers.cons, registers.log2Size) || (overflowBlocks && this.overflowed)) {
      if (!this.overflowed) {
        registers.prod = (registers.prod ^ OVERFLOW_FLAG) >>> 0;
      }
      return "overflow";
    }
    const slot = registers.slot(registers.prod);
    if (!memory.exists(slot)) {
      errors.raise(abortError);
      return "disabled";
    }
    for (let index = 0; index < record.length; index += 2) {
      memory.store64(slot + index * 4, record[index] ?? 0, record[index + 1] ?? 0);
    }
    const flag = registers.prod & OVERFLOW_FLAG;
    registers.prod = (advance(registers.prod, 1, registers.log2Size) | flag) >>> 0;
    this.#interrupt();
    return "written";
  }

  /** Writes a record if there is room; one that finds none stays its owner's, and is no overflow. @returns whether it did */
  offer(record: Words): boolean {
    const { prod, cons, log2Size } = this.registers;
    return !isFull(prod, cons, log2Size) && this.write(record) === "written";
  }

  digest(into: Digest): void {
    this.registers.digest(into);
  }

  #interrupt(): void {
    const { mask, interrupt, line } = this.#options;
    if (mask.interruptEnabled(interrupt)) {
      line.raise();
    }
  }
}
