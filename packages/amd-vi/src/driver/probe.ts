import type { Device, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import { pciDev, pciMaxPasids, pciPrepareAts } from "@iommu-lab/pci";
import { failureOf, recordCapabilities } from "./capabilities.ts";
import type { DeviceData } from "./device-data.ts";
import type { DriverState } from "./state.ts";

const PAGE_SHIFT = 12;

/**
 * Records what the device can do, if it may be used: pass-through is the default or isolation is not forced, and the units
 * have GT, PPR, GIoSup and EPHSup. Without that the device never gets ATS, PASID or PRI.
 *
 * Source: Linux 7.2 `iommu_init_device()`, `amd_iommu_gt_ppr_supported()`.
 */
function recordFlags(state: DriverState, data: DeviceData, dev: PciDev): void {
  const { commandLine, gtPprSupported, capabilitiesPermitted: permitted } = state;
  if (state.version.atsGate === "none") {
    recordFlags61(state, data, dev);
    return;
  }
  if (permitted && gtPprSupported) {
    recordCapabilities(data, dev);
  }
  const missing = state.missingFeatures;
  const found = [data.atsSupported && "ATS", data.priSupported && "PRI", data.pasidSupported && "PASID"];
  const recorded = found.filter((name) => name !== false).join(", ") || "nothing";
  state.decide(dev.name, {
    rule: "amd-capability-gate",
    input: `missing: ${missing.join(", ") || "none"}; force_isolation=${commandLine.forceIsolation}, passthrough=${commandLine.passthroughDefault}`,
    answer: recorded,
    reason: !gtPprSupported
      ? `the units lack ${missing.join(", ")}: no ATS, PASID or PRI for any device`
      : permitted
        ? "all units have GT, PPR, GIoSup and EPHSup: the capabilities of the device are recorded"
        : "amd_iommu=force_isolation without pass-through: the capabilities of the device are ignored",
    source: "Linux 7.2 iommu_init_device(), amd_iommu_gt_ppr_supported()",
    basis: permitted || !gtPprSupported ? "recorded" : "source",
  });
}

/** The alias that firmware knows becomes one of the PCI core's, if it is on the same bus. Source: Linux 7.2 `setup_aliases()`. */
function setupAlias(state: DriverState, data: DeviceData, dev: PciDev): void {
  const alias = state.firmware.aliases.find(({ rid }) => rid === dev.rid)?.alias ?? dev.rid;
  data.alias = alias;
  const devfn = alias & 0xff;
  if (alias !== dev.rid && alias >>> 8 === dev.rid >>> 8 && !dev.dmaAliases.includes(devfn)) {
    dev.dmaAliases = [...dev.dmaAliases, devfn].toSorted((a, b) => a - b);
  }
}

/**
 * 6.1 enables ATS of whatever has it; a device counts as IOMMUv2-capable, and is put on IDENTITY, when it has ATS, PRI and
 * PASID and the units have GT and PPR.
 *
 * Source: Linux 6.1 `iommu_init_device()`, `pci_iommuv2_capable()`, `attach_device()`.
 */
function recordFlags61(state: DriverState, data: DeviceData, dev: PciDev): void {
  const { features, capabilitiesPermitted } = state;
  recordCapabilities(data, dev);
  const capable = data.atsSupported && data.priSupported && data.pasidSupported;
  data.pasidSupported = capable && capabilitiesPermitted && features.gt && features.ppr;
  state.decide(dev.name, {
    rule: "amd-capability-gate",
    input: `ATS, PRI and PASID: ${capable}; GT=${features.gt}, PPR=${features.ppr}`,
    answer: `${data.atsSupported ? "ATS" : "no ATS"}, ${data.pasidSupported ? "IOMMUv2" : "no IOMMUv2"}`,
    reason: "ATS needs nothing but IotlbSup; IOMMUv2 needs ATS, PRI, PASID, GT and PPR",
    source: "Linux 6.1 iommu_init_device(), pci_iommuv2_capable()",
    basis: "source",
  });
}

/**
 * Takes a device in: what is kept of its requester ID, entries of its aliases, capabilities, STU.
 *
 * Source: Linux 7.2 `amd_iommu_probe_device()`.
 *
 * @throws KernelError ENODEV when no unit serves it, or the units cannot translate at all
 */
export function* probeDevice(state: DriverState, device: Device): Op<void> {
  const dev = pciDev(device);
  const unit = state.unitOf(dev.rid);
  if (unit === undefined) {
    throw new KernelError("ENODEV", `no AMD-Vi unit serves ${dev.name}`);
  }
  if (state.probed(device) !== undefined) {
    return;
  }
  const data = state.find(unit, dev.rid);
  data.dev = dev;
  state.setProbed(device, data);
  setupAlias(state, data, dev);
  yield* state.deviceTable.cloneAliases(data);
  recordFlags(state, data, dev);
  if (state.version.sva && state.pasidSupported && data.pasidSupported) {
    data.maxPasids = Math.min(unit.maxPasids, pciMaxPasids(dev));
  }
  if (state.pageTable === "none") {
    throw new KernelError("ENODEV", "DMA translation not supported by the IOMMU");
  }
  yield* unit.completionWait();
  if (state.version.prepareAts) {
    yield* failureOf(pciPrepareAts(dev, PAGE_SHIFT));
  }
}
