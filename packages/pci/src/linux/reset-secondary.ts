import type { Op } from "@iommu-lab/core";
import { preempt, sleep } from "@iommu-lab/core";
import { CXL_DVSEC_FLEX_BUS, CXL_DVSEC_PORT, DVSEC_VENDOR_CXL } from "../config-space/dvsec-layouts.ts";
import type { PciDev } from "./pci-dev.ts";
import { type ResetContext, failureOf, notSupported, staged } from "./reset-context.ts";
import { hasBrokenBusReset } from "./reset-quirks.ts";
import type { ResetRules } from "./reset-rules.ts";
import { pciWaitForSecondaryBus } from "./reset-wait.ts";

const BRIDGE_CONTROL = 0x3e;
const SECONDARY_BUS_RESET = 0x40;
const PORT_DVSEC_CONTROL = 0xc;
const UNMASK_SBR = 1;
const FLEX_BUS_STATUS = 0xe;
const CACHE_OR_MEM = 5;
const MS = 1_000_000;

/** The bridge above a function; of a VF, that above its PF. Source: Linux 7.2 `pci_upstream_bridge()`. */
export function upstreamBridge(dev: PciDev): PciDev | undefined {
  return (dev.physfn ?? dev).bridge;
}

/**
 * Holds Secondary Bus Reset for 2 ms and waits for what is below. Nothing is saved, restored or told to the IOMMU.
 *
 * Source: Linux 7.2 `pci_bridge_secondary_bus_reset()`.
 *
 * @throws KernelError ENOTTY when what is below does not come back
 */
export function* pciSecondaryBusReset(bridge: PciDev, first: PciDev | undefined, rules: ResetRules): Op<void> {
  const control = bridge.read16(BRIDGE_CONTROL);
  yield preempt;
  bridge.write16(BRIDGE_CONTROL, control | SECONDARY_BUS_RESET, "Bridge Control");
  yield* sleep(2 * MS);
  yield preempt;
  bridge.write16(BRIDGE_CONTROL, control & ~SECONDARY_BUS_RESET, "Bridge Control");
  yield* pciWaitForSecondaryBus(bridge, first, rules);
}

/** Offset of the CXL DVSEC for ports. */
function portDvsec(dev: PciDev): number {
  return dev.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_PORT);
}

/** A CXL port through which a secondary bus reset does not pass. Source: Linux 7.2 `cxl_sbr_masked()`. */
function masksReset(bridge: PciDev): boolean {
  const dvsec = portDvsec(bridge);
  if (dvsec === 0) {
    return false;
  }
  const control = bridge.read16(dvsec + PORT_DVSEC_CONTROL);
  return control !== 0xffff && (control & UNMASK_SBR) === 0;
}

/** The link trained with CXL.cache or CXL.mem. Source: Linux 7.2 `set_pcie_cxl()`. */
function isCxl(dev: PciDev): boolean {
  const dvsec = dev.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_FLEX_BUS);
  return dvsec !== 0 && (dev.read16(dvsec + FLEX_BUS_STATUS) & CACHE_OR_MEM) !== 0;
}

/** A bridge that has been added; while it is enumerated its bus below does not exist yet. */
function hasSubordinate({ dev, device }: ResetContext): boolean {
  return dev.headerType === 1 && device !== undefined;
}

/**
 * Resets a function by the bus above it, or by its hot-plug slot where the kernel drives one. In 7.2 the IOMMU is told
 * also when this is only a PROBE.
 *
 * Source: Linux 7.2 `pci_reset_bus_function()`.
 */
export function* pciBusReset(context: ResetContext, probe: boolean): Op<void> {
  const { dev, rules } = context;
  const bridge = upstreamBridge(dev);
  const masked =
    rules.maskedReset !== "unknown" &&
    bridge !== undefined &&
    (rules.maskedReset === "fails" || isCxl(bridge)) &&
    masksReset(bridge);
  if (masked && rules.maskedReset === "fails" && probe) {
    return;
  }
  if (masked) {
    notSupported(context, "the CXL port above masks Secondary Bus Reset");
  }
  yield* staged(context, function* () {
    if (canResetSlot(context)) {
      if (!probe && dev.bridge !== undefined) {
        yield* pciSecondaryBusReset(dev.bridge, context.onBus()[0], rules);
      }
      return;
    }
    yield* parentBusReset(context, probe);
  });
}

/** Whether the function is in a slot of its own that the kernel can reset. Source: Linux 7.2 `pci_dev_reset_slot_function()`. */
function canResetSlot(context: ResetContext): boolean {
  const { dev, rules } = context;
  return !hasSubordinate(context) && inHotplugSlot(dev, rules) && !hasBrokenBusReset(dev) && !dev.multifunction;
}

/** Whether a hot-plug slot covers the function. Source: Linux 7.2 `pci_dev_assign_slot()`. */
export function inHotplugSlot(dev: PciDev, rules: ResetRules): boolean {
  const onOwnBus = dev.physfn === undefined || dev.physfn.busNumber === dev.busNumber;
  const covered = rules.slotCoversBus || (dev.rid & 0xf8) === 0;
  return dev.bridge?.hotplugSlot === true && onOwnBus && covered;
}

/** Source: Linux 7.2 `pci_parent_bus_reset()`. */
function* parentBusReset(context: ResetContext, probe: boolean): Op<void> {
  const { dev, rules } = context;
  const onVirtualBus = dev.physfn !== undefined && dev.physfn.busNumber !== dev.busNumber;
  const { bridge } = dev;
  if (onVirtualBus || hasSubordinate(context) || hasBrokenBusReset(dev)) {
    notSupported(context, "the bus above cannot be reset");
  }
  if (context.onBus().some((other) => other !== dev)) {
    notSupported(context, "it is not alone on its bus");
  }
  if (bridge === undefined) {
    notSupported(context, "it is on a root bus");
  } else if (!probe) {
    yield* pciSecondaryBusReset(bridge, dev, rules);
  }
}

/**
 * The same through a CXL port, whose mask is lifted meanwhile.
 *
 * Source: Linux 7.2 `cxl_reset_bus_function()`.
 */
export function* cxlBusReset(context: ResetContext, probe: boolean): Op<void> {
  const bridge = upstreamBridge(context.dev);
  const dvsec = bridge === undefined ? 0 : portDvsec(bridge);
  if (bridge === undefined || dvsec === 0) {
    notSupported(context, "no CXL port above");
  } else if (!probe) {
    yield* throughCxlPort(context, bridge, dvsec);
  }
}

function* throughCxlPort(context: ResetContext, bridge: PciDev, dvsec: number): Op<void> {
  const at = dvsec + PORT_DVSEC_CONTROL;
  const control = bridge.read16(at);
  yield* staged(context, function* () {
    if ((control & UNMASK_SBR) !== 0) {
      yield* pciBusReset(context, false);
      return;
    }
    yield preempt;
    bridge.write16(at, control | UNMASK_SBR, "CXL Port Control");
    const failure = yield* failureOf(pciBusReset(context, false));
    yield preempt;
    bridge.write16(at, control, "CXL Port Control");
    if (failure !== undefined) {
      throw failure;
    }
  });
}
