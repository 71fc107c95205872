import type { Op } from "@iommu-lab/core";
import { preempt } from "@iommu-lab/core";
import { WIDE_ACS_CONTROL } from "../config-space/wide-acs.ts";
import { ACS_CR, ACS_EC, ACS_ISOLATION, ACS_RR, ACS_TB } from "./acs-flags.ts";
import { type AcsChange, configAcsFor, disablesRedirect } from "./acs-parameter.ts";
import { hasWideAcs, isPchPort } from "./acs-quirks.ts";
import type { PciDev } from "./pci-dev.ts";

const ACS_CONTROL = 6;
const REDIRECT = ACS_RR | ACS_CR | ACS_EC;
const LPC_DEVFN = 0xf8;
const RCBA = 0xf0;
const RCBA_ENABLE = 1;
const MISCELLANEOUS_PORT = 0xd8;
const BUS_NUMBER_CHECK = 0x0400_0000;

/**
 * Turns the controls on that Linux wants, where an IOMMU driver asked for ACS: SV, RR, CR, UF where capable, and TB under
 * `pci=noats`, at an external-facing port, and for an untrusted function. EC and DT stay as firmware left them. Then the
 * command line has its say, with or without an IOMMU.
 *
 * Source: Linux 7.2 `pci_enable_acs()`, `pci_std_enable_acs()`, `__pci_config_acs()`; Linux 6.1 `pci_disable_acs_redir()`.
 */
export function* pciEnableAcs(dev: PciDev): Op<void> {
  const enable = dev.acsRequested && !(yield* enableByQuirk(dev));
  if (dev.acsCap === 0) {
    return;
  }
  const at = dev.acsCap + ACS_CONTROL;
  const firmware = dev.read16(at);
  const enabled = enable ? firmware | wantedControls(dev, dev.acsCapabilities) : firmware;
  const control = yield* applyParameter(dev, firmware, enabled);
  yield preempt;
  dev.write16(at, control, "ACS Control");
}

function wantedControls(dev: PciDev, capabilities: number): number {
  const blocked = dev.noAts || dev.externalFacing || dev.untrusted ? ACS_TB : 0;
  return capabilities & (ACS_ISOLATION | blocked);
}

/**
 * The ports that need another way than the ACS Control register. True = the ordinary way is not taken.
 *
 * Source: Linux 7.2 `pci_dev_specific_enable_acs()`.
 */
function* enableByQuirk(dev: PciDev): Op<boolean> {
  if (isPchPort(dev)) {
    yield* enablePchPort(dev);
    return true;
  }
  if (hasWideAcs(dev)) {
    const at = dev.acsCap + WIDE_ACS_CONTROL;
    const control = dev.read32(at) | wantedControls(dev, dev.read32(dev.acsCap + 4));
    yield preempt;
    dev.write32(at, control, "ACS Control (32 bits)");
    return true;
  }
  return false;
}

/**
 * Peer decodes are switched off in the PCH's registers, which the LPC bridge leads to, and the port checks bus numbers.
 *
 * Source: Linux 7.2 `pci_quirk_enable_intel_pch_acs()`, `pci_quirk_enable_intel_lpc_acs()`.
 */
function* enablePchPort(dev: PciDev): Op<void> {
  const lpc = dev.platform.neighbour(dev, (dev.rid & 0xff00) | LPC_DEVFN);
  const rcba = lpc === undefined ? 0 : lpc.read32(RCBA);
  const reachable = dev.platform.facts.pchPeerDecodeOff ?? (rcba !== 0xffffffff && (rcba & RCBA_ENABLE) !== 0);
  if (!reachable) {
    return;
  }
  const ports = dev.read32(MISCELLANEOUS_PORT);
  if ((ports & BUS_NUMBER_CHECK) === 0) {
    yield preempt;
    dev.write32(MISCELLANEOUS_PORT, (ports | BUS_NUMBER_CHECK) >>> 0, "Miscellaneous Port Configuration");
  }
  dev.acsByQuirk = true;
}

/** What `pci=disable_acs_redir=` and then `pci=config_acs=` make of the control word. */
function* applyParameter(dev: PciDev, firmware: number, enabled: number): Op<number> {
  const { profile } = dev.platform;
  let control = enabled;
  const changes: (AcsChange | undefined)[] = [
    disablesRedirect(dev) ? { mask: REDIRECT, flags: 0 } : undefined,
    profile.configAcs ? configAcsFor(dev) : undefined,
  ];
  for (const [index, change] of changes.entries()) {
    if (change === undefined) {
      continue;
    }
    if (hasWideAcs(dev)) {
      // The kernel has one way to change these ports, whatever was asked for.
      const at = dev.acsCap + WIDE_ACS_CONTROL;
      yield preempt;
      dev.write32(at, (dev.read32(at) & ~REDIRECT) >>> 0, "ACS Control (32 bits)");
      continue;
    }
    const from = index === 0 && profile.disableRedirectFrom === "kernel" ? enabled : firmware;
    control = (from & ~change.mask) | (change.flags & change.mask);
  }
  return control;
}
