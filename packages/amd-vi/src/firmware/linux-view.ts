import type {
  DeviceAlias,
  DeviceRange,
  DeviceSetting,
  FirmwareDescription,
  UnitDescription,
  UnityMap,
} from "./description.ts";
import type { IvhdEntry } from "./ivhd-entry.ts";
import { IVHD_ENTRY } from "./ivhd-entry.ts";
import type { IvhdBlock, IvmdBlock, IvrsTable } from "./ivrs.ts";

/** Largest block type that Linux looks at when it chooses. */
const LARGEST_KNOWN = 0x40;
const ALL_DEVICES = 0xffff;
const UNITY = 1;
const EXCLUSION = 8;
const PAGE = 4096n;
/** A block of type 40h may name devices by ACPI ID. */
const MIXED = 0x40;
const IO_APIC = 1;
const HPET = 2;

/** An I/O APIC or a timer, and the device ID that its requests carry. */
export interface SpecialDevice {
  /** 1 = I/O APIC, 2 = HPET. */
  readonly variety: number;
  /** Its number. */
  readonly handle: number;
  /** The device ID. */
  readonly rid: number;
}

/** A device that ACPI names, and the device ID that its requests carry. */
export interface AcpiDevice {
  /** Hardware ID. */
  readonly hid: string;
  /** Unique ID; `""` = none. */
  readonly uid: string;
  /** The device ID. */
  readonly rid: number;
}

/** What Linux takes from an IVRS. */
export interface LinuxIvrs extends FirmwareDescription {
  /** Type of the blocks that count; others describe the same units and are ignored. */
  readonly targetType: number;
  /** I/O APICs and timers. */
  readonly specialDevices: readonly SpecialDevice[];
  /** Devices that ACPI names. */
  readonly acpiDevices: readonly AcpiDevice[];
  /** Why Linux does without the IOMMU, with its errno; `""` = it does not. */
  readonly refusal: string;
}

/**
 * The block type that Linux uses: that of the last block about the unit of the first one, up to the first block whose type is
 * above 40h. A memory block whose device ID happens to be the unit's counts in this as well.
 *
 * Source: Linux 7.2 `get_highest_supported_ivhd_type()`.
 */
export function targetIvhdType({ blocks }: IvrsTable): number {
  const [first] = blocks;
  if (first === undefined) {
    return 0;
  }
  const beyond = blocks.findIndex(({ type }) => type > LARGEST_KNOWN);
  const seen = beyond < 0 ? blocks : blocks.slice(0, beyond);
  const own = seen.filter((block) => deviceIdOf(block) === deviceIdOf(first));
  return own.at(-1)?.type ?? first.type;
}

function deviceIdOf(block: IvrsTable["blocks"][number]): number {
  return block.kind === "unknown" ? (block.data[0] ?? 0) | ((block.data[1] ?? 0) << 8) : block.deviceId;
}

/** Entries whose device ID bounds the device table. Source: Linux 7.2 `find_last_devid_from_ivhd()`. */
const BOUNDING: ReadonlySet<number> = new Set([
  IVHD_ENTRY.select,
  IVHD_ENTRY.end,
  IVHD_ENTRY.aliasSelect,
  IVHD_ENTRY.extendedSelect,
]);

/** The largest device ID of the device table; -1 = a block names none, which Linux takes for an error. */
function lastDeviceIdOf(units: readonly IvhdBlock[]): number {
  let last = 0;
  for (const { entries } of units) {
    const ids = entries.filter(({ type }) => BOUNDING.has(type)).map(({ deviceId }) => deviceId);
    const own = entries.some(({ type }) => type === IVHD_ENTRY.all) ? ALL_DEVICES : Math.max(-1, ...ids);
    if (own < 0) {
      return -1;
    }
    last = Math.max(last, own);
  }
  return last;
}

/** Collects what the device entries of the units say, as Linux goes through them. */
class DeviceEntries {
  readonly settings: DeviceSetting[] = [];
  readonly aliases: DeviceAlias[] = [];
  readonly specialDevices: SpecialDevice[] = [];
  readonly acpiDevices: AcpiDevice[] = [];
  refusal = "";
  readonly #lastDeviceId: number;

  constructor(lastDeviceId: number) {
    this.#lastDeviceId = lastDeviceId;
  }

  /** Goes through a block. @returns the devices of its unit */
  read(block: IvhdBlock): DeviceRange[] {
    const devices: DeviceRange[] = [];
    let open = { first: 0, setting: 0, alias: -1 };
    const take = (first: number, last: number, setting: number): void => {
      devices.push({ first, last });
      // Of several settings for the same range the first counts.
      if (setting !== 0 && !this.settings.some((one) => one.first === first && one.last === last)) {
        this.settings.push({ first, last, setting });
      }
    };
    for (const entry of block.entries) {
      const { deviceId, setting } = entry;
      switch (entry.type) {
        case IVHD_ENTRY.all:
          take(0, this.#lastDeviceId, setting);
          break;
        case IVHD_ENTRY.select:
        case IVHD_ENTRY.extendedSelect:
          take(deviceId, deviceId, setting);
          break;
        case IVHD_ENTRY.start:
        case IVHD_ENTRY.extendedStart:
          open = { first: deviceId, setting, alias: -1 };
          break;
        case IVHD_ENTRY.aliasStart:
          open = { first: deviceId, setting, alias: entry.kind === "alias" ? entry.sourceId : -1 };
          break;
        case IVHD_ENTRY.end:
          this.#endRange(open, deviceId, take);
          break;
        default:
          this.#other(block, entry, take);
      }
    }
    return devices;
  }

  #endRange(
    open: { readonly first: number; readonly setting: number; readonly alias: number },
    last: number,
    take: (first: number, last: number, setting: number) => void,
  ): void {
    if (open.alias >= 0) {
      for (let rid = open.first; rid <= last; rid += 1) {
        this.#setAlias(rid, open.alias);
      }
      take(open.alias, open.alias, open.setting);
    }
    take(open.first, last, open.setting);
  }

  #other(block: IvhdBlock, entry: IvhdEntry, take: (first: number, last: number, setting: number) => void): void {
    const { deviceId, setting } = entry;
    if (entry.kind === "alias") {
      take(deviceId, deviceId, setting);
      take(entry.sourceId, entry.sourceId, setting);
      this.#setAlias(deviceId, entry.sourceId);
    } else if (entry.kind === "special") {
      if (entry.variety !== IO_APIC && entry.variety !== HPET) {
        this.refusal ||= `EINVAL: offset 0x${entry.offset.toString(16)}: special device of variety ${entry.variety}`;
      }
      this.specialDevices.push({ variety: entry.variety, handle: entry.handle, rid: entry.sourceId });
      take(entry.sourceId, entry.sourceId, setting);
    } else if (entry.kind === "acpiHid" && block.type === MIXED && entry.hid !== "") {
      this.acpiDevices.push({ hid: entry.hid, uid: uidOf(entry.uidFormat, entry.uid), rid: deviceId });
      take(deviceId, deviceId, setting);
    }
  }

  #setAlias(rid: number, alias: number): void {
    const index = this.aliases.findIndex((one) => one.rid === rid);
    this.aliases.splice(index < 0 ? this.aliases.length : index, 1, { rid, alias });
  }
}

function uidOf(format: number, uid: Uint8Array): string {
  if (format === 2) {
    return Array.from(uid, (code) => String.fromCharCode(code)).join("");
  }
  // Linux prints the first byte as the number.
  return format === 1 ? String(uid[0] ?? 0) : "";
}

/** Memory that Linux maps 1:1; an exclusion range counts as one for reads and writes. */
function unityMapOf(block: IvmdBlock, lastDeviceId: number): UnityMap {
  const { type, flags, deviceId, auxiliary, start, memoryLength } = block;
  const last = type === 0x22 ? auxiliary : deviceId;
  const exclusion = (flags & EXCLUSION) !== 0;
  return {
    ...(type === 0x20 ? { first: 0, last: lastDeviceId } : { first: deviceId, last }),
    page: Number((start + PAGE - 1n) / PAGE),
    count: Number((memoryLength + PAGE - 1n) / PAGE),
    read: exclusion || (flags & 2) !== 0,
    write: exclusion || (flags & 4) !== 0,
  };
}

function unitOf(block: IvhdBlock, devices: readonly DeviceRange[], capability: number): UnitDescription {
  const { base, deviceId, flags, type, efr, efr2, features } = block;
  const description = { base: Number(base), deviceId, flags, capability, devices };
  return type === 0x10
    ? description
    : { ...description, efr: { efr, efr2 }, hostTranslationDisabled: (features & 1) !== 0 };
}

/**
 * What Linux takes from a table.
 *
 * Source: Linux 7.2 `early_amd_iommu_init()`, `init_iommu_all()`, `init_iommu_from_acpi()`, `init_memory_definitions()`.
 *
 * @param capabilityOf the capability header of a unit's PCI function; default: none is known (0)
 */
export function linuxIvrs(table: IvrsTable, capabilityOf: (block: IvhdBlock) => number = () => 0): LinuxIvrs {
  const targetType = targetIvhdType(table);
  const blocks = table.blocks.filter((block): block is IvhdBlock => block.kind === "ivhd" && block.type === targetType);
  const lastDeviceId = lastDeviceIdOf(blocks);
  const entries = new DeviceEntries(Math.max(0, lastDeviceId));
  const units = blocks.map((block) => unitOf(block, entries.read(block), capabilityOf(block)));
  const memory = table.blocks.filter(
    (block): block is IvmdBlock => block.kind === "ivmd" && (block.flags & (UNITY | EXCLUSION)) !== 0,
  );
  const { settings, aliases, specialDevices, acpiDevices } = entries;
  return {
    targetType,
    units,
    unityMaps: memory.map((block) => unityMapOf(block, Math.max(0, lastDeviceId))),
    settings,
    aliases,
    lastDeviceId: Math.max(0, lastDeviceId),
    specialDevices,
    acpiDevices,
    refusal: refusalOf(table, blocks, lastDeviceId) || entries.refusal,
  };
}

function refusalOf(table: IvrsTable, blocks: readonly IvhdBlock[], lastDeviceId: number): string {
  if (!table.header.checksumValid) {
    return "ENODEV: the checksum of the IVRS is wrong";
  }
  if (blocks.length > 0 && lastDeviceId < 0) {
    return "EINVAL: a unit names no device";
  }
  return "";
}
