import { type Words, setBit, setBits } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";
import type { FirmwareDescription } from "../firmware/description.ts";
import { inRange } from "../firmware/description.ts";

/**
 * Puts the bits of a device's setting into a DTE; they stay there whatever is attached. Of several ranges the smallest
 * counts.
 *
 * Source: Linux 7.2 `set_dev_entry_from_acpi_range()`, `amd_iommu_get_ivhd_dte_flags()`.
 */
export function applySetting(firmware: FirmwareDescription, rid: Rid, words: Words): void {
  const ranges = firmware.settings.filter((one) => one.setting !== 0 && inRange(one, rid));
  const [smallest] = ranges.toSorted((a, b) => a.last - a.first - (b.last - b.first));
  if (smallest === undefined) {
    return;
  }
  const { setting } = smallest;
  const systemManagement = (setting >>> 4) & 3;
  setBits(words, 186, 184, setting & 7);
  setBits(words, 105, 104, systemManagement);
  setBits(words, 191, 190, setting >>> 6);
  if (systemManagement === 1) {
    // Erratum 63: IW must be set beside SysMgt=1.
    setBit(words, 62, true);
  }
}
