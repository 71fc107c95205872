import { KernelError } from "../sim/errors.ts";
import type { PhysicalMemory } from "../sim/memory.ts";
import type { PageTableFormat, Word64 } from "./format.ts";

const PAGE = 4096;

/** What a page is mapped to. */
export interface Mapping {
  /** Host page number. */
  readonly target: number;
  /** Union of the `PROT_` bits. */
  readonly prot: number;
}

/**
 * A page table in physical memory, written by driver code alone. Hardware reads the same bytes with a walk of its own.
 * Pages are numbers below 2^52 (address / 4096), so every 64-bit address is exact.
 */
export class PageTable {
  /** Physical address of the top table. */
  readonly root: number;
  /** The format of its entries. */
  readonly format: PageTableFormat;
  readonly #memory: PhysicalMemory;
  readonly #owner: string;
  readonly #name: string;
  readonly #tables: number[] = [];
  readonly #word: Word64 = { lo: 0, hi: 0 };

  constructor(memory: PhysicalMemory, format: PageTableFormat, owner: string, name: string) {
    this.#memory = memory;
    this.format = format;
    this.#owner = owner;
    this.#name = name;
    this.root = this.#newTable(format.levels);
  }

  /**
   * Maps `count` pages from `page` to host pages from `target`.
   *
   * @throws KernelError EINVAL outside the input range, EEXIST when a page is mapped already (nothing is changed then)
   */
  map(page: number, target: number, count: number, prot: number): void {
    if (page < 0 || count < 1 || page + count > this.format.endPage) {
      throw new KernelError("EINVAL", `page ${page} + ${count} is outside the range of ${this.format.name}`);
    }
    for (let index = 0; index < count; index += 1) {
      if (this.lookup(page + index) !== undefined) {
        throw new KernelError("EEXIST", `page 0x${(page + index).toString(16)} is mapped already`);
      }
    }
    for (let index = 0; index < count; index += 1) {
      const slot = this.#leafSlot(page + index, true);
      this.format.leafEntry(1, (target + index) * PAGE, prot, this.#word);
      this.#memory.store64(slot, this.#word.lo, this.#word.hi);
    }
  }

  /** Removes up to `count` pages; tables stay allocated. @returns how many pages were mapped */
  unmap(page: number, count: number): number {
    let removed = 0;
    for (let index = 0; index < count; index += 1) {
      const slot = this.#leafSlot(page + index, false);
      if (slot >= 0 && this.#memory.load64(slot) && this.format.present(1, this.#memory.lo, this.#memory.hi)) {
        this.#memory.store64(slot, 0, 0);
        removed += 1;
      }
    }
    return removed;
  }

  /** What a page is mapped to, read from the bytes. */
  lookup(page: number): Mapping | undefined {
    const slot = this.#leafSlot(page, false);
    if (slot < 0) {
      return undefined;
    }
    const { lo, hi } = this.#load(slot);
    if (!this.format.present(1, lo, hi)) {
      return undefined;
    }
    return { target: this.format.address(1, lo, hi) / PAGE, prot: this.format.protection(1, lo, hi) };
  }

  /** Gives all tables back. */
  free(): void {
    for (const table of this.#tables.splice(0)) {
      this.#memory.release(table);
    }
  }

  #newTable(level: number): number {
    const table = this.#memory.allocate(PAGE, PAGE, this.#owner, `${this.#name} level ${level}`);
    this.#tables.push(table);
    return table;
  }

  #load(address: number): Word64 {
    this.#memory.load64(address);
    return this.#memory;
  }

  /** The address of the leaf entry; -1 when a table on the way is missing and `create` is false. */
  #leafSlot(page: number, create: boolean): number {
    const { levels, indexBits, endPage } = this.format;
    if (page < 0 || page >= endPage) {
      return -1;
    }
    let table = this.root;
    for (let level = levels; level > 1; level -= 1) {
      const index = Math.floor(page / 2 ** (indexBits * (level - 1))) % 2 ** indexBits;
      const slot = table + index * 8;
      const { lo, hi } = this.#load(slot);
      if (this.format.present(level, lo, hi)) {
        table = this.format.address(level, lo, hi);
      } else if (create) {
        table = this.#newTable(level - 1);
        this.format.tableEntry(level, table, this.#word);
        this.#memory.store64(slot, this.#word.lo, this.#word.hi);
      } else {
        return -1;
      }
    }
    return table + (page % 2 ** indexBits) * 8;
  }
}
