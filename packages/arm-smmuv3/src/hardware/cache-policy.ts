import type { Digest, Digestible } from "@iommu-lab/core";
import { type CachePolicy, cacheLimits, xorshift32 } from "@iommu-lab/pci";

/** The policy of each cache. */
export interface CachePolicies {
  /** Stream table entries, context descriptors and their level-1 descriptors. Default `keep-all`. */
  readonly config?: CachePolicy;
  /** Translations of pages (the IOTLB). Default `keep-all`. */
  readonly translations?: CachePolicy;
  /** Table descriptors read on the way. Default `keep-all`. */
  readonly walks?: CachePolicy;
}

/** Names of the caches of an SMMU. */
export const CACHES: readonly (keyof CachePolicies)[] = ["config", "translations", "walks"];

/**
 * A policy at work: whether an entry is kept, how many, and which one goes.
 *
 * Chance is a xorshift of the seed, so the same requests leave the same entries.
 */
export class Retention implements Digestible {
  /** Largest number of entries. */
  readonly capacity: number;
  /** Entries go in the order of their last use. */
  readonly ordered: boolean;
  readonly #random: boolean;
  #state: number;

  /** @throws InputError for a capacity below 1 or a seed below 0 */
  constructor(policy: CachePolicy) {
    const { capacity, seed } = cacheLimits(policy);
    this.capacity = capacity;
    this.ordered = typeof policy === "object" && "lru" in policy;
    this.#random = seed >= 0;
    this.#state = this.#random ? (seed ^ 0x9e3779b9) >>> 0 || 1 : 0;
  }

  /** Whether an entry that was read is kept. */
  keeps(): boolean {
    return this.capacity > 0 && (!this.#random || this.#next() % 4 !== 0);
  }

  /** Which of `count` entries goes before another comes, though there is room; -1 = none. */
  chanceVictim(count: number): number {
    if (!this.#random || count === 0) {
      return -1;
    }
    return this.#next() % 4 === 0 ? this.#next() % count : -1;
  }

  digest(into: Digest): void {
    into.number(this.#state);
  }

  #next(): number {
    this.#state = xorshift32(this.#state);
    return this.#state;
  }
}
