import type { Domain, DomainType, Device, IommuDriver, Op } from "@iommu-lab/core";
import { INVALIDATION, type Invalidation, InvalidationArray } from "./invalidation-array.ts";
import type { DomainSite } from "./invalidation-site.ts";
import type { PageRange } from "./invalidate.ts";
import { invalidateDomain } from "./invalidate.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/** A function on a domain, by RID (0) or PASID (`struct arm_smmu_master_domain`). */
export interface DomainUser {
  readonly master: Master;
  readonly ssid: number;
}

/**
 * A domain that knows which functions are on it, so that it can invalidate for them: paging and SVA domains
 * (`struct arm_smmu_domain`).
 */
export abstract class TrackedDomain implements Domain {
  readonly id: number;
  type: DomainType;
  readonly driver: IommuDriver;
  readonly smmu: SmmuDevice;
  /** Its TLB tag. */
  readonly asid: number;
  readonly #users: DomainUser[] = [];
  #array = InvalidationArray.empty();

  constructor(id: number, type: DomainType, driver: IommuDriver, smmu: SmmuDevice, asid: number) {
    this.id = id;
    this.type = type;
    this.driver = driver;
    this.smmu = smmu;
    this.asid = asid;
  }

  abstract attach(device: Device, old: Domain | undefined): Op<void>;

  /** The functions on it. */
  get users(): readonly DomainUser[] {
    return this.#users;
  }

  /** What it has to invalidate now. */
  get invalidations(): readonly Invalidation[] {
    return this.#array.entries;
  }

  /** What it invalidates for one function. Source: Linux 7.2 `arm_smmu_master_build_invs()`. */
  invalidationsOf(master: Master, ssid: number, ats: boolean): readonly Invalidation[] {
    const own: Invalidation[] = [{ type: INVALIDATION.asid, id: this.asid, ssid: 0 }];
    for (const sid of ats ? master.streams : []) {
      own.push({ type: INVALIDATION.ats, id: sid, ssid });
    }
    return own;
  }

  /** A function comes. Source: Linux 7.2 `arm_smmu_install_new_domain_invs()`. */
  addUser(master: Master, ssid: number, ats: boolean): void {
    this.#users.push({ master, ssid });
    this.#array = this.#array.merge(this.invalidationsOf(master, ssid, ats));
  }

  /**
   * A function goes; waits for invalidations that are under way.
   *
   * @param gone what {@link TrackedDomain.invalidationsOf} said when it came
   * @returns ASIDs that nobody uses any more
   */
  *removeUser(master: Master, ssid: number, gone: readonly Invalidation[]): Op<readonly number[]> {
    const index = this.#users.findIndex((user) => user.master === master && user.ssid === ssid);
    if (index >= 0) {
      this.#users.splice(index, 1);
    }
    const array = this.#array;
    const unused = array.unref(gone);
    yield array.lock.exclusive;
    array.lock.release();
    this.#array = array.merge([]);
    return unused.filter((one) => one.type === INVALIDATION.asid).map((one) => one.id);
  }

  /** Pages changed: TLB first, then ATCs. */
  invalidate(range: PageRange | undefined, site: DomainSite): Op<void> {
    return invalidateDomain(this.smmu, () => this.#array, range, site);
  }
}
