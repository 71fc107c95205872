import type { Device, Domain, DomainType, IommuDriver, Op } from "@iommu-lab/core";

/** How the driver attaches its two static domains. */
export interface StaticOperations {
  /** `identity_domain_attach_dev()`. */
  attachIdentity(device: Device): Op<void>;
  /** `identity_domain_set_dev_pasid()`. */
  setIdentityPasid(domain: Domain, device: Device, pasid: number, old: Domain | undefined): Op<void>;
  /** `blocking_domain_attach_dev()`. */
  attachBlocked(device: Device): Op<void>;
  /** `blocking_domain_set_dev_pasid()`. */
  removePasid(device: Device, pasid: number, old: Domain | undefined): Op<void>;
}

/** The static IDENTITY domain: addresses pass. */
export class IdentityDomain implements Domain {
  readonly id: number;
  readonly type: DomainType = "IDENTITY";
  readonly driver: IommuDriver;
  readonly #operations: StaticOperations;

  constructor(id: number, driver: IommuDriver, operations: StaticOperations) {
    this.id = id;
    this.driver = driver;
    this.#operations = operations;
  }

  attach(device: Device): Op<void> {
    return this.#operations.attachIdentity(device);
  }

  setPasid(device: Device, pasid: number, old: Domain | undefined): Op<void> {
    return this.#operations.setIdentityPasid(this, device, pasid, old);
  }
}

/** The static BLOCKED domain: nothing is translated. Set on a PASID it removes it. */
export class BlockedDomain implements Domain {
  readonly id: number;
  readonly type: DomainType = "BLOCKED";
  readonly driver: IommuDriver;
  readonly #operations: StaticOperations;

  constructor(id: number, driver: IommuDriver, operations: StaticOperations) {
    this.id = id;
    this.driver = driver;
    this.#operations = operations;
  }

  attach(device: Device): Op<void> {
    return this.#operations.attachBlocked(device);
  }

  setPasid(device: Device, pasid: number, old: Domain | undefined): Op<void> {
    return this.#operations.removePasid(device, pasid, old);
  }
}
