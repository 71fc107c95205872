import type { Device, Digest, Domain, DomainType, IommuDriver, Op } from "@iommu-lab/core";
import type { BookOwner, DomainUser, InvalidationBook } from "./invalidation-book.ts";
import type { DomainSite } from "./invalidation-site.ts";
import type { PageRange } from "./invalidate.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/**
 * A domain that knows which functions are on it, so that it can invalidate for them: paging and SVA domains
 * (`struct arm_smmu_domain`).
 */
export abstract class TrackedDomain implements Domain, BookOwner {
  readonly id: number;
  type: DomainType;
  readonly driver: IommuDriver;
  readonly smmu: SmmuDevice;
  /** Its TLB tag. */
  readonly asid: number;
  readonly #users: DomainUser[] = [];
  readonly #book: InvalidationBook;

  constructor(
    id: number,
    type: DomainType,
    driver: IommuDriver,
    smmu: SmmuDevice,
    asid: number,
    newBook: (owner: BookOwner) => InvalidationBook,
  ) {
    this.id = id;
    this.type = type;
    this.driver = driver;
    this.smmu = smmu;
    this.asid = asid;
    this.#book = newBook(this);
  }

  abstract attach(device: Device, old: Domain | undefined): Op<void>;

  /** The functions on it. */
  get users(): readonly DomainUser[] {
    return this.#users;
  }

  /** A function comes. */
  addUser(master: Master, ssid: number, ats: boolean): void {
    const user = { master, ssid };
    this.#users.push(user);
    this.#book.add(user, ats);
  }

  /**
   * A function goes.
   *
   * @param ats whether its ATS was on
   */
  *removeUser(master: Master, ssid: number, ats: boolean): Op<void> {
    const index = this.#users.findIndex((user) => user.master === master && user.ssid === ssid);
    const [user] = index < 0 ? [] : this.#users.splice(index, 1);
    if (user !== undefined) {
      yield* this.#book.remove(user, ats);
    }
  }

  /** Pages changed: TLB first, then ATCs. */
  invalidate(range: PageRange | undefined, site: DomainSite): Op<void> {
    return this.#book.invalidate(range, site);
  }

  /** Writes its tag, who is on it, and what it remembers to invalidate; its tables are memory. */
  digest(into: Digest): void {
    into.number(this.id);
    into.text(this.type);
    into.number(this.asid);
    into.number(this.#users.length);
    for (const { master, ssid } of this.#users) {
      into.text(master.device.name);
      into.number(ssid);
    }
    this.#book.digest(into);
  }

  /** The domain is about to give its tag back. */
  protected forget(): void {
    this.#book.freed();
  }
}
