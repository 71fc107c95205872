import type { Op } from "@iommu-lab/core";
import { KernelError, preempt } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";

const PRI_CONTROL = 4;
const PRI_STATUS = 6;
const PRI_CAPACITY = 8;
const PRI_ALLOCATION = 12;
const PRI_ENABLE = 1;
const PRI_RESET = 2;
const PRI_STOPPED = 0x100;

/** Whether the function, or the PF of a VF, has the capability. Source: Linux 7.2 `pci_pri_supported()`. */
export function pciPriSupported(dev: PciDev): boolean {
  return (dev.physfn ?? dev).priCap !== 0;
}

/** PRG Response PASID Required, as read at enumeration. Source: Linux 7.2 `pci_prg_resp_pasid_required()`. */
export function pciPrgResponsePasidRequired(dev: PciDev): boolean {
  return (dev.physfn ?? dev).pasidRequired;
}

/**
 * Resets the interface, which must be disabled. Nothing to do for a VF.
 *
 * Source: Linux 7.2 `pci_reset_pri()`.
 *
 * @throws KernelError EBUSY when it is enabled, EINVAL without the capability
 */
export function* pciResetPri(dev: PciDev): Op<void> {
  if (dev.isVirtfn) {
    return;
  }
  if (dev.priEnabled) {
    dev.warn("pci_reset_pri", "PRI is enabled");
    throw new KernelError("EBUSY", `pci_reset_pri: ${dev.name} has PRI enabled`);
  }
  if (dev.priCap === 0) {
    throw new KernelError("EINVAL", `pci_reset_pri: ${dev.name} has no PRI`);
  }
  yield preempt;
  dev.write16(dev.priCap + PRI_CONTROL, PRI_RESET, "PRI Control");
}

/**
 * Sets PRI Enable after the allocation. A VF shares its PF's interface.
 *
 * Source: Linux 7.2 `pci_enable_pri()`.
 *
 * @param requests wanted number of outstanding requests; the function's capacity is the limit
 * @throws KernelError EINVAL, EBUSY (enabled already, or not stopped)
 */
export function* pciEnablePri(dev: PciDev, requests: number): Op<void> {
  if (dev.physfn !== undefined) {
    if (!dev.physfn.priEnabled) {
      throw new KernelError("EINVAL", `pci_enable_pri: the PF of ${dev.name} has PRI disabled`);
    }
    return;
  }
  if (dev.priEnabled) {
    dev.warn("pci_enable_pri", "PRI is enabled already");
    throw new KernelError("EBUSY", `pci_enable_pri: ${dev.name} has PRI enabled already`);
  }
  if (dev.priCap === 0) {
    throw new KernelError("EINVAL", `pci_enable_pri: ${dev.name} has no PRI`);
  }
  if ((dev.read16(dev.priCap + PRI_STATUS) & PRI_STOPPED) === 0) {
    throw new KernelError("EBUSY", `pci_enable_pri: ${dev.name} has not stopped`);
  }
  dev.priRequests = Math.min(dev.read32(dev.priCap + PRI_CAPACITY), requests);
  yield preempt;
  dev.write32(dev.priCap + PRI_ALLOCATION, dev.priRequests, "Outstanding Page Request Allocation");
  yield preempt;
  dev.write16(dev.priCap + PRI_CONTROL, PRI_ENABLE, "PRI Control");
  dev.priEnabled = true;
  tracePri(dev);
}

/** Clears PRI Enable. Nothing to do for a VF. Source: Linux 7.2 `pci_disable_pri()`. */
export function* pciDisablePri(dev: PciDev): Op<void> {
  if (dev.isVirtfn) {
    return;
  }
  if (!dev.priEnabled) {
    dev.warn("pci_disable_pri", "PRI is not enabled");
    return;
  }
  const at = dev.priCap + PRI_CONTROL;
  const control = dev.read16(at);
  yield preempt;
  dev.write16(at, control & ~PRI_ENABLE, "PRI Control");
  dev.priEnabled = false;
  tracePri(dev);
}

/** Writes again what the kernel believes. Source: Linux 7.2 `pci_restore_pri_state()`. */
export function* pciRestorePriState(dev: PciDev): Op<void> {
  if (dev.isVirtfn || !dev.priEnabled) {
    return;
  }
  yield preempt;
  dev.write32(dev.priCap + PRI_ALLOCATION, dev.priRequests, "Outstanding Page Request Allocation");
  yield preempt;
  dev.write16(dev.priCap + PRI_CONTROL, PRI_ENABLE, "PRI Control");
  tracePri(dev);
}

function tracePri(dev: PciDev): void {
  if (dev.trace.active) {
    dev.traceEnable("pri", (dev.read16(dev.priCap + PRI_CONTROL) & PRI_ENABLE) !== 0);
  }
}
