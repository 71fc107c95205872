import type { Digest } from "@iommu-lab/core";

/**
 * Which results a cache keeps: everything the architecture allows (`keep-all`: nothing leaves but by an invalidation or
 * a reset, so a forgotten invalidation shows), nothing (`none`), the last used ones (`lru`, a capacity), or any of them
 * for any time (`random`, a seed). What a request may reach is legal under all.
 */
export type CachePolicy =
  | "keep-all"
  | "none"
  | {
      /** The most entries kept. */
      readonly lru: number;
    }
  | {
      /** The seed. */
      readonly random: number;
    };

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

  constructor(policy: CachePolicy) {
    this.keeps = policy !== "none";
    this.ordered = typeof policy === "object" && "lru" in policy;
    this.limit = typeof policy === "object" && "lru" in policy ? Math.max(1, policy.lru) : Infinity;
    this.#random = typeof policy === "object" && "random" in policy;
    this.#state = typeof policy === "object" && "random" in policy ? (policy.random ^ 0x9e3779b9) | 1 : 0;
  }

  /** Whether an entry that was found is dropped all the same: one time in four under `random`. */
  drops(): boolean {
    if (!this.#random) {
      return false;
    }
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state & 3) === 0;
  }

  /** Where the chance stands. */
  digest(into: Digest): void {
    into.number(this.#state >>> 0);
  }
}
