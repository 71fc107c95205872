import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "@iommu-lab/pci";
import { Replacement } from "./cache-policy.ts";
import { TagStore } from "./tag-store.ts";

/** An entry of a table as a unit holds it. */
export interface HeldEntry {
  /** All that it says, in a fixed order. */
  digest(into: Digest): void;
}

/**
 * Entries by requester, and by PASID where they have one. It hands out the objects that are filled from memory, so that a
 * unit which keeps nothing fills one again and again.
 */
export class EntryCache<T extends HeldEntry> implements Digestible {
  readonly #keeps: boolean;
  readonly #make: () => T;
  readonly #scratch: T;
  readonly #store: TagStore;
  /** By slot of the store. */
  readonly #entries: (T | undefined)[] = [];

  constructor(policy: CachePolicy, make: () => T) {
    const replacement = new Replacement(policy);
    this.#keeps = replacement.keeps;
    this.#store = new TagStore(replacement);
    this.#make = make;
    this.#scratch = make();
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#store.size;
  }

  /** The entry of a requester, and of a PASID where entries have one. */
  find(rid: number, pasid: number = 0): T | undefined {
    const slot = this.#store.find(rid, pasid, 0);
    return slot < 0 ? undefined : this.#entries[slot];
  }

  /** An object to fill from memory. */
  blank(): T {
    return this.#keeps ? this.#make() : this.#scratch;
  }

  /** Remembers a filled object. */
  keep(entry: T, rid: number, pasid: number = 0): void {
    if (this.#keeps) {
      this.#entries[this.#store.put(rid, pasid, 0)] = entry;
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#store.clear();
    this.#entries.length = 0;
  }

  /** Drops what matches. */
  drop(matches: (entry: T, rid: number, pasid: number) => boolean): void {
    const store = this.#store;
    for (const [slot, entry] of this.#entries.entries()) {
      if (entry !== undefined && store.holds(slot) && matches(entry, store.first[slot] ?? 0, store.second[slot] ?? 0)) {
        store.remove(slot);
        this.#entries[slot] = undefined;
      }
    }
  }

  digest(into: Digest): void {
    this.#store.digest(into);
    const slots = [...this.#entries.keys()].filter((slot) => this.#store.holds(slot));
    const place = (slot: number): number => (this.#store.first[slot] ?? 0) * 2 ** 20 + (this.#store.second[slot] ?? 0);
    for (const slot of slots.toSorted((one, other) => place(one) - place(other))) {
      this.#entries[slot]?.digest(into);
    }
  }
}
