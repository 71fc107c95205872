import { type CachePolicy, xorshift32 } from "@iommu-lab/pci";

/** A policy for each cache. */
export interface CachePolicies {
  /** Device table entries. Default `keep-all`. */
  readonly deviceTable?: CachePolicy;
  /** Translations (the IOTLB). Default `keep-all`. */
  readonly translations?: CachePolicy;
  /** Entries of upper page tables (the PDE cache). Default `keep-all`. */
  readonly directories?: CachePolicy;
  /** GCR3 table entries. Default `keep-all`. */
  readonly gcr3?: CachePolicy;
}

/** Names of the caches of a unit. */
export const CACHES: readonly (keyof CachePolicies)[] = ["deviceTable", "translations", "directories", "gcr3"];

/** Seeded chance: xorshift over 32 bits. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 0x9e3779b9) >>> 0 || 1;
  }

  /** What decides the numbers to come. */
  get state(): number {
    return this.#state;
  }

  /** A number from 0 to `count` - 1. */
  below(count: number): number {
    this.#state = xorshift32(this.#state);
    return this.#state % count;
  }
}
