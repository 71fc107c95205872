import type { Device, Domain, DomainType } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import type { DeviceTlbTarget } from "../layout/descriptor.ts";
import type { AtsSupport } from "./ats-firmware.ts";
import type { PagingDomain } from "./paging-domain.ts";
import type { PasidTable } from "./pasid-table.ts";
import type { ServedUnit } from "./served-unit.ts";

/** What the driver keeps of a device (`struct device_domain_info`). */
export class DeviceInfo {
  readonly device: Device;
  readonly dev: PciDev;
  /** The unit that serves it. */
  readonly unit: ServedUnit;
  /** Its requester ID. */
  readonly rid: number;

  /** Whether unit, firmware and device allow ATS, and why; undefined for a device without the capability. */
  readonly atsSupport: AtsSupport | undefined;
  /** Scalable mode: the policy's last answer was acted on by switching on. A failure is not tried again. */
  atsWanted = false;
  /** What the driver believes of ATS Enable. */
  atsEnabled = false;
  /** Unit and device allow PASIDs. */
  pasidSupported = false;
  /** Execute and Privileged features of the device. */
  pasidFeatures = 0;
  /** What the driver believes of PASID Enable. */
  pasidEnabled = false;
  /** Unit and device allow page requests. */
  priSupported = false;
  /** What the driver believes of PRI Enable. */
  priEnabled = false;
  /** Invalidations the device can queue (`ats_qdep`). */
  queueDepth = 0;
  /** Physical function named in invalidations; 0 without throttling per function. */
  physicalFunction = 0;
  /** The device needs each device-TLB invalidation twice (`dtlb_extra_inval`). */
  extraInvalidation = false;
  /** `probe_finalize` ran: PASID Enable is decided, so ATS may be switched. */
  finalized = false;
  /** Something is attached to the RID. */
  domainAttached = false;
  /** The tracked domain on the RID: a paging one. */
  domain: PagingDomain | undefined;
  /** What is on the RID. */
  ridDomain: DomainType | "none" = "none";
  /** The PASID table of scalable mode. */
  pasidTable: PasidTable | undefined;
  /** Domains on PASIDs. */
  readonly pasids: Map<number, Domain> = new Map();
  /** Domains whose page faults are handled (`iopf_refcount`). */
  faultUsers = 0;

  constructor(device: Device, dev: PciDev, unit: ServedUnit, support: AtsSupport | undefined) {
    this.device = device;
    this.dev = dev;
    this.unit = unit;
    this.rid = dev.rid;
    this.atsSupport = support;
  }

  /** Unit, firmware and device allow ATS (`ats_supported`). */
  get atsSupported(): boolean {
    return this.atsSupport?.allowed === true;
  }

  /** Where its device-TLB invalidations go; a queue of 32 or more is coded 0. */
  get target(): DeviceTlbTarget {
    return {
      sourceId: this.rid,
      physicalFunction: this.physicalFunction,
      maxPending: this.queueDepth >= 32 ? 0 : this.queueDepth,
    };
  }
}
