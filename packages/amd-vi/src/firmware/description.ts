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

/** A device whose requests carry another device's ID, as firmware knows it. */
export interface DeviceAlias {
  /** The device. */
  readonly rid: Rid;
  /** What its requests carry. */
  readonly alias: Rid;
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
  readonly efr?: {
    /** EFR. */
    readonly efr: bigint;
    /** EFR2. */
    readonly efr2: bigint;
  };
  /** HATDis of the IVHD: host translation must not be used. */
  readonly hostTranslationDisabled?: boolean;
  /** Capability header of the unit's PCI function. */
  readonly capability: number;
  /** Devices it serves. */
  readonly devices: readonly DeviceRange[];
}

/** What firmware tells of all units and devices (the IVRS). */
export interface FirmwareDescription {
  /** The units. */
  readonly units: readonly UnitDescription[];
  /** Memory that is mapped 1:1. */
  readonly unityMaps: readonly UnityMap[];
  /** Settings of devices. */
  readonly settings: readonly DeviceSetting[];
  /** Devices that use another device's ID. */
  readonly aliases: readonly DeviceAlias[];
  /** Largest device ID that any entry names. */
  readonly lastDeviceId: Rid;
}

/** Whether a range holds a device. */
export function inRange(range: DeviceRange, rid: Rid): boolean {
  return rid >= range.first && rid <= range.last;
}
