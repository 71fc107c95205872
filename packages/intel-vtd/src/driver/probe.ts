import type { Device, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import {
  pciAtsQueueDepth,
  pciAtsSupported,
  pciDisablePasid,
  pciEnablePasid,
  pciMaxPasids,
  pciPasidFeatures,
  pciPrepareAts,
  pciPriSupported,
} from "@iommu-lab/pci";
import type { AtsControl } from "./ats-control.ts";
import { decided } from "./ats-control.ts";
import { atsSupport } from "./ats-firmware.ts";
import { DeviceInfo } from "./device-info.ts";
import type { DmarView } from "./dmar-view.ts";
import { PasidTable } from "./pasid-table.ts";
import { setUpScalableContext, tearDownScalableContext } from "./scalable-context.ts";
import type { RidOperations } from "./paging-domain.ts";
import type { ServedUnit } from "./served-unit.ts";
import type { VtdVersion } from "./version.ts";

const PAGE_SHIFT = 12;
const VENDOR_INTEL = 0x8086;
/** QAT devices 4940 … 4943 complete device-TLB invalidations too early. */
const QAT_MASK = 0xfffc;
const QAT_DEVICE = 0x4940;

/** What a probe goes by. */
interface ProbeRules {
  readonly firmware: DmarView;
  readonly version: VtdVersion;
}

/**
 * Finds out what a device may do; in scalable mode writes its context entry, with empty PASID entries behind it.
 *
 * Source: Linux 7.2 `intel_iommu_probe_device()`. 6.12 sets PASID Enable at its end.
 */
export function* probeDevice(
  device: Device,
  dev: PciDev,
  unit: ServedUnit,
  { firmware, version }: ProbeRules,
): Op<DeviceInfo> {
  const info = new DeviceInfo(device, dev, unit, atsSupport(dev, unit.iommu, firmware));
  noteAts(info);
  const { iommu } = unit;
  if (iommu.scalable) {
    if (iommu.pasidSupported) {
      judgePasid(info);
    }
    const { prs, pds } = iommu.caps;
    info.priSupported = info.atsSupported && prs && pds && pciPriSupported(dev);
  }
  if (pciAtsSupported(dev) && version.context === "probe") {
    yield* ignoringErrno(pciPrepareAts(dev, PAGE_SHIFT));
  }
  if (iommu.scalable) {
    const maxPasid = info.pasidSupported ? Math.min(pciMaxPasids(dev), 2 ** iommu.caps.pasidBits) : 0;
    info.pasidTable = new PasidTable(iommu, unit.tables, dev.rid, maxPasid);
    if (version.context === "probe") {
      yield* setUpScalableContext(info, version.pageRequests === "finalize" && info.priSupported);
    }
  }
  if (version.pasidEnable === "probe") {
    yield* enablePasid(info);
  }
  return info;
}

/**
 * PASID, then ATS as the policy wants it, then PRI. PASID Enable must not change while ATS is on, so it is set here for
 * good.
 *
 * Source: Linux 7.2 `intel_iommu_probe_finalize()`.
 */
export function* finalizeDevice(info: DeviceInfo, ats: AtsControl, version: VtdVersion): Op<void> {
  if (version.pasidEnable === "finalize") {
    yield* enablePasid(info);
  }
  info.finalized = true;
  if (info.unit.iommu.scalable && version.ats === "finalize") {
    const wanted = yield* ats.before(info, "probe-finalize", info.ridDomain, info.pasids.size);
    yield* ats.after(info, wanted);
  }
}

/**
 * PRI, ATS, PASID off, then the context entry goes.
 *
 * Source: Linux 7.2 `intel_iommu_release_device()`.
 */
export function* releaseDevice(info: DeviceInfo, ats: AtsControl, rid: RidOperations, version: VtdVersion): Op<void> {
  yield* rid.release(info);
  yield* ats.release(info);
  if (info.pasidEnabled) {
    yield* pciDisablePasid(info.dev);
    info.pasidEnabled = false;
  }
  if (info.unit.iommu.scalable && version.context === "probe") {
    yield* tearDownScalableContext(info);
  }
  info.pasidTable?.free();
  info.pasidTable = undefined;
}

function* enablePasid(info: DeviceInfo): Op<void> {
  if (info.pasidSupported) {
    info.pasidEnabled = yield* ignoringErrno(pciEnablePasid(info.dev, info.pasidFeatures));
  }
}

/** Tells what was found out about ATS, and fills in what invalidations to the device need. */
function noteAts(info: DeviceInfo): void {
  const { dev, atsSupport: support } = info;
  const { caps } = info.unit.iommu;
  if (support === undefined) {
    return;
  }
  decided(info, {
    rule: "vtd-ats-supported",
    input: `ECAP.DT=${caps.dt ? 1 : 0}, pci_ats_supported()=${pciAtsSupported(dev) ? 1 : 0}`,
    answer: support.allowed ? "ATS may be used" : "ATS is never used",
    reason: support.reason,
    source: support.source,
    basis: support.basis,
  });
  if (support.allowed) {
    info.extraInvalidation = dev.vendor === VENDOR_INTEL && (dev.device & QAT_MASK) === QAT_DEVICE;
    info.physicalFunction = caps.dit ? (dev.physfn ?? dev).rid : 0;
    info.queueDepth = pciAtsQueueDepth(dev);
  }
}

function judgePasid(info: DeviceInfo): void {
  try {
    info.pasidFeatures = pciPasidFeatures(info.dev);
    info.pasidSupported = true;
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
  }
}

/** Runs a step whose failure the kernel does not mind. @returns whether it worked */
function* ignoringErrno(step: Op<void>): Op<boolean> {
  try {
    yield* step;
    return true;
  } catch (error) {
    if (error instanceof KernelError) {
      return false;
    }
    throw error;
  }
}
