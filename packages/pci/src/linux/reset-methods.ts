import type { Op } from "@iommu-lab/core";
import { KernelError, preempt, sleep } from "@iommu-lab/core";
import { type ResetContext, type ResetMethod, notSupported, staged } from "./reset-context.ts";
import { FLR_NS, pcieResetFlr } from "./reset-flr.ts";
import { hasBrokenFlr, hasBrokenPmReset } from "./reset-quirks.ts";
import type { ResetMethodName } from "./reset-rules.ts";
import { cxlBusReset, pciBusReset } from "./reset-secondary.ts";
import { pciSpecificReset } from "./reset-specific.ts";
import { pciDevWait, pciWaitForPending } from "./reset-wait.ts";

const CAP_PM = 0x01;
const CAP_AF = 0x13;
const AF_CAPABILITIES = 3;
const AF_TP_AND_FLR = 3;
const AF_CONTROL = 4;
const AF_STATUS_PENDING = 0x100;
const PM_CONTROL = 4;
const NO_SOFT_RESET = 8;
const POWER_STATE = 3;
const D3HOT = 3;
const MS = 1_000_000;
/** `PCI_PM_D3HOT_WAIT`. */
const D3HOT_MS = 10;

/** Source: Linux 7.2 `pci_dev_acpi_reset()`. */
function* acpiReset(context: ResetContext, probe: boolean): Op<void> {
  const { acpiReset: evaluate, dev } = context;
  if (evaluate === undefined) {
    notSupported(context, "no _RST");
  } else if (!probe) {
    yield* staged(context, function* () {
      yield preempt;
      if (!evaluate()) {
        dev.warn("pci_dev_acpi_reset", "ACPI _RST failed");
        notSupported(context, "_RST failed");
      }
    });
  }
}

/** Source: Linux 7.2 `pci_af_flr()`. */
function* afFlr(context: ResetContext, probe: boolean): Op<void> {
  const { dev, rules } = context;
  const at = dev.config.findCapability(CAP_AF);
  if (at === 0 || hasBrokenFlr(dev, rules) || (dev.read8(at + AF_CAPABILITIES) & AF_TP_AND_FLR) !== AF_TP_AND_FLR) {
    notSupported(context, "no AF FLR");
  }
  if (probe) {
    return;
  }
  if (!(yield* pciWaitForPending(dev, at + AF_CONTROL, AF_STATUS_PENDING))) {
    dev.warn("pci_af_flr", "timed out waiting for pending transactions; resetting anyway");
  }
  yield* staged(context, function* () {
    yield preempt;
    dev.write8(at + AF_CONTROL, 1, "AF Control");
    if (!dev.immediatelyReady) {
      yield* sleep(FLR_NS);
      yield* pciDevWait(dev, rules);
    }
  });
}

/** Source: Linux 7.2 `pci_pm_reset()`. */
function* pmReset(context: ResetContext, probe: boolean): Op<void> {
  const { dev, rules } = context;
  const at = dev.config.findCapability(CAP_PM) + PM_CONTROL;
  if (at === PM_CONTROL || hasBrokenPmReset(dev)) {
    notSupported(context, "no reset by power management");
  }
  const control = dev.read16(at);
  if ((control & NO_SOFT_RESET) !== 0) {
    notSupported(context, "D3hot loses nothing");
  }
  if (probe) {
    return;
  }
  if (dev.currentState !== "D0") {
    throw new KernelError("EINVAL", `${dev.name} is in ${dev.currentState}`);
  }
  yield* staged(context, function* () {
    yield preempt;
    dev.write16(at, (control & ~POWER_STATE) | D3HOT, "PM Control");
    yield* sleep(D3HOT_MS * MS);
    yield preempt;
    dev.write16(at, control & ~POWER_STATE, "PM Control");
    yield* sleep(D3HOT_MS * MS);
    yield* pciDevWait(dev, rules);
  });
}

/** What each name stands for. Source: Linux 7.2 `pci_reset_fn_methods[]`. */
export const RESET_METHODS: Readonly<Record<ResetMethodName, ResetMethod>> = {
  device_specific: pciSpecificReset,
  acpi: acpiReset,
  flr: pcieResetFlr,
  af_flr: afFlr,
  pm: pmReset,
  bus: pciBusReset,
  cxl_bus: cxlBusReset,
};
