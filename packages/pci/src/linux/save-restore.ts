import type { Op } from "@iommu-lab/core";
import { preempt } from "@iommu-lab/core";
import { pciEnableAcs } from "./acs-enable.ts";
import { pciRestoreAtsState } from "./ats.ts";
import { pciRestorePasidState } from "./pasid.ts";
import type { PciDev } from "./pci-dev.ts";
import { pciRestorePriState } from "./pri.ts";
import { resetRules } from "./reset-rules.ts";
import { restoreErrorReporting, restoreIov, saveCapabilities } from "./saved-registers.ts";

const HEADER_WORDS = 16;
const DEVICE_CONTROL = 8;
const DEVICE_CONTROL2 = 0x28;
const REGISTER_NAMES: Readonly<Record<number, string>> = { 4: "Command", 0x3c: "Interrupt Line" };

/**
 * Takes the header, the PCI Express controls, DPC, AER and SR-IOV. ATS, PRI and PASID are not saved: they are made again
 * from what the kernel believes.
 *
 * Source: Linux 7.2 `pci_save_state()`.
 */
export function pciSaveState(dev: PciDev): void {
  const words: number[] = [];
  for (let index = 0; index < HEADER_WORDS; index += 1) {
    words.push(dev.read32(index * 4));
  }
  if (dev.pcieCap !== 0) {
    words.push(dev.read16(dev.pcieCap + DEVICE_CONTROL), dev.read16(dev.pcieCap + DEVICE_CONTROL2));
  }
  dev.savedState = words;
  dev.savedCapabilities = saveCapabilities(dev);
  dev.stateSaved = true;
}

/**
 * Puts everything back: PCI Express, PASID, PRI, ATS, DPC, AER, the header (BARs, then COMMAND), ACS, SR-IOV. So ATS is
 * on again before Bus Master is. Linux 6.1 does nothing when nothing was saved.
 *
 * Source: Linux 7.2 `pci_restore_state()`; without the capabilities that the model has no writable registers of.
 */
export function* pciRestoreState(dev: PciDev): Op<void> {
  if (resetRules(dev.platform.profile).restoreNeedsSave && !dev.stateSaved) {
    return;
  }
  if (dev.pcieCap !== 0 && dev.savedState.length > HEADER_WORDS) {
    yield preempt;
    dev.write16(dev.pcieCap + DEVICE_CONTROL, dev.savedState[HEADER_WORDS] ?? 0, "Device Control");
    yield preempt;
    dev.write16(dev.pcieCap + DEVICE_CONTROL2, dev.savedState[HEADER_WORDS + 1] ?? 0, "Device Control 2");
  }
  yield* pciRestorePasidState(dev);
  yield* pciRestorePriState(dev);
  yield* pciRestoreAtsState(dev);
  yield* restoreErrorReporting(dev);
  yield* restoreHeader(dev);
  yield* pciEnableAcs(dev);
  yield* restoreIov(dev);
  dev.stateSaved = false;
}

/**
 * Writes the words that differ, from the last to the first within each range.
 *
 * Source: Linux 7.2 `pci_restore_config_space()`.
 */
function* restoreHeader(dev: PciDev): Op<void> {
  for (const [first, last, force] of rangesOf(dev.headerType)) {
    for (let index = last; index >= first; index -= 1) {
      const saved = dev.savedState[index] ?? 0;
      if (force || dev.read32(index * 4) !== saved) {
        yield preempt;
        dev.write32(index * 4, saved, REGISTER_NAMES[index * 4] ?? `header 0x${(index * 4).toString(16)}`);
      }
    }
  }
}

function rangesOf(headerType: number): readonly (readonly [number, number, boolean])[] {
  switch (headerType) {
    case 0:
      return [
        [10, 15, false],
        [4, 9, false],
        [0, 3, false],
      ];
    case 1:
      return [
        [12, 15, false],
        [9, 11, true],
        [0, 8, false],
      ];
    default:
      return [[0, 15, false]];
  }
}
