import type { JsonField } from "./json-field.ts";

/** Words of the IOMMU's tables for one device, by the structure's name, lowest word first. */
export type TableWords = ReadonlyMap<string, readonly bigint[]>;

/** An extended capability that software switches on and off, as it was read from config space. */
export interface ControlWord {
  /** Control register, 16 bits. Enable is bit 15 of ATS, bit 0 of PASID and PRI. */
  readonly control: number;
}

/** One device as the guest's sysfs and config space showed it. */
export interface RecordedDevice {
  /** The bound driver; undefined when there is none. */
  readonly driver: string | undefined;
  /** Number of its IOMMU group; undefined without one. */
  readonly group: string | undefined;
  /** The IOMMU instance that serves it, as sysfs names it. */
  readonly iommu: string | undefined;
  readonly ats: ControlWord | undefined;
  readonly pasid: ControlWord | undefined;
  readonly pri: ControlWord | undefined;
  readonly acs: ControlWord | undefined;
  /** What sysfs `reset_method` lists; undefined without the file. */
  readonly resetMethods: string | undefined;
}

/** One IOMMU group. */
export interface RecordedGroup {
  readonly devices: readonly string[];
  /** As sysfs prints it: `DMA`, `DMA-FQ`, `identity`, `blocked`, … */
  readonly type: string;
  /** Reserved regions as sysfs prints them: first byte, last byte, kind. */
  readonly reserved: readonly string[];
}

/** What was read after a phase; whole, not as a difference. */
export interface RecordedState {
  /** By address, such as `0000:01:00.0`. */
  readonly devices: ReadonlyMap<string, RecordedDevice>;
  /** By number. */
  readonly groups: ReadonlyMap<string, RecordedGroup>;
  /** By address. */
  readonly tables: ReadonlyMap<string, TableWords>;
  /** What sysfs says of the IOMMUs: attribute, such as `amd-iommu/cap`, by instance. */
  readonly iommus: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Registers of the unit, by name: `cap`, `ecap`, `gcmd_gsts`, `idr`, `cr0`, `ext_features`, … */
  readonly registers: ReadonlyMap<string, readonly bigint[]>;
}

const REGISTERS = [
  "cap",
  "ecap",
  "rtaddr",
  "gcmd_gsts",
  "idr",
  "cr0",
  "gbpa",
  "strtab_base",
  "strtab_base_cfg",
  "devtab_base",
  "control",
  "ext_features",
];

/**
 * The state after a phase.
 *
 * @param before the state it is a difference to; undefined for the first, full one
 * @throws InputError naming the field, also for a difference without anything before it
 */
export function readState(phase: JsonField, before: RecordedState | undefined): RecordedState {
  const state = phase.at("state");
  const tables = phase.at("tables");
  const kind = phase.at("state_is").text();
  if (kind !== "full" && kind !== "delta") {
    phase.at("state_is").fail(`expected "full" or "delta", found ${JSON.stringify(kind)}`);
  }
  if (kind === "delta" && before === undefined) {
    phase.at("state_is").fail("a difference, but no full state stands before it");
  }
  const base = kind === "delta" ? before : undefined;
  return {
    devices: merge(base?.devices, state.at("devices"), readDevice),
    groups: merge(base?.groups, state.at("groups"), readGroup),
    iommus: merge(base?.iommus, state.at("iommus"), readAttributes),
    tables: merge(base?.tables, tables.at("entries"), readTables),
    registers: new Map(
      REGISTERS.map((name) => [name, tables.at(name)] as const)
        .filter(([, field]) => field.present)
        .map(([name, field]) => [name, words(field, name === "idr")]),
    ),
  };
}

/** In a difference, null says that the entry is gone. */
function merge<T>(
  before: ReadonlyMap<string, T> | undefined,
  changes: JsonField,
  read: (field: JsonField) => T,
): ReadonlyMap<string, T> {
  const after = new Map(before);
  for (const [key, field] of changes.entries()) {
    if (field.present) {
      after.set(key, read(field));
    } else {
      after.delete(key);
    }
  }
  return after;
}

function readDevice(field: JsonField): RecordedDevice {
  const config = field.at("cfg");
  return {
    driver: field.at("driver").optionalText(),
    group: field.at("iommu_group").optionalText(),
    iommu: field.at("iommu").optionalText(),
    ats: control(config, "ats"),
    pasid: control(config, "pasid"),
    pri: control(config, "pri"),
    acs: control(config, "acs"),
    resetMethods: field.at("reset_method").optionalText(),
  };
}

function control(config: JsonField, capability: string): ControlWord | undefined {
  if (!config.present || !config.at(capability).present) {
    return undefined;
  }
  return { control: Number(config.at(capability).at("ctrl").word()) };
}

function readGroup(field: JsonField): RecordedGroup {
  return {
    devices: field
      .at("devices")
      .items()
      .map((one) => one.text()),
    type: field.at("type").text(),
    reserved: field
      .at("reserved_regions")
      .items()
      .map((one) => one.text()),
  };
}

function readAttributes(field: JsonField): ReadonlyMap<string, string> {
  return new Map(field.entries().map(([name, value]) => [name, value.text()]));
}

function readTables(field: JsonField): TableWords {
  return new Map(field.entries().map(([name, value]) => [name, words(value, !name.match(/^(pasid_dir0|l1desc)$/u))]));
}

function words(field: JsonField, list: boolean): readonly bigint[] {
  return list ? field.items().map((word) => word.word()) : [field.word()];
}
