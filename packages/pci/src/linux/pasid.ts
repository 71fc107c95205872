import type { Op } from "@iommu-lab/core";
import { KernelError, preempt } from "@iommu-lab/core";
import { ACS_RR, ACS_UF } from "./acs-flags.ts";
import { pciAcsPathEnabled } from "./acs.ts";
import type { PciDev } from "./pci-dev.ts";

const PASID_CAPABILITY = 4;
const PASID_CONTROL = 6;
const PASID_ENABLE = 1;
/** Execute (bit 1) and Privileged (bit 2), at the same place in both registers. */
const FEATURES = 6;

/** The capability of the function, or of the PF of a VF. */
function capabilityOf(dev: PciDev, where: string): PciDev {
  const owner = dev.physfn ?? dev;
  if (owner.pasidCap === 0) {
    throw new KernelError("EINVAL", `${where}: ${dev.name} has no PASID capability`);
  }
  return owner;
}

/**
 * Execute (2) and Privileged (4) permissions that the function can ask for.
 *
 * Source: Linux 7.2 `pci_pasid_features()`.
 *
 * @throws KernelError EINVAL without the capability
 */
export function pciPasidFeatures(dev: PciDev): number {
  const owner = capabilityOf(dev, "pci_pasid_features");
  return owner.read16(owner.pasidCap + PASID_CAPABILITY) & FEATURES;
}

/**
 * PASIDs the function can send, 1 … 2^20.
 *
 * Source: Linux 7.2 `pci_max_pasids()`.
 *
 * @throws KernelError EINVAL without the capability
 */
export function pciMaxPasids(dev: PciDev): number {
  capabilityOf(dev, "pci_max_pasids");
  return dev.maxPasids();
}

/**
 * Sets PASID Enable: needs PASID prefixes and redirected requests (ACS RR and UF) all the way up, because a switch would
 * otherwise take a PASID's address for a bus address of a peer. A VF shares its PF's state.
 *
 * Source: Linux 7.2 `pci_enable_pasid()`.
 *
 * @param features union of Execute (2) and Privileged (4)
 * @throws KernelError EINVAL, EBUSY (enabled already)
 */
export function* pciEnablePasid(dev: PciDev, features: number): Op<void> {
  if (dev.physfn !== undefined) {
    if (!dev.physfn.pasidEnabled) {
      throw new KernelError("EINVAL", `pci_enable_pasid: the PF of ${dev.name} has PASID disabled`);
    }
    return;
  }
  if (dev.pasidEnabled) {
    dev.warn("pci_enable_pasid", "PASID is enabled already");
    throw new KernelError("EBUSY", `pci_enable_pasid: ${dev.name} has PASID enabled already`);
  }
  if (dev.eetlpPrefixMax === 0) {
    throw new KernelError("EINVAL", `pci_enable_pasid: no PASID prefixes on the path of ${dev.name}`);
  }
  capabilityOf(dev, "pci_enable_pasid");
  if (!pciAcsPathEnabled(dev, undefined, ACS_RR | ACS_UF)) {
    throw new KernelError("EINVAL", `pci_enable_pasid: requests of ${dev.name} are not redirected to the root`);
  }
  if ((pciPasidFeatures(dev) & features) !== features) {
    throw new KernelError("EINVAL", `pci_enable_pasid: ${dev.name} lacks features of 0x${features.toString(16)}`);
  }
  dev.pasidFeatures = features;
  yield preempt;
  dev.write16(dev.pasidCap + PASID_CONTROL, PASID_ENABLE | features, "PASID Control");
  dev.pasidEnabled = true;
  tracePasid(dev);
}

/** Clears PASID Enable. Nothing to do for a VF. Source: Linux 7.2 `pci_disable_pasid()`. */
export function* pciDisablePasid(dev: PciDev): Op<void> {
  if (dev.isVirtfn) {
    return;
  }
  if (!dev.pasidEnabled) {
    dev.warn("pci_disable_pasid", "PASID is not enabled");
    return;
  }
  yield preempt;
  dev.write16(dev.pasidCap + PASID_CONTROL, 0, "PASID Control");
  dev.pasidEnabled = false;
  tracePasid(dev);
}

/** Writes again what the kernel believes. Source: Linux 7.2 `pci_restore_pasid_state()`. */
export function* pciRestorePasidState(dev: PciDev): Op<void> {
  if (dev.isVirtfn || !dev.pasidEnabled) {
    return;
  }
  yield preempt;
  dev.write16(dev.pasidCap + PASID_CONTROL, PASID_ENABLE | dev.pasidFeatures, "PASID Control");
  tracePasid(dev);
}

function tracePasid(dev: PciDev): void {
  if (dev.trace.active) {
    dev.traceEnable("pasid", (dev.read16(dev.pasidCap + PASID_CONTROL) & PASID_ENABLE) !== 0);
  }
}
