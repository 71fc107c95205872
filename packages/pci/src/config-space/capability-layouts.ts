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
  PASID_LAYOUT,
  PRI_LAYOUT,
  SRIOV_LAYOUT,
} from "./extended-layouts.ts";
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
  [CAP_ID_EXP, PCIE_LAYOUT],
  [CAP_ID_MSIX, MSIX_LAYOUT],
  [CAP_ID_AF, AF_LAYOUT],
]);

const extended: ReadonlyMap<number, CapabilityLayout> = new Map([
  [EXT_CAP_ID_AER, AER_LAYOUT],
  [EXT_CAP_ID_ACS, ACS_LAYOUT],
  [EXT_CAP_ID_ARI, ARI_LAYOUT],
  [EXT_CAP_ID_ATS, ATS_LAYOUT],
  [EXT_CAP_ID_SRIOV, SRIOV_LAYOUT],
  [EXT_CAP_ID_PRI, PRI_LAYOUT],
  [EXT_CAP_ID_PASID, PASID_LAYOUT],
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
