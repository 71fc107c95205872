import { InputError } from "@iommu-lab/core";

/**
 * Which results a unit keeps. `keep-all`: everything the architecture allows, so that a forgotten invalidation shows;
 * `none`: nothing; `lru`: as many as it says, those used last; `random`: chance decides at each use, the same for the same
 * seed. What software may rely on is the same under all of them.
 */
export type CachePolicy =
  | "keep-all"
  | "none"
  | {
      /** How many entries are kept. */
      readonly lru: number;
    }
  | {
      /** Seed of the chance. */
      readonly random: number;
    };

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

/** A policy, taken apart. */
export interface ParsedPolicy {
  /** How many entries are kept; 0 = none, `Infinity` = all. */
  readonly capacity: number;
  /** Seed of the chance that drops entries; -1 = no chance. */
  readonly seed: number;
}

/** @throws InputError for a capacity below 1 or a seed below 0 */
export function parsePolicy(policy: CachePolicy): ParsedPolicy {
  if (policy === "keep-all") {
    return { capacity: Infinity, seed: -1 };
  }
  if (policy === "none") {
    return { capacity: 0, seed: -1 };
  }
  const [name, least, value] = "lru" in policy ? ["lru", 1, policy.lru] : ["random", 0, policy.random];
  if (!Number.isInteger(value) || value < least || value >= 2 ** 31) {
    throw new InputError(`cache policy ${name}: ${value}, expected a whole number of at least ${least}`);
  }
  return name === "lru" ? { capacity: value, seed: -1 } : { capacity: Infinity, seed: value };
}

/** Whether one policy is given for all caches. */
function isOne(caches: CachePolicy | CachePolicies): caches is CachePolicy {
  return typeof caches === "string" || "lru" in caches || "random" in caches;
}

/** A policy for each cache, from one for all or from some. */
export function policiesOf(caches: CachePolicy | CachePolicies): Required<CachePolicies> {
  if (isOne(caches)) {
    return { deviceTable: caches, translations: caches, directories: caches, gcr3: caches };
  }
  const { deviceTable = "keep-all", translations = "keep-all", directories = "keep-all", gcr3 = "keep-all" } = caches;
  return { deviceTable, translations, directories, gcr3 };
}

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
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % count;
  }
}
