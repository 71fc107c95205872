import type { Op } from "@iommu-lab/core";
import { preempt } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";

/** Source Validation: a request with a requester ID from another bus is blocked. */
export const ACS_SV: number = 1;
/** Translation Blocking: requests with AT other than 00 are blocked. */
export const ACS_TB: number = 2;
/** P2P Request Redirect: requests to a peer go up to the root complex. */
export const ACS_RR: number = 4;
/** P2P Completion Redirect. */
export const ACS_CR: number = 8;
/** Upstream Forwarding: a request back down the port it came from goes up instead. */
export const ACS_UF: number = 0x10;
/** P2P Egress Control. */
export const ACS_EC: number = 0x20;
/** Direct Translated P2P. */
export const ACS_DT: number = 0x40;
/** What Linux asks of the path before functions get groups of their own (`REQ_ACS_FLAGS`). */
export const ACS_ISOLATION: number = ACS_SV | ACS_RR | ACS_CR | ACS_UF;

const ACS_CONTROL = 6;
const TYPE_PCI_TO_PCIE = 8;
const TYPE_PCIE_TO_PCI = 7;
const TYPE_EVENT_COLLECTOR = 0xa;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;

/**
 * Whether the controls are on. A control that the capability does not implement counts as on, Egress Control excepted:
 * what cannot be configured cannot happen.
 *
 * Source: Linux 7.2 `pci_acs_flags_enabled()`.
 */
function flagsEnabled(dev: PciDev, flags: number): boolean {
  if (dev.acsCap === 0) {
    return false;
  }
  const wanted = flags & (dev.acsCapabilities | ACS_EC);
  return (dev.read16(dev.acsCap + ACS_CONTROL) & wanted) === wanted;
}

/**
 * Whether one function keeps its peers apart in the ways named by `flags`.
 *
 * Source: Linux 7.2 `pci_acs_enabled()`, without the quirks for particular devices.
 */
export function pciAcsEnabled(dev: PciDev, flags: number): boolean {
  if (dev.pcieCap === 0) {
    return false;
  }
  switch (dev.pcieType) {
    case TYPE_PCIE_TO_PCI:
    case TYPE_PCI_TO_PCIE:
    case TYPE_EVENT_COLLECTOR:
      return false;
    case TYPE_ROOT_PORT:
    case TYPE_DOWNSTREAM:
      return flagsEnabled(dev, flags);
    default:
      return !dev.multifunction || flagsEnabled(dev, flags);
  }
}

/**
 * The same for all functions from `start` up to `end`; undefined = up to the root bus.
 *
 * Source: Linux 7.2 `pci_acs_path_enabled()`.
 */
export function pciAcsPathEnabled(start: PciDev, end: PciDev | undefined, flags: number): boolean {
  for (let dev: PciDev | undefined = start; dev !== undefined; dev = dev.bridge) {
    if (!pciAcsEnabled(dev, flags)) {
      return false;
    }
    if (dev === end) {
      return true;
    }
  }
  return end === undefined;
}

/**
 * Turns the controls on that Linux wants, where an IOMMU driver asked for ACS: SV, RR, CR, UF where capable, and TB under
 * `pci=noats`, at an external-facing port, and for an untrusted function. EC and DT stay as firmware left them.
 *
 * Source: Linux 7.2 `pci_enable_acs()`, `pci_std_enable_acs()`.
 */
export function* pciEnableAcs(dev: PciDev): Op<void> {
  if (dev.acsCap === 0) {
    return;
  }
  const at = dev.acsCap + ACS_CONTROL;
  let control = dev.read16(at);
  if (dev.acsRequested) {
    control |= dev.acsCapabilities & ACS_ISOLATION;
    if (dev.noAts || dev.externalFacing || dev.untrusted) {
      control |= dev.acsCapabilities & ACS_TB;
    }
  }
  yield preempt;
  dev.write16(at, control, "ACS Control");
}
