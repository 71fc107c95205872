import type { CapabilityEntry } from "./capability-list.ts";
import { dvsecLayout } from "./dvsec-layouts.ts";
import { AER_LAYOUT, DPC_LAYOUT, EVENT_COLLECTOR_LAYOUT } from "./error-layouts.ts";
import {
  ACS_LAYOUT,
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
  AGP_LAYOUT,
  DEBUG_PORT_LAYOUT,
  ENHANCED_ALLOCATION_LAYOUT,
  FPB_LAYOUT,
  HYPERTRANSPORT_LAYOUT,
  PCIX_LAYOUT,
  SATA_LAYOUT,
  SECURE_DEVICE_LAYOUT,
  SLOT_ID_LAYOUT,
  SUBSYSTEM_LAYOUT,
  VENDOR_SPECIFIC_LAYOUT,
  VPD_LAYOUT,
} from "./legacy-layouts.ts";
import {
  DATA_LINK_FEATURE_LAYOUT,
  L1_SUBSTATES_LAYOUT,
  LANE_MARGINING_LAYOUT,
  LTR_LAYOUT,
  PHYSICAL_LAYER_16_LAYOUT,
  PHYSICAL_LAYER_32_LAYOUT,
  PHYSICAL_LAYER_64_LAYOUT,
  PTM_LAYOUT,
  SECONDARY_PCIE_LAYOUT,
} from "./link-layouts.ts";
import {
  DYNAMIC_POWER_LAYOUT,
  FRS_QUEUEING_LAYOUT,
  MULTICAST_LAYOUT,
  NPEM_LAYOUT,
  POWER_BUDGETING_LAYOUT,
  RCRB_HEADER_LAYOUT,
  READINESS_TIME_LAYOUT,
  RESIZABLE_BAR_LAYOUT,
  ROOT_COMPLEX_INTERNAL_LINK_LAYOUT,
  ROOT_COMPLEX_LINK_LAYOUT,
  SERIAL_NUMBER_LAYOUT,
  TPH_LAYOUT,
  VIRTUAL_CHANNEL_LAYOUT,
  VSEC_LAYOUT,
} from "./other-layouts.ts";
import { PCIE_LAYOUT } from "./pcie-layout.ts";
import type { CapabilityLayout, RegisterReader } from "./register-layout.ts";
import { DEVICE3_LAYOUT, DOE_LAYOUT, IDE_LAYOUT } from "./security-layouts.ts";
import {
  AF_LAYOUT,
  CAP_ID_AF,
  CAP_ID_EXP,
  CAP_ID_MSI,
  CAP_ID_MSIX,
  CAP_ID_PCIX,
  CAP_ID_PM,
  MSIX_LAYOUT,
  MSI_LAYOUT,
  PM_LAYOUT,
} from "./standard-layouts.ts";

/** Layouts of the standard list by capability id. */
const standard: ReadonlyMap<number, CapabilityLayout> = new Map([
  [CAP_ID_PM, PM_LAYOUT],
  [0x02, AGP_LAYOUT],
  [0x03, VPD_LAYOUT],
  [0x04, SLOT_ID_LAYOUT],
  [CAP_ID_MSI, MSI_LAYOUT],
  [CAP_ID_PCIX, PCIX_LAYOUT],
  [0x08, HYPERTRANSPORT_LAYOUT],
  [0x09, VENDOR_SPECIFIC_LAYOUT],
  [0x0a, DEBUG_PORT_LAYOUT],
  [0x0d, SUBSYSTEM_LAYOUT],
  [0x0e, AGP_LAYOUT],
  [0x0f, SECURE_DEVICE_LAYOUT],
  [CAP_ID_EXP, PCIE_LAYOUT],
  [CAP_ID_MSIX, MSIX_LAYOUT],
  [0x12, SATA_LAYOUT],
  [CAP_ID_AF, AF_LAYOUT],
  [0x14, ENHANCED_ALLOCATION_LAYOUT],
  [0x15, FPB_LAYOUT],
]);

/** Layouts of the extended list by capability id; a DVSEC has one by its vendor and id. */
const extended: ReadonlyMap<number, CapabilityLayout> = new Map([
  [EXT_CAP_ID_AER, AER_LAYOUT],
  [0x02, VIRTUAL_CHANNEL_LAYOUT],
  [0x03, SERIAL_NUMBER_LAYOUT],
  [0x04, POWER_BUDGETING_LAYOUT],
  [0x05, ROOT_COMPLEX_LINK_LAYOUT],
  [0x06, ROOT_COMPLEX_INTERNAL_LINK_LAYOUT],
  [0x07, EVENT_COLLECTOR_LAYOUT],
  [0x08, VIRTUAL_CHANNEL_LAYOUT],
  [0x09, VIRTUAL_CHANNEL_LAYOUT],
  [0x0a, RCRB_HEADER_LAYOUT],
  [EXT_CAP_ID_VSEC, VSEC_LAYOUT],
  [EXT_CAP_ID_ACS, ACS_LAYOUT],
  [EXT_CAP_ID_ARI, ARI_LAYOUT],
  [EXT_CAP_ID_ATS, ATS_LAYOUT],
  [EXT_CAP_ID_SRIOV, SRIOV_LAYOUT],
  [0x12, MULTICAST_LAYOUT],
  [EXT_CAP_ID_PRI, PRI_LAYOUT],
  [0x15, RESIZABLE_BAR_LAYOUT],
  [0x16, DYNAMIC_POWER_LAYOUT],
  [0x17, TPH_LAYOUT],
  [0x18, LTR_LAYOUT],
  [0x19, SECONDARY_PCIE_LAYOUT],
  [EXT_CAP_ID_PASID, PASID_LAYOUT],
  [0x1d, DPC_LAYOUT],
  [0x1e, L1_SUBSTATES_LAYOUT],
  [0x1f, PTM_LAYOUT],
  [0x21, FRS_QUEUEING_LAYOUT],
  [0x22, READINESS_TIME_LAYOUT],
  [0x24, RESIZABLE_BAR_LAYOUT],
  [0x25, DATA_LINK_FEATURE_LAYOUT],
  [0x26, PHYSICAL_LAYER_16_LAYOUT],
  [0x27, LANE_MARGINING_LAYOUT],
  [0x29, NPEM_LAYOUT],
  [0x2a, PHYSICAL_LAYER_32_LAYOUT],
  [0x2e, DOE_LAYOUT],
  [0x2f, DEVICE3_LAYOUT],
  [0x30, IDE_LAYOUT],
  [0x31, PHYSICAL_LAYER_64_LAYOUT],
]);

/** The register layout of a capability, or undefined where the model only knows that it is there. */
export function capabilityLayout(
  config: RegisterReader,
  entry: Pick<CapabilityEntry, "id" | "offset" | "extended">,
): CapabilityLayout | undefined {
  if (!entry.extended) {
    return standard.get(entry.id);
  }
  if (entry.id === EXT_CAP_ID_DVSEC) {
    return dvsecLayout(config.read16(entry.offset + 4), config.read16(entry.offset + 8));
  }
  return extended.get(entry.id);
}
