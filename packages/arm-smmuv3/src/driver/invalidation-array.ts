import { type Digest, Lock } from "@iommu-lab/core";

/** What has to be invalidated when a domain changes: the order is that of the commands. */
export const INVALIDATION = { asid: 0, ats: 1 } as const;

/** One entry of an array: an ASID, or a function's ATC. */
export interface Invalidation {
  /** One of {@link INVALIDATION}. */
  readonly type: number;
  /** ASID or StreamID. */
  readonly id: number;
  /** SubstreamID of an ATC invalidation, 0 = none. */
  readonly ssid: number;
}

interface Counted extends Invalidation {
  users: number;
}

function compare(one: Invalidation, other: Invalidation): number {
  return one.type - other.type || one.id - other.id || one.ssid - other.ssid;
}

/**
 * What a domain invalidates, sorted and counted. Attaching makes a new array; detaching takes users away in place, and
 * entries without users are skipped until the array is replaced. An array with ATCs is read under its lock, so that no
 * ATC invalidation is on its way once a function is detached.
 *
 * Source: Linux 7.2 `struct arm_smmu_invs`.
 */
export class InvalidationArray {
  readonly #entries: Counted[];
  /** `invs->rwlock`. */
  readonly lock: Lock = new Lock("arm_smmu_invs rwlock");

  private constructor(entries: Counted[]) {
    this.#entries = entries;
  }

  /** An array without entries. */
  static empty(): InvalidationArray {
    return new InvalidationArray([]);
  }

  /** Writes all entries, those without users too: they make {@link InvalidationArray.hasAts} hold. */
  digest(into: Digest): void {
    this.lock.digest(into);
    into.number(this.#entries.length);
    for (const { type, id, ssid, users } of this.#entries) {
      for (const value of [type, id, ssid, users]) {
        into.number(value);
      }
    }
  }

  /** The entries that have users. */
  get entries(): readonly Invalidation[] {
    return this.#entries.filter((entry) => entry.users > 0);
  }

  /** Whether there was an ATC in it when it was made. */
  get hasAts(): boolean {
    return this.#entries.some((entry) => entry.type === INVALIDATION.ats);
  }

  /** A new array with more users. Source: Linux 7.2 `arm_smmu_invs_merge()`. */
  merge(more: readonly Invalidation[]): InvalidationArray {
    const entries: Counted[] = [];
    for (const { type, id, ssid, users } of this.#entries) {
      if (users > 0) {
        entries.push({ type, id, ssid, users });
      }
    }
    for (const one of more) {
      const known = entries.find((entry) => compare(entry, one) === 0);
      if (known === undefined) {
        entries.push({ ...one, users: 1 });
      } else {
        known.users += 1;
      }
    }
    return new InvalidationArray(entries.toSorted(compare));
  }

  /** Takes users away. @returns those entries that have none left. Source: Linux 7.2 `arm_smmu_invs_unref()`. */
  unref(gone: readonly Invalidation[]): readonly Invalidation[] {
    const unused: Invalidation[] = [];
    for (const one of gone) {
      const known = this.#entries.find((entry) => entry.users > 0 && compare(entry, one) === 0);
      if (known === undefined) {
        continue;
      }
      known.users -= 1;
      if (known.users === 0) {
        unused.push(known);
      }
    }
    return unused;
  }
}
