import type { Op } from "@iommu-lab/core";
import { preempt, sleep } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";

const CAP_PM = 0x01;
const PM_CONTROL = 4;
const POWER_STATE = 3;
const NO_SOFT_RESET = 8;
const D3HOT_NS = 10_000_000;
const FIRST_BAR = 0x10;
const BARS = 6;

/**
 * A driver puts its function into D3hot or back into D0. On the way back only the base addresses are restored: of a
 * function that reset itself on the way, the kernel goes on believing in ATS, PASID and PRI that are off.
 *
 * Source: Linux 7.2 `pci_set_power_state()`, `pci_set_full_power_state()`.
 */
export function* pciSetPowerState(dev: PciDev, state: "D0" | "D3hot"): Op<void> {
  const at = dev.config.findCapability(CAP_PM) + PM_CONTROL;
  if (at === PM_CONTROL || dev.currentState === state) {
    return;
  }
  if (state === "D3hot") {
    dev.savedBases = readBases(dev);
  }
  const control = dev.read16(at);
  yield preempt;
  dev.write16(at, (control & ~POWER_STATE) | (state === "D0" ? 0 : 3), "PM Control");
  yield* sleep(D3HOT_NS);
  dev.currentState = state;
  if (state === "D0" && (control & NO_SOFT_RESET) === 0) {
    for (const [index, base] of dev.savedBases.entries()) {
      if (dev.read32(FIRST_BAR + 4 * index) !== base) {
        yield preempt;
        dev.write32(FIRST_BAR + 4 * index, base, `BAR ${index}`);
      }
    }
  }
}

function readBases(dev: PciDev): number[] {
  return Array.from({ length: dev.headerType === 0 ? BARS : 2 }, (_, index) => dev.read32(FIRST_BAR + 4 * index));
}
