import type { Device, Domain, DomainType, IommuDriver, Op, ProcessMemory } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { CacheTags } from "./cache-tags.ts";

/** How the driver attaches a process. */
export interface SvaOperations {
  /** `intel_svm_set_dev_pasid()`. */
  setSvaPasid(domain: SvaDomain, device: Device, pasid: number, old: Domain | undefined): Op<void>;
}

/** A process's own page table on PASIDs. Its translations carry domain ID 1. */
export class SvaDomain implements Domain {
  readonly id: number;
  readonly type: DomainType = "SVA";
  readonly driver: IommuDriver;
  readonly process: ProcessMemory;
  /** Where its translations may be cached. */
  readonly tags: CacheTags;
  readonly #operations: SvaOperations;

  constructor(id: number, driver: IommuDriver, operations: SvaOperations, process: ProcessMemory) {
    this.id = id;
    this.driver = driver;
    this.process = process;
    this.tags = new CacheTags(`process ${process.name}`, true);
    this.#operations = operations;
  }

  // eslint-disable-next-line require-yield
  *attach(): Op<void> {
    throw new KernelError("EOPNOTSUPP", "a process cannot be attached without PASID");
  }

  setPasid(device: Device, pasid: number, old: Domain | undefined): Op<void> {
    return this.#operations.setSvaPasid(this, device, pasid, old);
  }
}
