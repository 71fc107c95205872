import { Lock } from "@iommu-lab/core";
import type { PciDev, Rid } from "@iommu-lab/pci";
import { formatRid } from "@iommu-lab/pci";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { AmdUnit } from "./unit.ts";

/** A device's GCR3 table (`struct gcr3_tbl_info`). */
export class Gcr3Info {
  /** Physical address of the top table; 0 = none (the kernel's NULL). */
  table = 0;
  /** Levels minus 1. */
  glx = 0;
  /** PASIDs set in it; it is not reset when the table goes. */
  pasidCount = 0;
  /** Domain ID of the device's own while it has a table. */
  domainId = 0;
}

/**
 * What the driver keeps for a requester ID (`struct iommu_dev_data`). It outlives the device: one that is plugged in again
 * finds what the last one left.
 */
export class DeviceData {
  readonly rid: Rid;
  /** The unit that serves it. */
  readonly unit: AmdUnit;
  /** `dev_data->mutex`. */
  readonly mutex: Lock;
  /** `dev_data->dte_lock`. */
  readonly dteLock: Lock;
  readonly gcr3: Gcr3Info = new Gcr3Info();
  /** The requester ID that firmware says its requests carry; its own when firmware says nothing. */
  alias: Rid;
  /** The function; undefined for a requester ID that is only an alias. */
  dev: PciDev | undefined;
  /** The domain it is bound to; BLOCKED counts as none. */
  domain: ProtectionDomain | undefined;
  /** AMD_IOMMU_DEVICE_FLAG_ATS_SUP. */
  atsSupported = false;
  /** AMD_IOMMU_DEVICE_FLAG_PRI_SUP. */
  priSupported = false;
  /** AMD_IOMMU_DEVICE_FLAG_PASID_SUP. */
  pasidSupported = false;
  /** PASIDs that unit and device can take; 0 when PASID support was not recorded. */
  maxPasids = 0;
  /** ATS was wanted since the RID's domain was attached. A failure to enable it is not tried again. */
  atsWanted = false;
  /** What the driver believes of ATS Enable. */
  atsEnabled = false;
  /** Invalidate Queue Depth of the function, 0 for a VF. */
  atsQueueDepth = 0;
  /** What the driver believes of PRI Enable. */
  priEnabled = false;
  /** What the driver believes of PASID Enable. */
  pasidEnabled = false;
  /** Its page faults are handled: DTE.PPR. */
  pageRequests = false;

  constructor(rid: Rid, unit: AmdUnit) {
    this.rid = rid;
    this.alias = rid;
    this.unit = unit;
    this.mutex = new Lock(`dev_data ${formatRid(rid)} mutex`);
    this.dteLock = new Lock(`dev_data ${formatRid(rid)} dte_lock`);
  }

  /** The function. @throws Error for an alias */
  get function(): PciDev {
    if (this.dev === undefined) {
      throw new Error(`${formatRid(this.rid)} is no function of its own`);
    }
    return this.dev;
  }
}
