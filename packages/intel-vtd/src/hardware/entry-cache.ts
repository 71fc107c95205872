import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "./cache-policy.ts";
import { Replacement } from "./cache-policy.ts";

/** An entry of a table as a unit holds it. */
export interface HeldEntry {
  /** All that it says, in a fixed order. */
  digest(into: Digest): void;
}

/**
 * Entries by one or two numbers (a requester; a requester and a PASID). It hands out the objects that are filled from
 * memory, so that a unit which keeps nothing fills one again and again.
 */
export class EntryCache<T extends HeldEntry> implements Digestible {
  readonly #replacement: Replacement;
  readonly #make: () => T;
  readonly #scratch: T;
  readonly #entries = new Map<number, Map<number, T>>();
  #size = 0;

  constructor(policy: CachePolicy, make: () => T) {
    this.#replacement = new Replacement(policy);
    this.#make = make;
    this.#scratch = make();
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#size;
  }

  /** The entry of a requester, and of a PASID where entries have one. */
  find(rid: number, pasid: number = 0): T | undefined {
    const row = this.#entries.get(rid);
    const found = row?.get(pasid);
    if (row === undefined || found === undefined) {
      return undefined;
    }
    if (this.#replacement.drops()) {
      this.#remove(rid, row, pasid);
      return undefined;
    }
    if (this.#replacement.ordered) {
      row.delete(pasid);
      row.set(pasid, found);
      this.#entries.delete(rid);
      this.#entries.set(rid, row);
    }
    return found;
  }

  /** An object to fill from memory. */
  blank(): T {
    return this.#replacement.keeps ? this.#make() : this.#scratch;
  }

  /** Remembers a filled object. */
  keep(entry: T, rid: number, pasid: number = 0): void {
    if (!this.#replacement.keeps) {
      return;
    }
    let row = this.#entries.get(rid);
    if (row?.has(pasid) !== true && this.#size >= this.#replacement.limit) {
      this.#dropOldest();
      row = this.#entries.get(rid);
    }
    if (row === undefined) {
      row = new Map();
      this.#entries.set(rid, row);
    }
    if (!row.has(pasid)) {
      this.#size += 1;
    }
    row.set(pasid, entry);
  }

  /** Drops everything. */
  clear(): void {
    this.#entries.clear();
    this.#size = 0;
  }

  /** Drops what matches. */
  drop(matches: (entry: T, rid: number, pasid: number) => boolean): void {
    for (const [rid, row] of this.#entries) {
      for (const [pasid, entry] of row) {
        if (matches(entry, rid, pasid)) {
          this.#remove(rid, row, pasid);
        }
      }
    }
  }

  digest(into: Digest): void {
    const rows = [...this.#entries];
    for (const [rid, row] of this.#replacement.ordered ? rows : rows.toSorted(([a], [b]) => a - b)) {
      for (const [pasid, entry] of this.#replacement.ordered ? row : [...row].toSorted(([a], [b]) => a - b)) {
        into.number(rid);
        into.number(pasid);
        entry.digest(into);
      }
    }
    this.#replacement.digest(into);
  }

  #remove(rid: number, row: Map<number, T>, pasid: number): void {
    row.delete(pasid);
    this.#size -= 1;
    if (row.size === 0) {
      this.#entries.delete(rid);
    }
  }

  /** The requester used longest ago loses the PASID it used longest ago. */
  #dropOldest(): void {
    for (const [rid, row] of this.#entries) {
      for (const pasid of row.keys()) {
        this.#remove(rid, row, pasid);
        return;
      }
    }
  }
}
