import type { DeviceAlias, DeviceRange, DeviceSetting, UnityMap } from "./description.ts";
import type { IvhdEntry } from "./ivhd-entry.ts";
import { IVHD_ENTRY } from "./ivhd-entry.ts";
import type { IvrsBlockFields, IvrsFields } from "./ivrs-encode.ts";

/** A unit and its devices as a table shall tell of them. */
export interface UnitToDescribe {
  readonly base: number;
  readonly deviceId: number;
  /** IVHD flags. */
  readonly flags: number;
  readonly efr: bigint;
  readonly efr2: bigint;
  readonly capabilityOffset: number;
  readonly devices: readonly DeviceRange[];
}

/** What {@link buildIvrs} describes. */
export interface MachineToDescribe {
  readonly units: readonly UnitToDescribe[];
  readonly settings: readonly DeviceSetting[];
  readonly aliases: readonly DeviceAlias[];
  readonly unityMaps: readonly UnityMap[];
  /** Largest device ID of the machine: ranges are cut there. */
  readonly lastDeviceId: number;
}

/** EFRSup, DMA remapping, 48-bit physical and 64-bit virtual addresses. */
const INFO = 0x00203041 | 2;
const PAGE = 4096n;

function short(type: number, deviceId: number, setting: number): IvhdEntry {
  return { kind: "short", type, offset: 0, deviceId, setting };
}

/** One device, or a range of them. */
function rangeEntries({ first, last }: DeviceRange, setting: number): readonly IvhdEntry[] {
  return first === last
    ? [short(IVHD_ENTRY.select, first, setting)]
    : [short(IVHD_ENTRY.start, first, setting), short(IVHD_ENTRY.end, last, 0)];
}

function aliasEntry({ rid, alias }: DeviceAlias): IvhdEntry {
  const base = { type: IVHD_ENTRY.aliasSelect, offset: 0, deviceId: rid, setting: 0 };
  return { kind: "alias", ...base, reserved: 0, sourceId: alias, reserved2: 0 };
}

/** Ranges without a setting first, so that narrower ones with a setting come after the wide ones. */
function entriesOf(unit: UnitToDescribe, machine: MachineToDescribe): readonly IvhdEntry[] {
  const { lastDeviceId, settings, aliases } = machine;
  const cut = (ranges: readonly DeviceRange[]): DeviceRange[] =>
    ranges
      .filter(({ first }) => first <= lastDeviceId)
      .map(({ first, last }) => ({ first, last: Math.min(last, lastDeviceId) }));
  const serves = (rid: number): boolean => unit.devices.some(({ first, last }) => rid >= first && rid <= last);
  const own = settings.filter(({ first }) => serves(first) && first <= lastDeviceId);
  return [
    ...cut(unit.devices).flatMap((range) => rangeEntries(range, 0)),
    ...own.flatMap(({ first, last, setting }) => rangeEntries({ first, last: Math.min(last, lastDeviceId) }, setting)),
    ...aliases.filter(({ rid }) => serves(rid)).map((one) => aliasEntry(one)),
  ];
}

function unitBlock(unit: UnitToDescribe, machine: MachineToDescribe): IvrsBlockFields {
  const { base, deviceId, flags, efr, efr2, capabilityOffset } = unit;
  const head = { kind: "ivhd", type: 0x11, flags, deviceId, capabilityOffset, base: BigInt(base) } as const;
  return { ...head, segment: 0, info: 0, features: 0, efr, efr2, entries: entriesOf(unit, machine) };
}

function memoryBlock({ first, last, page, count, read, write }: UnityMap): IvrsBlockFields {
  const one = first === last;
  return {
    kind: "ivmd",
    type: one ? 0x21 : 0x22,
    flags: 1 | (read ? 2 : 0) | (write ? 4 : 0),
    deviceId: first,
    auxiliary: one ? 0 : last,
    reserved: 0n,
    start: BigInt(page) * PAGE,
    memoryLength: BigInt(count) * PAGE,
    tail: new Uint8Array(),
  };
}

/** A table that tells of a machine: an IVHD 11h for each unit, an IVMD for each memory region. */
export function buildIvrs(machine: MachineToDescribe): IvrsFields {
  const units = machine.units.map((unit) => unitBlock(unit, machine));
  return { info: INFO, blocks: [...units, ...machine.unityMaps.map((map) => memoryBlock(map))] };
}
