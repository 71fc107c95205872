import type { Digest, Digestible } from "@iommu-lab/core";
import type { Retention } from "./cache-policy.ts";

/** Entries by an integer, kept as a {@link Retention} says. */
export class EntryCache<T extends Digestible> implements Digestible {
  readonly #retention: Retention;
  readonly #entries = new Map<number, T>();

  constructor(retention: Retention) {
    this.#retention = retention;
  }

  /** The entry, if it is kept. */
  get(key: number): T | undefined {
    const found = this.#entries.get(key);
    if (found !== undefined && this.#retention.ordered) {
      this.#entries.delete(key);
      this.#entries.set(key, found);
    }
    return found;
  }

  /** Keeps an entry that {@link Retention.keeps} said yes to. */
  set(key: number, entry: T): void {
    const entries = this.#entries;
    const victim = this.#retention.chanceVictim(entries.size);
    if (victim >= 0) {
      this.#dropNth(victim);
    }
    if (entries.size >= this.#retention.capacity) {
      this.#dropNth(0);
    }
    entries.set(key, entry);
  }

  /** Drops one. */
  drop(key: number): void {
    this.#entries.delete(key);
  }

  /** Drops all whose key is from `first` to `last`. */
  dropRange(first: number, last: number): void {
    if (last - first < this.#entries.size) {
      for (let key = first; key <= last; key += 1) {
        this.#entries.delete(key);
      }
      return;
    }
    for (const key of this.#entries.keys()) {
      if (key >= first && key <= last) {
        this.#entries.delete(key);
      }
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#entries.clear();
  }

  digest(into: Digest): void {
    for (const [key, entry] of [...this.#entries].toSorted((a, b) => a[0] - b[0])) {
      into.number(key);
      entry.digest(into);
    }
  }

  #dropNth(index: number): void {
    let at = 0;
    for (const key of this.#entries.keys()) {
      if (at === index) {
        this.#entries.delete(key);
        return;
      }
      at += 1;
    }
  }
}
