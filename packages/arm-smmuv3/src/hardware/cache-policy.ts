import { type Digest, type Digestible, InputError } from "@iommu-lab/core";

/**
 * What one cache keeps: everything the architecture allows, nothing, the N entries used last (`lru:N`), or a random part
 * of it (`random:SEED`). Whatever it is, results are ones that the architecture allows.
 */
export type CacheMode = "keep-all" | "none" | `lru:${number}` | `random:${number}`;

/** Modes of the caches one by one. */
export interface CacheModes {
  /** Stream table entries, context descriptors and their level-1 descriptors. Default `keep-all`. */
  readonly config?: CacheMode;
  /** Translations of pages (the IOTLB). Default `keep-all`. */
  readonly translations?: CacheMode;
  /** Table descriptors read on the way. Default `keep-all`. */
  readonly walks?: CacheMode;
}

/** One mode for all caches, or modes by cache. */
export type CachePolicy = CacheMode | CacheModes;

/** A policy with every mode named. */
export function cacheModesOf(policy: CachePolicy): Required<CacheModes> {
  if (typeof policy === "string") {
    return { config: policy, translations: policy, walks: policy };
  }
  return {
    config: policy.config ?? "keep-all",
    translations: policy.translations ?? "keep-all",
    walks: policy.walks ?? "keep-all",
  };
}

/**
 * A mode at work: whether an entry is kept, how many, and which one goes.
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

  /** @throws InputError for a mode that is none */
  constructor(mode: CacheMode) {
    const [kind, text] = mode.split(":");
    const value = Number(text);
    const wellFormed = kind === "lru" || kind === "random" ? Number.isInteger(value) && value > 0 : text === undefined;
    if (!wellFormed || !["keep-all", "none", "lru", "random"].includes(kind ?? "")) {
      throw new InputError(`cache mode ${JSON.stringify(mode)}, expected keep-all, none, lru:N or random:SEED (N, SEED > 0)`);
    }
    this.capacity = kind === "none" ? 0 : kind === "lru" ? value : Infinity;
    this.ordered = kind === "lru";
    this.#random = kind === "random";
    this.#state = this.#random ? value >>> 0 || 1 : 0;
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
