import { InputError } from "@iommu-lab/core";

/**
 * What a cache of an IOMMU keeps. `keep-all`: everything the architecture allows (nothing leaves but by an invalidation or
 * a reset), so one that was forgotten shows; `none`: nothing; `lru`: as many as it says, those used last; `random`: chance
 * decides, the same for the same seed. What software may rely on is the same under all of them.
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

/** A policy, taken apart. */
export interface CacheLimits {
  /** How many entries are kept; 0 = none, `Infinity` = all. */
  readonly capacity: number;
  /** Seed of the chance that drops entries; -1 = no chance. */
  readonly seed: number;
}

/**
 * Takes a policy apart.
 *
 * @throws InputError for a capacity below 1, a seed below 0, or either above 2^31 - 1 or no whole number
 */
export function cacheLimits(policy: CachePolicy): CacheLimits {
  if (typeof policy === "string") {
    return { capacity: policy === "none" ? 0 : Infinity, seed: -1 };
  }
  const [name, least, value] = "lru" in policy ? ["lru", 1, policy.lru] : ["random", 0, policy.random];
  if (!Number.isInteger(value) || value < least || value >= 2 ** 31) {
    throw new InputError(`cache policy ${name}: ${value}, expected a whole number of at least ${least}`);
  }
  return name === "lru" ? { capacity: value, seed: -1 } : { capacity: Infinity, seed: value };
}

/**
 * The policy of each cache of a unit, from one for all or from some.
 *
 * @param names the unit's caches
 * @param given what is absent is `keep-all`
 */
export function cachePolicies<K extends string>(
  names: readonly K[],
  given: CachePolicy | { readonly [name in K]?: CachePolicy },
): Readonly<Record<K, CachePolicy>> {
  const of = (name: K): CachePolicy => (isOne(given) ? given : (given[name] ?? "keep-all"));
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<K, CachePolicy>;
}

function isOne(given: object | CachePolicy): given is CachePolicy {
  return typeof given === "string" || "lru" in given || "random" in given;
}

/** The step of a chance (xorshift over 32 bits): the number after `state`, which is not 0. */
export function xorshift32(state: number): number {
  let next = state;
  next ^= next << 13;
  next ^= next >>> 17;
  next ^= next << 5;
  return next >>> 0;
}
