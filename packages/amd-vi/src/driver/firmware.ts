import { type Words, setBit, setBits } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";

/** A range of device IDs, both ends included. */
export interface DeviceRange {
  /** First device ID. */
  readonly first: Rid;
  /** Last device ID. */
  readonly last: Rid;
}

/** Memory that devices must reach 1:1 (an IVMD with the unity flag). */
export interface UnityMap extends DeviceRange {
  /** First page number. */
  readonly page: number;
  /** Number of pages. */
  readonly count: number;
  /** The IR flag. */
  readonly read: boolean;
  /** The IW flag. */
  readonly write: boolean;
}

/** The setting byte of IVHD device entries. */
export interface DeviceSetting extends DeviceRange {
  /** Bit 0 INITPass, 1 EIntPass, 2 NMIPass, 5:4 SysMgt, 6 Lint0Pass, 7 Lint1Pass. */
  readonly setting: number;
}

/** What firmware tells of one unit (an IVHD), and the unit's capability header. */
export interface UnitDescription {
  /** Physical address of the registers. */
  readonly base: number;
  /** Device ID of the unit itself. */
  readonly deviceId: Rid;
  /** IVHD flags: 0 HtTunEn, 1 PassPW, 2 ResPassPW, 3 Isoc. */
  readonly flags: number;
  /** EFR and EFR2 as the IVHD has them; undefined = the registers count. */
  readonly efr?: { readonly efr: bigint; readonly efr2: bigint };
  /** Capability header of the unit's PCI function. */
  readonly capability: number;
  /** Devices it serves. */
  readonly devices: readonly DeviceRange[];
}

/** What firmware tells of all units and devices (the IVRS). */
export interface FirmwareDescription {
  readonly units: readonly UnitDescription[];
  readonly unityMaps: readonly UnityMap[];
  readonly settings: readonly DeviceSetting[];
  /** Largest device ID that any entry names. */
  readonly lastDeviceId: Rid;
}

/** Whether a range holds a device. */
export function inRange(range: DeviceRange, rid: Rid): boolean {
  return rid >= range.first && rid <= range.last;
}

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
