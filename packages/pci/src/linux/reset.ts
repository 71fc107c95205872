import type { Device, IommuCore, Op } from "@iommu-lab/core";
import { KernelError, KernelOops, preempt, sleep } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";
import { pciDev } from "./pci-dev.ts";
import { pciRestoreState, pciSaveState } from "./save-restore.ts";

const COMMAND = 4;
const INTX_DISABLE = 0x400;
const DEVICE_CONTROL = 8;
const DEVICE_STATUS = 0xa;
const INITIATE_FLR = 0x8000;
const TRANSACTIONS_PENDING = 0x20;
const DEVCAP_FLR = 0x10000000;
const MS = 1_000_000;
/** Longest wait for a function that does not answer after a reset. */
const READY_TIMEOUT_MS = 60_000;

/**
 * Where a reset is: `prepared` = the IOMMU blocks the function, which is not told yet; `done` = the IOMMU lets it
 * through again, config space is not restored; `restored` = it is.
 */
export type ResetPoint = "prepared" | "done" | "restored";

/** Called at each point of a reset; it must not change anything the reset relies on. */
export type ResetObserver = (point: ResetPoint) => void;

/** Polls Transactions Pending at 0, 100, 200 and 400 ms. Source: Linux 7.2 `pci_wait_for_pending()`. */
function* waitForPendingTransaction(dev: PciDev): Op<boolean> {
  for (let attempt = 0; attempt < 4; attempt += 1) {
    if (attempt > 0) {
      yield* sleep(2 ** (attempt - 1) * 100 * MS);
    }
    if ((dev.read16(dev.pcieCap + DEVICE_STATUS) & TRANSACTIONS_PENDING) === 0) {
      return true;
    }
  }
  return false;
}

/** Polls until the function answers, 1 ms, 2 ms, 4 ms, … Source: Linux 7.2 `pci_dev_wait()`. @returns false when it never does */
function* waitUntilReady(dev: PciDev): Op<boolean> {
  for (let delay = 1; dev.present(); delay *= 2) {
    if (dev.read32(COMMAND) !== 0xffffffff) {
      return true;
    }
    if (delay > READY_TIMEOUT_MS) {
      return false;
    }
    yield* sleep(delay * MS);
  }
  return false;
}

/**
 * A Function Level Reset with the IOMMU told: wait for pending transactions, block, set Initiate FLR, 100 ms, wait until
 * it answers, unblock. The last happens however the reset ended. Neither saves nor restores config space.
 *
 * Source: Linux 7.2 `pcie_flr()`.
 *
 * @throws KernelError of the blocking attach (nothing was reset), or ENOTTY when the function does not come back
 */
export function* pcieFlr(core: IommuCore, device: Device, observer?: ResetObserver): Op<void> {
  const dev = pciDev(device);
  if (!(yield* waitForPendingTransaction(dev))) {
    dev.warn("pcie_flr", "timed out waiting for pending transactions; resetting anyway");
  }
  yield* core.resetPrepare(device);
  observer?.("prepared");
  const at = dev.pcieCap + DEVICE_CONTROL;
  const control = dev.read16(at);
  yield preempt;
  dev.write16(at, control | INITIATE_FLR, "Device Control");
  yield* sleep(100 * MS);
  const ready = yield* waitUntilReady(dev);
  yield* core.resetDone(device);
  observer?.("done");
  if (!ready) {
    throw new KernelError("ENOTTY", `${dev.name} does not answer after its reset`);
  }
}

/** Whether there is a reset method; the model has FLR. Source: Linux 7.2 `pci_reset_supported()`. */
export function pciResetSupported(dev: PciDev): boolean {
  return (dev.devcap & DEVCAP_FLR) !== 0;
}

/**
 * Resets a function for a user or its driver: quiesce (Bus Master off), reset, restore. Restoring happens whatever the
 * reset returned.
 *
 * Source: Linux 7.2 `pci_reset_function()`.
 *
 * @throws KernelError ENOTTY without a reset method, or what the method returned
 */
export function* pciResetFunction(core: IommuCore, device: Device, observer?: ResetObserver): Op<void> {
  const dev = pciDev(device);
  if (!pciResetSupported(dev)) {
    throw new KernelError("ENOTTY", `${dev.name} has no reset method`);
  }
  const locks = dev.bridge === undefined ? [dev.lock] : [dev.bridge.lock, dev.lock];
  for (const lock of locks) {
    yield lock.exclusive;
  }
  try {
    pciSaveState(dev);
    yield preempt;
    dev.write16(COMMAND, INTX_DISABLE, "Command");
    let failure: unknown;
    try {
      yield* pcieFlr(core, device, observer);
    } catch (error) {
      if (!(error instanceof KernelError)) {
        throw error;
      }
      failure = error;
    }
    yield* pciRestoreState(dev);
    observer?.("restored");
    if (failure !== undefined) {
      throw failure;
    }
  } catch (error) {
    if (error instanceof KernelOops) {
      throw error;
    }
    for (const lock of locks) {
      lock.release();
    }
    throw error;
  }
  for (const lock of locks) {
    lock.release();
  }
}
