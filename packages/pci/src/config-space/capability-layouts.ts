import type { CapabilityEntry } from "./capability-list.ts";
import { dvsecLayout } from "./dvsec-layouts.ts";
import {
  ACS_LAYOUT,
  AER_LAYOUT,
  ARI_LAYOUT,
  ATS_LAYOUT,
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_AER,
  EXT_CAP_ID_ARI,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_DVSEC,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
  EXT_CAP_ID_VSEC,
  PASID_LAYOUT,
  PRI_LAYOUT,
  SRIOV_LAYOUT,
} from "./extended-layouts.ts";
import {
  DATA_LINK_FEATURE_LAYOUT,
  DEVICE3_LAYOUT,
  DOE_LAYOUT,
  DPC_LAYOUT,
  ENHANCED_ALLOCATION_LAYOUT,
  IDE_LAYOUT,
  L1_SUBSTATES_LAYOUT,
  LTR_LAYOUT,
  PTM_LAYOUT,
  RESIZABLE_BAR_LAYOUT,
  SERIAL_NUMBER_LAYOUT,
  SUBSYSTEM_LAYOUT,
  TPH_LAYOUT,
  VENDOR_SPECIFIC_LAYOUT,
  VSEC_LAYOUT,
} from "./other-layouts.ts";
import { PCIE_LAYOUT } from "./pcie-layout.ts";
import type { CapabilityLayout, RegisterReader } from "./register-layout.ts";
import {
  AF_LAYOUT,
  CAP_ID_AF,
  CAP_ID_EXP,
  CAP_ID_MSI,
  CAP_ID_MSIX,
  CAP_ID_PM,
  MSIX_LAYOUT,
  MSI_LAYOUT,
  PM_LAYOUT,
} from "./standard-layouts.ts";

const standard: ReadonlyMap<number, CapabilityLayout> = new Map([
  [CAP_ID_PM, PM_LAYOUT],
  [CAP_ID_MSI, MSI_LAYOUT],
  [0x09, VENDOR_SPECIFIC_LAYOUT],
  [0x0d, SUBSYSTEM_LAYOUT],
  [CAP_ID_EXP, PCIE_LAYOUT],
  [CAP_ID_MSIX, MSIX_LAYOUT],
  [CAP_ID_AF, AF_LAYOUT],
  [0x14, ENHANCED_ALLOCATION_LAYOUT],
]);

const extended: ReadonlyMap<number, CapabilityLayout> = new Map([
  [EXT_CAP_ID_AER, AER_LAYOUT],
  [0x03, SERIAL_NUMBER_LAYOUT],
  [EXT_CAP_ID_VSEC, VSEC_LAYOUT],
  [EXT_CAP_ID_ACS, ACS_LAYOUT],
  [EXT_CAP_ID_ARI, ARI_LAYOUT],
  [EXT_CAP_ID_ATS, ATS_LAYOUT],
  [EXT_CAP_ID_SRIOV, SRIOV_LAYOUT],
  [EXT_CAP_ID_PRI, PRI_LAYOUT],
  [0x15, RESIZABLE_BAR_LAYOUT],
  [0x17, TPH_LAYOUT],
  [0x18, LTR_LAYOUT],
  [EXT_CAP_ID_PASID, PASID_LAYOUT],
  [0x1d, DPC_LAYOUT],
  [0x1e, L1_SUBSTATES_LAYOUT],
  [0x1f, PTM_LAYOUT],
  [0x24, RESIZABLE_BAR_LAYOUT],
  [0x25, DATA_LINK_FEATURE_LAYOUT],
  [0x2e, DOE_LAYOUT],
  [0x2f, DEVICE3_LAYOUT],
  [0x30, IDE_LAYOUT],
]);

/** The register layout of a capability, or undefined where the model only knows that it is there. */
export function capabilityLayout(config: RegisterReader, entry: CapabilityEntry): CapabilityLayout | undefined {
  if (!entry.extended) {
    return standard.get(entry.id);
  }
  if (entry.id === EXT_CAP_ID_DVSEC) {
    return dvsecLayout(config.read16(entry.offset + 4), config.read16(entry.offset + 8));
  }
  return extended.get(entry.id);
}
