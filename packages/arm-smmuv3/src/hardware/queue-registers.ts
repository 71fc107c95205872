import type { Digest, Digestible } from "@iommu-lab/core";
import { indexOf } from "../layout/queue-index.ts";
import type { Register64 } from "../layout/registers.ts";
import { decodeQueueBase } from "../layout/registers.ts";

/** Base, producer and consumer registers of one queue. Source: SMMUv3 §3.5, §6.3.26. */
export class QueueRegisters implements Digestible {
  readonly #limit: number;
  readonly #entryBytes: number;
  readonly #guarded: () => boolean;
  #base: Register64 = [0, 0];
  #address = 0;
  #log2Size = 0;
  /** Producer index with wrap bit and flags. */
  prod = 0;
  /** Consumer index with wrap bit and flags. */
  cons = 0;

  /**
   * @param limit largest log2 of the number of entries
   * @param guarded whether the queue is enabled: base and the hardware's own index cannot be written then
   */
  constructor(limit: number, entryBytes: number, guarded: () => boolean) {
    this.#limit = limit;
    this.#entryBytes = entryBytes;
    this.#guarded = guarded;
  }

  /** The base register. */
  get base(): Register64 {
    return this.#base;
  }

  /** Effective log2 of the number of entries. */
  get log2Size(): number {
    return this.#log2Size;
  }

  /** Physical address of the entry at an index. */
  slot(pointer: number): number {
    return this.#address + indexOf(pointer, this.#log2Size) * this.#entryBytes;
  }

  /** Writes the base register; ignored while the queue is enabled. */
  writeBase(lo: number, hi: number): void {
    if (this.#guarded()) {
      return;
    }
    this.#base = [lo >>> 0, hi >>> 0];
    const { address, log2Size } = decodeQueueBase(this.#base);
    this.#log2Size = Math.min(log2Size, this.#limit);
    const bytes = this.#entryBytes * 2 ** this.#log2Size;
    this.#address = address - (address % bytes);
  }

  /** Software writes the producer index of a queue that hardware fills; ignored while the queue is enabled. */
  writeProd(value: number): void {
    if (!this.#guarded()) {
      this.prod = value >>> 0;
    }
  }

  /** Software writes the consumer index of a queue that hardware empties; ignored while the queue is enabled. */
  writeCons(value: number): void {
    if (!this.#guarded()) {
      this.cons = value >>> 0;
    }
  }

  digest(into: Digest): void {
    for (const value of [...this.#base, this.prod, this.cons]) {
      into.number(value);
    }
  }
}
