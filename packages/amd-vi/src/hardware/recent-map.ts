import type { Digest, Digestible } from "@iommu-lab/core";
import { type CachePolicy, cacheLimits } from "@iommu-lab/pci";
import { Chance } from "./cache-policy.ts";

const DROP_ONE_OF = 4;

/** Objects by number, kept as a {@link CachePolicy} says. */
export class RecentMap<T> implements Digestible {
  readonly #capacity: number;
  readonly #chance: Chance | undefined;
  /** In order of use when the number of entries is limited. */
  readonly #entries = new Map<number, T>();

  constructor(policy: CachePolicy) {
    const { capacity, seed } = cacheLimits(policy);
    this.#capacity = capacity;
    this.#chance = seed < 0 ? undefined : new Chance(seed);
  }

  /** Nothing is ever kept. */
  get off(): boolean {
    return this.#capacity === 0;
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#entries.size;
  }

  /** An entry; counts as a use. */
  get(key: number): T | undefined {
    const found = this.#entries.get(key);
    if (found === undefined || (this.#capacity === Infinity && this.#chance === undefined)) {
      return found;
    }
    this.#entries.delete(key);
    if (this.#chance?.below(DROP_ONE_OF) === 0) {
      return undefined;
    }
    this.#entries.set(key, found);
    return found;
  }

  /** Keeps an entry. */
  set(key: number, value: T): void {
    if (this.#capacity === 0) {
      return;
    }
    if (this.#entries.size >= this.#capacity && !this.#entries.has(key)) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest ?? key);
    }
    this.#entries.set(key, value);
  }

  /** Forgets an entry. */
  delete(key: number): void {
    this.#entries.delete(key);
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
  }

  digest(into: Digest): void {
    const entries = [...this.#entries];
    for (const [key, value] of this.#capacity === Infinity ? entries.toSorted((a, b) => a[0] - b[0]) : entries) {
      into.number(key);
      into.text(JSON.stringify(value));
    }
    into.number(this.#chance?.state ?? 0);
  }
}
