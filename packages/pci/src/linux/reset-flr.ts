import type { Op } from "@iommu-lab/core";
import { preempt, sleep } from "@iommu-lab/core";
import { type ResetContext, notSupported, staged } from "./reset-context.ts";
import { hasBrokenFlr } from "./reset-quirks.ts";
import { pciDevWait, pciWaitForPending } from "./reset-wait.ts";

const DEVICE_CONTROL = 8;
const DEVICE_STATUS = 0xa;
const INITIATE_FLR = 0x8000;
const TRANSACTIONS_PENDING = 0x20;
const DEVCAP_FLR = 0x10000000;
/** How long a function may take before it must answer, in ns. */
export const FLR_NS: number = 100_000_000;

/**
 * A Function Level Reset, whether or not the function advertises it: wait for pending transactions, tell the IOMMU, set
 * Initiate FLR, 100 ms, wait until it answers.
 *
 * Source: Linux 7.2 `pcie_flr()`.
 *
 * @throws KernelError of the blocking attach (nothing was reset), or ENOTTY when the function does not come back
 */
export function* pcieFlr(context: ResetContext): Op<void> {
  const { dev, rules } = context;
  if (!(yield* pciWaitForPending(dev, dev.pcieCap + DEVICE_STATUS, TRANSACTIONS_PENDING))) {
    dev.warn("pcie_flr", "timed out waiting for pending transactions; resetting anyway");
  }
  yield* staged(context, function* () {
    const at = dev.pcieCap + DEVICE_CONTROL;
    const control = dev.read16(at);
    yield preempt;
    dev.write16(at, control | INITIATE_FLR, "Device Control");
    if (!dev.immediatelyReady) {
      yield* sleep(FLR_NS);
      yield* pciDevWait(dev, rules);
    }
  });
}

/** Source: Linux 7.2 `pcie_reset_flr()`. */
export function* pcieResetFlr(context: ResetContext, probe: boolean): Op<void> {
  const { dev, rules } = context;
  if (hasBrokenFlr(dev, rules)) {
    notSupported(context, "FLR is broken");
  }
  if ((dev.devcap & DEVCAP_FLR) === 0) {
    notSupported(context, "no FLR");
  }
  if (!probe) {
    yield* pcieFlr(context);
  }
}
