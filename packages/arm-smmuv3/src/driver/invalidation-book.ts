import type { Digest, Op } from "@iommu-lab/core";
import { INVALIDATION, type Invalidation, InvalidationArray } from "./invalidation-array.ts";
import { type PageRange, atcRange, invalidateArray, tlbiAsid, tlbiRange } from "./invalidate.ts";
import type { DomainSite } from "./invalidation-site.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/** A function on a domain, by RID (0) or PASID (`struct arm_smmu_master_domain`). */
export interface DomainUser {
  readonly master: Master;
  readonly ssid: number;
}

/** The domain that a book is kept for. */
export interface BookOwner {
  readonly smmu: SmmuDevice;
  /** Its TLB tag. */
  readonly asid: number;
  /** The functions on it. */
  readonly users: readonly DomainUser[];
}

/** How a domain remembers what to invalidate when it changes. */
export interface InvalidationBook {
  /** A function comes. @param ats whether its ATS will be on */
  add(user: DomainUser, ats: boolean): void;
  /** A function has gone. @param ats whether its ATS was on */
  remove(user: DomainUser, ats: boolean): Op<void>;
  /** Pages changed; undefined = any. TLB first, then ATCs. */
  invalidate(range: PageRange | undefined, site: DomainSite): Op<void>;
  /** The domain goes; its tag may be given to another one. */
  freed(): void;
  /** Writes what it remembers. */
  digest(into: Digest): void;
}

/** What a domain invalidates for one function. Source: Linux 7.2 `arm_smmu_master_build_invs()`. */
function invalidationsOf({ asid }: BookOwner, { master, ssid }: DomainUser, ats: boolean): readonly Invalidation[] {
  const own: Invalidation[] = [{ type: INVALIDATION.asid, id: asid, ssid: 0 }];
  for (const sid of ats ? master.streams : []) {
    own.push({ type: INVALIDATION.ats, id: sid, ssid });
  }
  return own;
}

/**
 * An array of what is to be invalidated, replaced when a function comes. When the last function goes its tag is flushed at
 * once, because nobody will invalidate it later.
 *
 * Source: Linux 7.2 `arm_smmu_install_new_domain_invs()`, `arm_smmu_install_old_domain_invs()`,
 * `arm_smmu_domain_inv_range()`.
 */
export class ArrayBook implements InvalidationBook {
  readonly #owner: BookOwner;
  #array = InvalidationArray.empty();

  constructor(owner: BookOwner) {
    this.#owner = owner;
  }

  add(user: DomainUser, ats: boolean): void {
    this.#array = this.#array.merge(invalidationsOf(this.#owner, user, ats));
  }

  *remove(user: DomainUser, ats: boolean): Op<void> {
    const { smmu } = this.#owner;
    const array = this.#array;
    const unused = array.unref(invalidationsOf(this.#owner, user, ats));
    // Invalidations that are under way hold the lock.
    yield array.lock.exclusive;
    array.lock.release();
    this.#array = array.merge([]);
    for (const { type, id } of unused) {
      if (type === INVALIDATION.asid) {
        yield* smmu.commands.invalidate("old-domain:tlb", [tlbiAsid(smmu, id)]);
      }
    }
  }

  invalidate(range: PageRange | undefined, site: DomainSite): Op<void> {
    return invalidateArray(this.#owner.smmu, () => this.#array, range, site);
  }

  digest(into: Digest): void {
    this.#array.digest(into);
  }

  freed(): void {
    // No function is left, so the tag was flushed when the last one went.
  }
}

/**
 * A list of functions and a count of those with ATS. The tag is flushed whenever the domain changes, functions or not, and
 * once more when the domain is freed.
 *
 * Source: Linux 6.12 `arm_smmu_tlb_inv_range_domain()`, `arm_smmu_atc_inv_domain()`, `arm_smmu_tlb_inv_context()`.
 */
export class ListBook implements InvalidationBook {
  readonly #owner: BookOwner;
  /** Functions whose ATS is on or about to be (`nr_ats_masters`). */
  #atsMasters = 0;

  constructor(owner: BookOwner) {
    this.#owner = owner;
  }

  add(_user: DomainUser, ats: boolean): void {
    this.#atsMasters += ats ? 1 : 0;
  }

  *remove(_user: DomainUser, ats: boolean): Op<void> {
    yield* [];
    this.#atsMasters -= ats ? 1 : 0;
  }

  *invalidate(range: PageRange | undefined, site: DomainSite): Op<void> {
    const { smmu, asid } = this.#owner;
    yield* smmu.commands.invalidate(`${site}:tlb`, tlbiRange(smmu, asid, range));
    if (!smmu.features.ats || this.#atsMasters === 0) {
      return;
    }
    yield* smmu.commands.invalidate(`${site}:atc`, this.#atcs(range));
  }

  digest(into: Digest): void {
    into.number(this.#atsMasters);
  }

  freed(): void {
    const { smmu, asid } = this.#owner;
    smmu.commands.invalidateNow("domain-free:tlb", [tlbiAsid(smmu, asid)]);
  }

  #atcs(range: PageRange | undefined): ReturnType<typeof atcRange>[] {
    return this.#owner.users
      .filter(({ master }) => master.atsEnabled)
      .flatMap(({ master, ssid }) => master.streams.map((sid) => atcRange(sid, ssid, range)));
  }
}
