import type { PciDev } from "@iommu-lab/pci";
import { PCIE_TYPE } from "@iommu-lab/pci";

/** What the firmware says of ATS: root ports in ATSR structures. */
export type Atsr = "all-ports" | "none";

/** Whether the way from a function to memory admits ATS, and why. */
export interface PathAnswer {
  readonly allowed: boolean;
  readonly reason: string;
}

/**
 * Judges the way of a function: integrated into the root complex, no conventional bus, a root port that firmware lists.
 * A VF is judged by its PF.
 *
 * Source: Linux 7.2 `dmar_ats_supported()`.
 */
export function atsPath(dev: PciDev, atsr: Atsr): PathAnswer {
  let { bridge } = dev.physfn ?? dev;
  if (bridge === undefined) {
    return { allowed: true, reason: "it is integrated into the root complex" };
  }
  while (bridge !== undefined) {
    if (bridge.pcieCap === 0 || bridge.pcieType === PCIE_TYPE.pcieToPciBridge) {
      return { allowed: false, reason: `${bridge.name} on its way is no PCI Express port` };
    }
    if (bridge.pcieType === PCIE_TYPE.rootPort) {
      break;
    }
    ({ bridge } = bridge);
  }
  if (bridge === undefined) {
    return { allowed: true, reason: "there is no root port above it" };
  }
  return atsr === "all-ports"
    ? { allowed: true, reason: "firmware lists all root ports" }
    : { allowed: false, reason: `firmware lists no root port, so not ${bridge.name}` };
}
