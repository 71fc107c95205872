import { type Digest, type Digestible, type Words, newWords } from "@iommu-lab/core";
import type { InterruptSink } from "../interrupt.ts";
import type { FaultRecord } from "../layout/fault-record.ts";
import { encodeFaultRecord } from "../layout/fault-record.ts";
import { FSTS_ICE, FSTS_IQE, FSTS_ITE, FSTS_PFO, FSTS_PPF } from "../layout/registers.ts";
import { EventBlock } from "./event-block.ts";

const VALID = 0x80000000;
const WRITE_ONE_TO_CLEAR = FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE;

/**
 * The fault status and the fault recording registers. Records are written one after another; the first that finds its
 * register still in use sets PFO, and from then on faults are lost until software has cleared it.
 *
 * Source: VT-d 5.10 §7.2.1, §11.4.7.
 */
export class FaultRecorder implements Digestible {
  /** The fault event. */
  readonly event: EventBlock;
  readonly #records: Words[];
  /** Pages that a record can name: bits above the widest tables are 0. */
  readonly #pages: number;
  /** PFO, IQE, ICE, ITE. */
  #status = 0;
  #next = 0;
  /** FRI: which record set PPF. */
  #first = 0;

  /**
   * @param count number of registers
   * @param width address bits that a record holds
   */
  constructor(count: number, width: number, sink: InterruptSink) {
    this.#pages = 2 ** (width - 12);
    this.#records = Array.from({ length: count }, () => newWords(2));
    this.event = new EventBlock(sink);
  }

  /** Records a fault. @returns whether software can read it */
  record(fault: Omit<FaultRecord, "valid">): boolean {
    if ((this.#status & FSTS_PFO) !== 0) {
      return false;
    }
    const words = this.#records[this.#next];
    if (words === undefined || this.#valid(words)) {
      this.#status |= FSTS_PFO;
      return false;
    }
    const quiet = this.readStatus() === 0;
    const waiting = this.#pending();
    words.set(encodeFaultRecord({ ...fault, page: fault.page % this.#pages, valid: true }));
    if (!waiting) {
      this.#first = this.#next;
    }
    this.#next = (this.#next + 1) % this.#records.length;
    if (quiet) {
      this.event.raise();
    }
    return true;
  }

  /** Sets IQE, ICE or ITE. @returns whether the bit was clear before */
  raise(bit: number): boolean {
    const quiet = this.readStatus() === 0;
    const was = (this.#status & bit) !== 0;
    this.#status |= bit;
    if (quiet) {
      this.event.raise();
    }
    return !was;
  }

  /** Whether one of these bits (PFO, IQE, ICE, ITE) is set. */
  has(bits: number): boolean {
    return (this.#status & bits) !== 0;
  }

  /** FSTS. */
  readStatus(): number {
    return this.#pending() ? this.#status | FSTS_PPF | (this.#first << 8) : this.#status;
  }

  /** Writes FSTS: ones clear. */
  writeStatus(value: number): void {
    this.#status &= ~(value & WRITE_ONE_TO_CLEAR);
    this.#settle();
  }

  /** Reads 4 bytes of the fault recording registers. */
  readRecord(offset: number): number {
    return (this.#records[offset >>> 4]?.[(offset & 15) >>> 2] ?? 0) >>> 0;
  }

  /** Writes 4 bytes of them: F is cleared by a one, everything else is read only. */
  writeRecord(offset: number, value: number): void {
    const words = this.#records[offset >>> 4];
    if (words !== undefined && (offset & 15) === 12 && value >= VALID) {
      words[3] = (words[3] ?? 0) & ~VALID;
      this.#settle();
    }
  }

  /** Translation and interrupt remapping are both off: recording starts at the first register again. */
  restart(): void {
    this.#next = 0;
  }

  digest(into: Digest): void {
    into.number(this.readStatus());
    into.number(this.#next);
    for (const words of this.#records) {
      for (const word of words) {
        into.number(word);
      }
    }
    this.event.digest(into);
  }

  #valid(words: Words): boolean {
    return ((words[3] ?? 0) & VALID) !== 0;
  }

  #pending(): boolean {
    return this.#records.some((words) => this.#valid(words));
  }

  #settle(): void {
    if (this.readStatus() === 0) {
      this.event.clear();
    }
  }
}
