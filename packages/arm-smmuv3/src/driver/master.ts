import type { Device, Digest, Domain } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import { pciAtsSupported } from "@iommu-lab/pci";
import { CdTable } from "./cd-table.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/** A function behind an SMMU as the driver keeps it (`struct arm_smmu_master`). */
export class Master {
  readonly device: Device;
  readonly pci: PciDev;
  readonly smmu: SmmuDevice;
  /** Its StreamIDs, ascending. */
  readonly streams: readonly number[];
  readonly cdTable: CdTable;
  /** log2 of the PASIDs it can use, 0 = none (`ssid_bits`). */
  ssidBits = 0;
  /** What the driver believes of ATS Enable (`ats_enabled`). */
  atsEnabled = false;
  /** EATS in its STE (`ste_ats_enabled`). */
  steAtsEnabled = false;
  /** ATS stays on while the RID is on IDENTITY (`ats_always_on`). */
  atsAlwaysOn = false;
  /** `pci_ats_required()` as found at probe. */
  atsRequired = false;
  /** What it is attached to (`master->domain`, 6.1 alone). */
  attached: Domain | undefined = undefined;
  /** Its faults may stall (`stall_enabled`). */
  readonly stalls: boolean;

  constructor(device: Device, pci: PciDev, smmu: SmmuDevice, streams: readonly number[]) {
    this.device = device;
    this.pci = pci;
    this.smmu = smmu;
    this.streams = streams;
    this.stalls = smmu.features.stallForced;
    this.cdTable = new CdTable({ name: device.name, rid: pci.rid, smmu, streams });
  }

  /** Source: Linux 7.2 `arm_smmu_ats_supported()`. */
  get atsSupported(): boolean {
    return this.atsObstacle === "";
  }

  /** Why ATS cannot be used, in words; `""` when it can. */
  get atsObstacle(): string {
    if (!this.smmu.features.ats) {
      return "the SMMU has no ATS";
    }
    if (!this.smmu.description.rootComplexAts) {
      return "firmware does not say that the root complex does ATS";
    }
    if (this.pci.atsCap === 0) {
      return "the function has no ATS, or pci=noats";
    }
    return pciAtsSupported(this.pci) ? "" : "the function is not trusted";
  }

  /** `arm_smmu_ssids_in_use()`. */
  get ssidsInUse(): boolean {
    return this.cdTable.usedSsids > 0;
  }

  /** Writes what the driver believes of the function. */
  digest(into: Digest): void {
    into.text(this.device.name);
    into.number(this.ssidBits);
    for (const flag of [this.atsEnabled, this.steAtsEnabled, this.atsAlwaysOn, this.atsRequired, this.stalls]) {
      into.number(flag ? 1 : 0);
    }
    for (const sid of this.streams) {
      into.number(sid);
    }
    into.number(this.attached?.id ?? 0);
    this.cdTable.digest(into);
  }

  /** Makes the table of context descriptors. @param atLeast smallest log2 of their number */
  allocateCdTable(atLeast: number = 0): void {
    this.cdTable.allocate(Math.max(this.ssidBits, atLeast, this.atsAlwaysOn ? 1 : 0));
  }
}
