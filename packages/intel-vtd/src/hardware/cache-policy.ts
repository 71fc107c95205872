import type { Digest } from "@iommu-lab/core";
import { type CachePolicy, cacheLimits, xorshift32 } from "@iommu-lab/pci";

/** The policy of each cache of a unit. */
export interface CachePolicies {
  /** Root and context entries. Default `keep-all`. */
  readonly context?: CachePolicy;
  /** PASID directory and PASID table entries. Default `keep-all`. */
  readonly pasid?: CachePolicy;
  /** Translations. Default `keep-all`. */
  readonly iotlb?: CachePolicy;
  /** Entries of page tables that are no leaves. Default `keep-all`. */
  readonly paging?: CachePolicy;
}

/** Names of the caches of a unit. */
export const CACHES: readonly (keyof CachePolicies)[] = ["context", "pasid", "iotlb", "paging"];

/** A policy at work: what a cache asks before it keeps or uses an entry. */
export class Replacement {
  /** Entries are kept at all. */
  readonly keeps: boolean;
  /** The most entries kept. */
  readonly limit: number;
  /** Use counts. */
  readonly ordered: boolean;
  readonly #random: boolean;
  #state: number;

  /** @throws InputError for a capacity below 1 or a seed below 0 */
  constructor(policy: CachePolicy) {
    const { capacity, seed } = cacheLimits(policy);
    this.keeps = capacity > 0;
    this.ordered = typeof policy === "object" && "lru" in policy;
    this.limit = capacity;
    this.#random = seed >= 0;
    this.#state = this.#random ? ((seed ^ 0x9e3779b9) | 1) >>> 0 : 0;
  }

  /** Whether an entry that was found is dropped all the same: one time in four under `random`. */
  drops(): boolean {
    if (!this.#random) {
      return false;
    }
    this.#state = xorshift32(this.#state);
    return (this.#state & 3) === 0;
  }

  /** Where the chance stands. */
  digest(into: Digest): void {
    into.number(this.#state);
  }
}
