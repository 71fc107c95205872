import type { Basis } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import { PCIE_TYPE, pciAtsSupported } from "@iommu-lab/pci";
import type { DmarView } from "./dmar-view.ts";
import type { IntelIommu } from "./unit.ts";

/** Whether ATS may be used for a function, and the fact that decides. */
export interface AtsSupport {
  readonly allowed: boolean;
  readonly reason: string;
  /** Function of the kernel that asks. */
  readonly source: string;
  readonly basis: Basis;
}

const EXT_CAP_ATS = 0x0f;
const PATH_SOURCE = "Linux 7.2 dmar_ats_supported()";

/**
 * Judges a function: a unit with device-TLBs, a trusted device with the capability in use, a path that admits ATS.
 *
 * Source: Linux 7.2 `intel_iommu_probe_device()`.
 *
 * @returns undefined for a function without ATS capability
 */
export function atsSupport(dev: PciDev, iommu: IntelIommu, firmware: DmarView): AtsSupport | undefined {
  if (dev.config.findExtendedCapability(EXT_CAP_ATS) === 0) {
    return undefined;
  }
  if (!iommu.caps.dt) {
    const source = "Linux 7.2 intel_iommu_probe_device()";
    return { allowed: false, reason: "ECAP.DT=0: the unit has no device-TLB support", source, basis: "source" };
  }
  if (dev.noAts) {
    const reason = "pci=noats: the kernel does not use the ATS capability";
    return { allowed: false, reason, source: "Linux 7.2 pci_ats_init()", basis: "recorded" };
  }
  if (!pciAtsSupported(dev)) {
    const reason = "untrusted: the function is below an external-facing port";
    return { allowed: false, reason, source: "Linux 7.2 pci_ats_supported()", basis: "source" };
  }
  return atsPath(dev.physfn ?? dev, iommu, firmware);
}

/**
 * Judges what firmware says and the way of a function, of the PF for a VF: an SATC that names it; else integrated into the
 * root complex, or no conventional bus and a root port that an ATSR lists.
 */
function atsPath(dev: PciDev, iommu: IntelIommu, firmware: DmarView): AtsSupport {
  const { satc } = firmware.ats(dev);
  if (satc !== undefined) {
    return integrated(satc.required && !iommu.scalable);
  }
  let { bridge } = dev;
  while (bridge !== undefined) {
    if (bridge.pcieCap === 0 || bridge.pcieType === PCIE_TYPE.pcieToPciBridge) {
      const reason = `${bridge.name} above it is no PCI Express port`;
      return { allowed: false, reason, source: PATH_SOURCE, basis: "source" };
    }
    if (bridge.pcieType === PCIE_TYPE.rootPort) {
      return listed(bridge, firmware.ats(dev, bridge).rootPort);
    }
    ({ bridge } = bridge);
  }
  const reason = "no root port above it (integrated into the root complex): no ATSR needed";
  return { allowed: true, reason, source: PATH_SOURCE, basis: "source" };
}

function listed(port: PciDev, inAtsr: boolean): AtsSupport {
  return inAtsr
    ? { allowed: true, reason: "an ATSR covers its root port", source: PATH_SOURCE, basis: "recorded" }
    : { allowed: false, reason: `no ATSR lists its root port ${port.name}`, source: PATH_SOURCE, basis: "recorded" };
}

/** What an SATC names may use ATS, unless the hardware handles it by itself. */
function integrated(byHardware: boolean): AtsSupport {
  return byHardware
    ? {
        allowed: false,
        reason: "an SATC names it and requires its ATC: in legacy mode the hardware handles ATS by itself",
        source: PATH_SOURCE,
        basis: "recorded",
      }
    : { allowed: true, reason: "an SATC names it", source: PATH_SOURCE, basis: "recorded" };
}
