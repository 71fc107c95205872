import type { Op } from "@iommu-lab/core";
import { KernelError, preempt } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";

const ATS_CAPABILITY = 4;
const ATS_CONTROL = 6;
const ATS_ENABLE = 0x8000;
/** Page shift of STU 0. */
const MIN_STU = 12;
const DVSEC_VENDOR_CXL = 0x1e98;
const DVSEC_CXL_DEVICE = 0;
const CACHE_CAPABLE = 1;
const VENDOR_NVIDIA = 0x10de;
const VENDOR_MELLANOX = 0x15b3;

/**
 * Whether ATS may be used: the capability is there and not switched off by `pci=noats`, and the function is trusted.
 *
 * Source: Linux 7.2 `pci_ats_supported()`.
 */
export function pciAtsSupported(dev: PciDev): boolean {
  return dev.atsSupported();
}

function checkSetup(dev: PciDev, ps: number, where: string): void {
  if (!pciAtsSupported(dev)) {
    throw new KernelError("EINVAL", `${where}: ${dev.name} has no usable ATS`);
  }
  if (dev.atsEnabled) {
    dev.warn(where, "ATS is enabled already");
    throw new KernelError("EBUSY", `${where}: ${dev.name} has ATS enabled already`);
  }
  if (ps < MIN_STU) {
    throw new KernelError("EINVAL", `${where}: page shift ${ps} is below ${MIN_STU}`);
  }
}

/**
 * Writes the STU with Enable clear, so that VFs can be enabled later. A VF's own STU is the PF's: nothing is written.
 *
 * Source: Linux 7.2 `pci_prepare_ats()`.
 *
 * @param ps page shift, at least 12
 * @throws KernelError EINVAL, EBUSY
 */
export function* pciPrepareAts(dev: PciDev, ps: number): Op<void> {
  checkSetup(dev, ps, "pci_prepare_ats");
  if (dev.isVirtfn) {
    return;
  }
  dev.atsStu = ps;
  yield preempt;
  dev.write16(dev.atsCap + ATS_CONTROL, ps - MIN_STU, "ATS Control");
}

/**
 * Sets ATS Enable. A PF gets its STU in the same write; a VF must match the PF's.
 *
 * Source: Linux 7.2 `pci_enable_ats()`.
 *
 * @param ps page shift, at least 12
 * @throws KernelError EINVAL, EBUSY
 */
export function* pciEnableAts(dev: PciDev, ps: number): Op<void> {
  checkSetup(dev, ps, "pci_enable_ats");
  let control = ATS_ENABLE;
  if (dev.physfn === undefined) {
    dev.atsStu = ps;
    control |= ps - MIN_STU;
  } else if (dev.physfn.atsStu !== ps) {
    throw new KernelError("EINVAL", `pci_enable_ats: the PF of ${dev.name} has another STU`);
  }
  yield preempt;
  dev.write16(dev.atsCap + ATS_CONTROL, control, "ATS Control");
  dev.atsEnabled = true;
  traceAts(dev);
}

/** Clears ATS Enable. Source: Linux 7.2 `pci_disable_ats()`. */
export function* pciDisableAts(dev: PciDev): Op<void> {
  if (!dev.atsEnabled) {
    dev.warn("pci_disable_ats", "ATS is not enabled");
    return;
  }
  const at = dev.atsCap + ATS_CONTROL;
  const control = dev.read16(at);
  yield preempt;
  dev.write16(at, control & ~ATS_ENABLE, "ATS Control");
  dev.atsEnabled = false;
  traceAts(dev);
}

/**
 * Writes again what the kernel believes. The STU of a function that was only prepared is not written.
 *
 * Source: Linux 7.2 `pci_restore_ats_state()`.
 */
export function* pciRestoreAtsState(dev: PciDev): Op<void> {
  if (!dev.atsEnabled) {
    return;
  }
  yield preempt;
  const stu = dev.isVirtfn ? 0 : dev.atsStu - MIN_STU;
  dev.write16(dev.atsCap + ATS_CONTROL, ATS_ENABLE | stu, "ATS Control");
  traceAts(dev);
}

function traceAts(dev: PciDev): void {
  if (dev.trace.active) {
    dev.traceEnable("ats", (dev.read16(dev.atsCap + ATS_CONTROL) & ATS_ENABLE) !== 0);
  }
}

/**
 * Invalidate Requests the function takes at once: 1 … 32; 0 for a VF, which shares its PF's queue.
 *
 * Source: Linux 7.2 `pci_ats_queue_depth()`.
 *
 * @throws KernelError EINVAL without the capability
 */
export function pciAtsQueueDepth(dev: PciDev): number {
  if (dev.atsCap === 0) {
    throw new KernelError("EINVAL", `pci_ats_queue_depth: ${dev.name} has no ATS`);
  }
  if (dev.isVirtfn) {
    return 0;
  }
  const depth = dev.read16(dev.atsCap + ATS_CAPABILITY) & 0x1f;
  return depth === 0 ? 32 : depth;
}

/** Page Aligned Request; false without the capability. Source: Linux 7.2 `pci_ats_page_aligned()`. */
export function pciAtsPageAligned(dev: PciDev): boolean {
  return dev.atsCap !== 0 && (dev.read16(dev.atsCap + ATS_CAPABILITY) & 0x20) !== 0;
}

/**
 * Whether the function cannot work without ATS: a CXL device with Cache_Capable (not Cache_Enable, which may be set
 * later), or a device known to reach memory in that way. A VF is as its PF.
 *
 * Source: Linux 7.2 `pci_ats_required()`.
 */
export function pciAtsRequired(dev: PciDev): boolean {
  if (!pciAtsSupported(dev)) {
    return false;
  }
  const owner = dev.physfn ?? dev;
  return cxlCacheCapable(owner) || knownToRequireAts(owner.vendor, owner.device);
}

function cxlCacheCapable(dev: PciDev): boolean {
  const at = dev.config.findDvsec(DVSEC_VENDOR_CXL, DVSEC_CXL_DEVICE);
  return at !== 0 && dev.present() && (dev.read16(at + 0xa) & CACHE_CAPABLE) !== 0;
}

/** Source: Linux 7.2 `pci_dev_ats_required[]`: GB20B GPUs, and the NVLink-C2C function of ConnectX-10. */
function knownToRequireAts(vendor: number, device: number): boolean {
  return (
    (vendor === VENDOR_NVIDIA && device >= 0x2e00 && device <= 0x2e3f) ||
    (vendor === VENDOR_MELLANOX && device === 0x2101)
  );
}
