import { type Digest, type Digestible, InputError } from "@iommu-lab/core";

/**
 * What one cache keeps: everything the architecture allows (`keep-all`: nothing leaves but by an invalidation, so one that
 * was forgotten shows), nothing, the entries used last (`lru`, a capacity), or what chance leaves (`random`, a seed).
 * Whatever it is, results are ones that the architecture allows.
 */
export type CachePolicy =
  | "keep-all"
  | "none"
  | {
      /** How many entries are kept, at least 1. */
      readonly lru: number;
    }
  | {
      /** Seed of the chance, 0 or more. */
      readonly random: number;
    };

/** The policy of each cache. */
export interface CachePolicies {
  /** Stream table entries, context descriptors and their level-1 descriptors. Default `keep-all`. */
  readonly config?: CachePolicy;
  /** Translations of pages (the IOTLB). Default `keep-all`. */
  readonly translations?: CachePolicy;
  /** Table descriptors read on the way. Default `keep-all`. */
  readonly walks?: CachePolicy;
}

function isOne(caches: CachePolicy | CachePolicies): caches is CachePolicy {
  return typeof caches === "string" || "lru" in caches || "random" in caches;
}

/** A policy for each cache, from one for all or from some. */
export function policiesOf(caches: CachePolicy | CachePolicies): Required<CachePolicies> {
  if (isOne(caches)) {
    return { config: caches, translations: caches, walks: caches };
  }
  const { config = "keep-all", translations = "keep-all", walks = "keep-all" } = caches;
  return { config, translations, walks };
}

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
  #state = 0;

  /** @throws InputError for a capacity below 1 or a seed below 0 */
  constructor(policy: CachePolicy) {
    this.ordered = typeof policy === "object" && "lru" in policy;
    this.#random = typeof policy === "object" && "random" in policy;
    this.capacity = policy === "none" ? 0 : Infinity;
    if (typeof policy === "object") {
      const [name, least, value] =
        "lru" in policy ? (["lru", 1, policy.lru] as const) : (["random", 0, policy.random] as const);
      if (!Number.isInteger(value) || value < least || value >= 2 ** 31) {
        throw new InputError(`cache policy ${name}: ${value}, expected a whole number of at least ${least}`);
      }
      this.capacity = name === "lru" ? value : Infinity;
      this.#state = name === "lru" ? 0 : (value ^ 0x9e3779b9) >>> 0 || 1;
    }
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
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state;
  }
}
