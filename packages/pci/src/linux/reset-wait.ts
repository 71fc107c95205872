import type { Op } from "@iommu-lab/core";
import { KernelError, sleep } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";
import type { ResetRules } from "./reset-rules.ts";

const MS = 1_000_000;
const COMMAND = 4;
const ROOT_CONTROL = 0x1c;
const RRS_VISIBILITY = 0x10;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;
const TYPE_PCI_TO_PCIE = 8;
const LINK_CAPABILITIES = 0xc;
const ACTIVE_REPORTING = 0x100000;
const LINK_STATUS = 0x12;
const LINK_ACTIVE = 0x2000;
const LINK_CAPABILITIES2 = 0x2c;
const SPEED_5GT = 2;
/** `PCI_RESET_WAIT`: a function that takes longer is worth a word. */
const RESET_WAIT_MS = 1000;
/** `PCIE_RESET_READY_POLL_MS`: longest wait for a function that does not answer after a reset. */
const READY_TIMEOUT_MS = 60_000;
/** `PCI_PM_D3COLD_WAIT`, the delay of a function that asks for none. */
const D3COLD_DELAY_MS = 100;

/** Polls a status bit at 0, 100, 200 and 400 ms until it is clear. Source: Linux 7.2 `pci_wait_for_pending()`. */
export function* pciWaitForPending(dev: PciDev, at: number, mask: number): Op<boolean> {
  for (let attempt = 0; attempt < 4; attempt += 1) {
    if (attempt > 0) {
      yield* sleep(2 ** (attempt - 1) * 100 * MS);
    }
    if ((dev.read16(at) & mask) === 0) {
      return true;
    }
  }
  return false;
}

/**
 * Polls until the function answers, 1 ms, 2 ms, 4 ms, … The Vendor ID tells where the root port above shows Request
 * Retry Status, COMMAND elsewhere and for a VF.
 *
 * Source: Linux 7.2 `pci_dev_wait()`.
 *
 * @throws KernelError ENOTTY when it is gone, or does not come back in time
 */
export function* pciDevWait(dev: PciDev, rules: ResetRules, timeoutMs: number = READY_TIMEOUT_MS): Op<void> {
  const visible = rules.seesRetryStatus && retryVisible(dev);
  for (let delay = 1; dev.present(); delay *= 2) {
    if (answers(dev, visible)) {
      return;
    }
    if (delay > timeoutMs) {
      throw new KernelError("ENOTTY", `${dev.name} is not ready ${delay - 1} ms after its reset; giving up`);
    }
    yield* sleep(delay * MS);
  }
  throw new KernelError("ENOTTY", `${dev.name} is disconnected`);
}

function answers(dev: PciDev, visible: boolean): boolean {
  if (!visible) {
    return dev.read32(COMMAND) !== 0xffffffff;
  }
  const id = dev.read32(0);
  if ((id & 0xffff) === 1) {
    return false;
  }
  return id !== 0xffffffff || (dev.isVirtfn && dev.read32(COMMAND) !== 0xffffffff);
}

/** Whether the root port above shows Request Retry Status (`config_rrs_sv`). */
function retryVisible(dev: PciDev): boolean {
  let root: PciDev | undefined = dev;
  while (root !== undefined && !(root.pcieCap !== 0 && root.pcieType === TYPE_ROOT_PORT)) {
    root = root.bridge;
  }
  return root !== undefined && (root.read16(root.pcieCap + ROOT_CONTROL) & RRS_VISIBILITY) !== 0;
}

/**
 * Waits until what is below a port may be accessed after its link was down: by time alone up to 5 GT/s, else when the
 * link is active. Only the first function on the bus is asked.
 *
 * Source: Linux 7.2 `pci_bridge_wait_for_secondary_bus()`, `pcie_wait_for_link_delay()`.
 *
 * @param first the first function on the bus; undefined when the kernel knows none there
 * @throws KernelError ENOTTY when the link or the function does not come back
 */
export function* pciWaitForSecondaryBus(bridge: PciDev, first: PciDev | undefined, rules: ResetRules): Op<void> {
  if (!bridge.present() || first === undefined) {
    return;
  }
  if (bridge.pcieCap === 0) {
    yield* sleep((1000 + D3COLD_DELAY_MS) * MS);
    return;
  }
  if (![TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_PCI_TO_PCIE].includes(bridge.pcieType)) {
    return;
  }
  if (isUpTo5Gt(bridge)) {
    yield* sleep(D3COLD_DELAY_MS * MS);
    yield* waitBySlowLink(bridge, first, rules);
    return;
  }
  if (!(yield* waitForLink(bridge))) {
    throw new KernelError("ENOTTY", `the link below ${bridge.name} is not active`);
  }
  yield* sleep(D3COLD_DELAY_MS * MS);
  yield* pciDevWait(first, rules, READY_TIMEOUT_MS - D3COLD_DELAY_MS);
}

/** 6.1 asks at once for as long as it takes; later kernels look at the link after a second. */
function* waitBySlowLink(bridge: PciDev, first: PciDev, rules: ResetRules): Op<void> {
  if (!rules.seesRetryStatus) {
    yield* pciDevWait(first, rules, READY_TIMEOUT_MS - D3COLD_DELAY_MS);
    return;
  }
  try {
    yield* pciDevWait(first, rules, RESET_WAIT_MS - D3COLD_DELAY_MS);
    return;
  } catch (error) {
    if (!(error instanceof KernelError) || !reportsActive(bridge) || !isActive(bridge)) {
      throw error;
    }
  }
  yield* pciDevWait(first, rules, READY_TIMEOUT_MS - RESET_WAIT_MS);
}

/** A port that cannot report is given a second. */
function* waitForLink(bridge: PciDev): Op<boolean> {
  if (!reportsActive(bridge)) {
    yield* sleep(1000 * MS);
    return true;
  }
  yield* sleep(20 * MS);
  return yield* pciWaitForLinkStatus(bridge, true);
}

/** Polls Data Link Layer Link Active each ms for a second. Source: Linux 7.2 `pcie_wait_for_link_status()`. */
export function* pciWaitForLinkStatus(bridge: PciDev, active: boolean): Op<boolean> {
  for (let ms = 0; ms < 1000; ms += 1) {
    if (isActive(bridge) === active) {
      return true;
    }
    yield* sleep(MS);
  }
  return false;
}

function reportsActive(bridge: PciDev): boolean {
  return (bridge.read32(bridge.pcieCap + LINK_CAPABILITIES) & ACTIVE_REPORTING) !== 0;
}

function isActive(bridge: PciDev): boolean {
  return (bridge.read16(bridge.pcieCap + LINK_STATUS) & LINK_ACTIVE) !== 0;
}

/** A port whose registers name no speed counts as fast. Source: Linux 7.2 `pcie_get_speed_cap()`. */
function isUpTo5Gt(bridge: PciDev): boolean {
  const most = bridge.read32(bridge.pcieCap + LINK_CAPABILITIES) & 0xf;
  const vector = (bridge.read32(bridge.pcieCap + LINK_CAPABILITIES2) >>> 1) & 0x7f & (2 ** most - 1);
  return vector === 0 ? most === 1 || most === SPEED_5GT : vector < 2 ** SPEED_5GT;
}
