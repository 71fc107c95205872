import type { Digest } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import { CAP_ID_MSIX } from "../config-space/standard-layouts.ts";
import type { MemoryRegion } from "./base-addresses.ts";

const CONTROL = 2;
const TABLE = 4;
const PENDING = 8;
const ENABLE = 0x8000;
const FUNCTION_MASK = 0x4000;
const ENTRY_WORDS = 4;
const VECTOR_CONTROL = 3;
const MASKED = 1;

/** One interrupt message: where it is written and what. */
export interface InterruptMessage {
  /** Page number of the address. */
  readonly page: number;
  /** Byte offset in the page. */
  readonly offset: number;
  /** 32 bits. */
  readonly data: number;
}

/**
 * The MSI-X table and Pending Bit Array of a function, which lie in the memory of its base addresses. After a reset every
 * vector is masked.
 *
 * Source: PCIe 6.0 §6.1.4, §7.7.2.
 */
export class MsixTable {
  /** Number of vectors. */
  readonly size: number;
  readonly #config: ConfigSpace;
  readonly #at: number;
  /** Empty until something is written: most functions never use theirs. */
  #words = new Uint32Array(0);
  #pending = new Uint32Array(0);
  readonly #unmasked: (vector: number) => void;

  /** @param unmasked told about a vector that a write to the table may have unmasked */
  constructor(config: ConfigSpace, unmasked: (vector: number) => void) {
    this.#config = config;
    this.#unmasked = unmasked;
    this.#at = config.findCapability(CAP_ID_MSIX);
    this.size = this.#at === 0 ? 0 : (config.read16(this.#at + CONTROL) & 0x7ff) + 1;
  }

  /** MSI-X Enable. */
  get enabled(): boolean {
    return this.#at !== 0 && (this.#config.read16(this.#at + CONTROL) & ENABLE) !== 0;
  }

  /** Whether a vector may not be sent now: by its own mask or the function's. */
  masked(vector: number): boolean {
    const own = this.word(vector, VECTOR_CONTROL) & MASKED;
    return own !== 0 || (this.#config.read16(this.#at + CONTROL) & FUNCTION_MASK) !== 0;
  }

  /** Sets or clears a pending bit. */
  setPending(vector: number, pending: boolean): void {
    this.#materialize();
    const word = this.#pending[vector >>> 5] ?? 0;
    const mask = 1 << (vector & 31);
    this.#pending[vector >>> 5] = pending ? word | mask : word & ~mask;
  }

  /** A pending bit. */
  pending(vector: number): boolean {
    return ((this.#pending[vector >>> 5] ?? 0) & (1 << (vector & 31))) !== 0;
  }

  /** Word 0 address, 1 upper address, 2 data, 3 vector control of a vector. */
  word(vector: number, index: number): number {
    return this.#words[vector * ENTRY_WORDS + index] ?? (index === VECTOR_CONTROL ? MASKED : 0);
  }

  /** Writes a word of a vector, as software does through the base address. */
  setWord(vector: number, index: number, value: number): void {
    this.#materialize();
    this.#words[vector * ENTRY_WORDS + index] = value;
    if (index === VECTOR_CONTROL) {
      this.#unmasked(vector);
    }
  }

  /** The message of a vector. */
  message(vector: number): InterruptMessage {
    const low = this.word(vector, 0);
    return { page: this.word(vector, 1) * 2 ** 20 + (low >>> 12), offset: low & 0xffc, data: this.word(vector, 2) };
  }

  /** Table and Pending Bit Array as parts of the base addresses' memory; none without the capability. */
  regions(): readonly MemoryRegion[] {
    if (this.#at === 0) {
      return [];
    }
    const table = this.#config.read32(this.#at + TABLE);
    const pending = this.#config.read32(this.#at + PENDING);
    const tableStart = (table & ~7) >>> 0;
    const pendingStart = (pending & ~7) >>> 0;
    return [
      {
        bar: table & 7,
        start: tableStart,
        end: tableStart + this.size * 16,
        read: (offset) => {
          const index = (offset - tableStart) / 4;
          return this.word(Math.floor(index / ENTRY_WORDS), index % ENTRY_WORDS);
        },
        write: (offset, value) => {
          const index = (offset - tableStart) / 4;
          this.setWord(Math.floor(index / ENTRY_WORDS), index % ENTRY_WORDS, value);
        },
      },
      {
        bar: pending & 7,
        start: pendingStart,
        end: pendingStart + Math.ceil(this.size / 64) * 8,
        read: (offset) => this.#pending[(offset - pendingStart) / 4] ?? 0,
        // Software may not write it: what it writes has no effect here.
        write: () => undefined,
      },
    ];
  }

  /** A reset of the function: all vectors masked, nothing pending. */
  reset(): void {
    this.#words = new Uint32Array(0);
    this.#pending = new Uint32Array(0);
  }

  /** Writes table and pending bits. */
  digest(into: Digest): void {
    for (const word of this.#words) {
      into.number(word);
    }
    for (const word of this.#pending) {
      into.number(word);
    }
  }

  #materialize(): void {
    if (this.#words.length === 0) {
      this.#words = new Uint32Array(this.size * ENTRY_WORDS);
      this.#pending = new Uint32Array(Math.ceil(this.size / 64) * 2);
      for (let vector = 0; vector < this.size; vector += 1) {
        this.#words[vector * ENTRY_WORDS + VECTOR_CONTROL] = MASKED;
      }
    }
  }
}
