import type { Device, Domain, IommuDriver, Lock } from "@iommu-lab/core";
import type { AtsPolicy } from "@iommu-lab/pci";
import type { AsidAllocator } from "./asid-allocator.ts";
import type { Master } from "./master.ts";
import type { DriverVersion } from "./version.ts";
import { TrackedDomain } from "./tracked-domain.ts";

/** What the domains of one driver share. */
export interface DriverContext {
  readonly driver: IommuDriver;
  readonly policy: AtsPolicy;
  readonly version: DriverVersion;
  /** `arm_smmu_asid_lock`: held while domains, STEs and context descriptors change together. */
  readonly asidLock: Lock;
  readonly asids: AsidAllocator;
  /** Domains that were allocated and not freed, by number. */
  readonly domains: Map<number, TrackedDomain>;
  /** The driver's view of a probed function. @throws KernelError ENODEV when it is none */
  masterOf(device: Device): Master;
  /** `iommu_driver_get_domain_for_dev()`. */
  ridDomainOf(device: Device): Domain | undefined;
  /** A number for a new domain. */
  newDomainId(): number;
}

/** The domain as one that tracks its functions; undefined for IDENTITY and BLOCKED. Source: `to_smmu_domain_devices()`. */
export function tracked(domain: Domain | undefined): TrackedDomain | undefined {
  return domain instanceof TrackedDomain ? domain : undefined;
}
