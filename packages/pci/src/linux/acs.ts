import { ACS_EC, acsFlagNames } from "./acs-flags.ts";
import { askAcsQuirks } from "./acs-quirks.ts";
import type { PciDev } from "./pci-dev.ts";

const ACS_CONTROL = 6;
const TYPE_PCIE_TO_PCI = 7;
const TYPE_PCI_TO_PCIE = 8;
const TYPE_EVENT_COLLECTOR = 0xa;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;

/** By which rule a function counts as isolated or not. */
export type AcsRule =
  /** A quirk of the kernel for this device. */
  | "quirk"
  /** Conventional PCI: the bus is shared. */
  | "conventional"
  /** A bridge to or from conventional PCI, or an event collector: ACS is never applicable. */
  | "kind"
  /** ACS matters and there is no capability. */
  | "no-capability"
  /** ACS matters and its control bits decide. */
  | "control"
  /** A function alone in its slot has no peers. */
  | "single-function"
  /** Assumed, for a what-if question. */
  | "assumed";

/** Whether a function keeps its peers apart, and why. */
export interface AcsVerdict {
  /** The answer. */
  readonly enabled: boolean;
  /** The rule that gave it. */
  readonly rule: AcsRule;
  /** The flags asked for that are not given; 0 when isolated. */
  readonly missing: number;
  /** Why, as the second half of a sentence whose subject is the function. */
  readonly because: string;
  /** The kernel's function. */
  readonly source: string;
}

/**
 * Whether one function keeps its peers apart in the ways named by `flags`, with the reason. Quirks are asked first.
 *
 * Source: Linux 7.2 `pci_acs_enabled()`, `pci_dev_specific_acs_enabled()`.
 */
export function pciAcsVerdict(dev: PciDev, flags: number): AcsVerdict {
  const assumed = dev.platform.assumedAcs.get(dev.name);
  if (assumed !== undefined) {
    const enabled = assumed === "on";
    return verdict(enabled ? 0 : flags, "assumed", `is assumed to ${enabled ? "isolate" : "isolate nothing"}`, "");
  }
  const found = dev.platform.acsQuirks ? askAcsQuirks(dev, flags) : undefined;
  if (found !== undefined) {
    const { quirk, answer } = found;
    const missing = answer.asked & ~answer.granted;
    const known = `is known to the kernel (${quirk.title})`;
    const because = missing === 0 ? `${known} and isolates` : `${known} and lacks ${acsFlagNames(missing).join(", ")}`;
    return verdict(missing, "quirk", because, quirk.source);
  }
  return standardVerdict(dev, flags);
}

function standardVerdict(dev: PciDev, flags: number): AcsVerdict {
  if (dev.pcieCap === 0) {
    return verdict(
      flags,
      "conventional",
      "has no PCI Express capability, so the kernel takes it for conventional PCI, which never isolates",
      "pci_acs_enabled()",
    );
  }
  switch (dev.pcieType) {
    case TYPE_PCIE_TO_PCI:
    case TYPE_PCI_TO_PCIE:
      return verdict(flags, "kind", "is a bridge to or from conventional PCI: ACS never applies", "pci_acs_enabled()");
    case TYPE_EVENT_COLLECTOR:
      return verdict(flags, "kind", "is an event collector: ACS never applies", "pci_acs_enabled()");
    case TYPE_ROOT_PORT:
    case TYPE_DOWNSTREAM:
      return controlVerdict(dev, flags);
    default:
      return dev.multifunction
        ? controlVerdict(dev, flags)
        : verdict(0, "single-function", aloneBecause(dev), "pci_acs_enabled()");
  }
}

/**
 * Why a function has no peers in its slot, as the second half of a sentence. Source: Linux 7.2 `pci_iov_add_virtfn()`, which
 * clears `multifunction` of a VF, whatever else is in its slot.
 */
export function aloneBecause(dev: PciDev): string {
  return dev.physfn === undefined
    ? "is the only function of its slot"
    : "is a virtual function, which counts as alone in its slot";
}

/**
 * Whether the controls are on. A control that the capability does not implement counts as on, Egress Control excepted:
 * what cannot be configured cannot happen.
 *
 * Source: Linux 7.2 `pci_acs_flags_enabled()`.
 */
function controlVerdict(dev: PciDev, flags: number): AcsVerdict {
  const source = "pci_acs_flags_enabled()";
  if (dev.acsCap === 0) {
    return verdict(flags, "no-capability", "has no ACS capability", source);
  }
  const wanted = flags & (dev.acsCapabilities | ACS_EC);
  const missing = wanted & ~dev.read16(dev.acsCap + ACS_CONTROL);
  const because =
    missing === 0
      ? `has ACS control ${acsFlagNames(wanted).join(", ") || "with nothing to switch on"} on`
      : `has ACS control ${acsFlagNames(missing).join(", ")} off`;
  return verdict(missing, "control", because, source);
}

function verdict(missing: number, rule: AcsRule, because: string, source: string): AcsVerdict {
  return { enabled: missing === 0, rule, missing, because, source };
}

/** Whether one function keeps its peers apart in the ways named by `flags`. Source: Linux 7.2 `pci_acs_enabled()`. */
export function pciAcsEnabled(dev: PciDev, flags: number): boolean {
  return pciAcsVerdict(dev, flags).enabled;
}

/**
 * The same for all functions from `start` up to `end`; undefined = up to the root bus.
 *
 * Source: Linux 7.2 `pci_acs_path_enabled()`.
 */
export function pciAcsPathEnabled(start: PciDev, end: PciDev | undefined, flags: number): boolean {
  const { ended, gap } = walkPath(start, end, flags);
  return ended && gap === undefined;
}

/** The first function on the way from `start` to the root bus that does not keep its peers apart. */
export function pciAcsPathGap(
  start: PciDev,
  flags: number,
): { readonly dev: PciDev; readonly verdict: AcsVerdict } | undefined {
  return walkPath(start, undefined, flags).gap;
}

interface Path {
  readonly ended: boolean;
  readonly gap: { readonly dev: PciDev; readonly verdict: AcsVerdict } | undefined;
}

function walkPath(start: PciDev, end: PciDev | undefined, flags: number): Path {
  for (let dev: PciDev | undefined = start; dev !== undefined; dev = dev.bridge) {
    const found = pciAcsVerdict(dev, flags);
    if (!found.enabled) {
      return { ended: false, gap: { dev, verdict: found } };
    }
    if (dev === end) {
      return { ended: true, gap: undefined };
    }
  }
  return { ended: end === undefined, gap: undefined };
}
