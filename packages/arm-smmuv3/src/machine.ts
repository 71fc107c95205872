import { InputError, MEMORY, type PlatformHost, TRACE } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";
import { type SmmuFirmwareView, firmwareOfIort, firmwareOfTree } from "./firmware/firmware-view.ts";
import { type IdRange, buildIort } from "./firmware/iort-build.ts";
import { encodeIort } from "./firmware/iort-encode.ts";
import { SMMU_V3_FLAGS } from "./firmware/iort-layout.ts";
import { decodeIort } from "./firmware/iort.ts";
import { type IdRegisters, decodeIdRegisters } from "./layout/id-registers.ts";

/** Requester IDs that an SMMU serves, and their StreamIDs there. */
export interface RidRange {
  /** First requester ID. */
  readonly first: Rid;
  /** Last requester ID. */
  readonly last: Rid;
  /** StreamID of the first. Default the requester ID itself. */
  readonly sid?: number;
}

/** One of several SMMUs of a machine. */
export interface SmmuInstance {
  /** Name in traces. Default `smmu0`, `smmu1`, … */
  readonly name?: string;
  /** Physical address of the registers. Default 0x09050000, and 256 KiB further for each one. */
  readonly base?: number;
  /** Which requester IDs it serves. Default all; the first that serves one counts. */
  readonly serves?: readonly RidRange[];
}

/** Memory that firmware keeps for functions. */
export interface ReservedMemory {
  /** Requester IDs of the functions; all behind one SMMU. */
  readonly rids: readonly Rid[];
  /** Physical address. */
  readonly base: number;
  /** Bytes. */
  readonly length: number;
  /** The kernel may map it away once a driver takes over: `direct-relaxable`. Default false. */
  readonly remapPermitted?: boolean;
}

/** Where the SMMUs of a machine are and how firmware describes them. */
export interface MachineOptions {
  /** Firmware says that the root complex does ATS. Default true. */
  readonly rootComplexAts?: boolean;
  /** The SMMUs of the machine, all alike. Default one that serves every requester ID. */
  readonly instances?: readonly SmmuInstance[];
  /** Reserved memory that firmware describes (IORT RMR nodes). Default none. */
  readonly reservedMemory?: readonly ReservedMemory[];
  /** How firmware describes the SMMUs: `acpi` (an IORT), `device-tree`, or the bytes of an IORT. Default `acpi`. */
  readonly firmware?: "acpi" | "device-tree" | Uint8Array;
  /** Firmware asks the kernel to keep its PCI configuration, without which RMR nodes do not count. Default true. */
  readonly preservesConfig?: boolean;
}

/** An instance with all that has a default. */
export interface PlacedSmmu {
  readonly name: string;
  readonly base: number;
  readonly serves: readonly Required<RidRange>[];
}

const FIRST_BASE = 0x09050000;
const BASE_STEP = 0x40000;
const LAST_RID = 0xffff;
const OWNER = "firmware";

/** Gives each instance a name, a place and its requester IDs. @throws InputError when there is none, or a range is empty */
export function placeSmmus(instances: readonly SmmuInstance[]): readonly PlacedSmmu[] {
  if (instances.length === 0) {
    throw new InputError("smmuv3: instances is empty, expected at least one SMMU");
  }
  return instances.map(({ name, base, serves }, index) => ({
    name: name ?? `smmu${index}`,
    base: base ?? FIRST_BASE + index * BASE_STEP,
    serves: (serves ?? [{ first: 0, last: LAST_RID }]).map((range) => {
      if (range.last < range.first) {
        throw new InputError(`smmuv3: requester IDs ${range.first} to ${range.last}: the last is before the first`);
      }
      return { first: range.first, last: range.last, sid: range.sid ?? range.first };
    }),
  }));
}

/** Whether an SMMU serves a requester ID. */
export function isServed(place: PlacedSmmu, rid: Rid): boolean {
  return rangeOf(place, rid) !== undefined;
}

function rangeOf(place: PlacedSmmu, rid: Rid): Required<RidRange> | undefined {
  return place.serves.find(({ first, last }) => rid >= first && rid <= last);
}

/** StreamID of a requester ID as the machine is wired. */
export function streamIdOf(place: PlacedSmmu, rid: Rid): number {
  const range = rangeOf(place, rid);
  return range === undefined ? rid : range.sid + (rid - range.first);
}

/** Requester ID of a StreamID as the machine is wired; undefined = no function has it. */
export function ridOf(place: PlacedSmmu, sid: number): Rid | undefined {
  const range = place.serves.find(({ first, last, sid: base }) => sid >= base && sid <= base + (last - first));
  return range === undefined ? undefined : range.first + (sid - range.sid);
}

/** The IORT of a machine; undefined where a device tree describes it. @throws InputError for reserved memory of nobody */
export function iortBytes(
  options: MachineOptions,
  places: readonly PlacedSmmu[],
  id: IdRegisters,
): Uint8Array | undefined {
  const { firmware = "acpi", reservedMemory = [] } = options;
  if (firmware instanceof Uint8Array) {
    decodeIort(firmware, "smmuv3 firmware");
    return firmware;
  }
  if (firmware === "device-tree") {
    if (reservedMemory.length > 0) {
      throw new InputError("smmuv3: reservedMemory needs an IORT, the machine has a device tree");
    }
    return undefined;
  }
  const { coherent, httu } = decodeIdRegisters(id);
  const flags = (coherent ? SMMU_V3_FLAGS.cohaccOverride : 0) | (httu << 1);
  return encodeIort(
    buildIort({
      smmus: places.map(({ base }) => ({ base, flags })),
      rootComplexes: [{ segment: 0, ats: options.rootComplexAts ?? true, ranges: places.flatMap(rangesOf) }],
      reserved: reservedMemory.map(({ rids, base, length, remapPermitted }) => ({
        remapPermitted: remapPermitted ?? false,
        ranges: rids.map((rid) => reservedFor(places, rid)),
        memory: [{ base, length }],
      })),
    }),
  );
}

function rangesOf({ serves }: PlacedSmmu, smmu: number): readonly IdRange[] {
  return serves.map(({ first, last, sid }) => ({ first, last, output: sid, smmu }));
}

function reservedFor(places: readonly PlacedSmmu[], rid: Rid): IdRange {
  const smmu = places.findIndex((place) => isServed(place, rid));
  const place = places[smmu];
  if (place === undefined) {
    throw new InputError(`smmuv3: reserved memory of requester ID 0x${rid.toString(16)}: no SMMU serves it`);
  }
  return { first: 0, last: 0, output: streamIdOf(place, rid), smmu };
}

/**
 * Firmware at power-on: leaves its table in memory.
 *
 * @returns how a kernel reads what firmware left
 */
export function leaveFirmware(
  host: PlatformHost,
  options: MachineOptions,
  places: readonly PlacedSmmu[],
  table: Uint8Array | undefined,
  id: IdRegisters,
): () => SmmuFirmwareView {
  if (table === undefined) {
    const { coherent } = decodeIdRegisters(id);
    const tree = {
      smmus: places.map(({ base }) => ({ base, coherent })),
      atsSupported: options.rootComplexAts ?? true,
      iommuMap: places.flatMap(({ serves }, smmu) =>
        serves.map(({ first, last, sid }) => ({ rid: first, count: last - first + 1, sid, smmu })),
      ),
    };
    return () => firmwareOfTree(tree);
  }
  const memory = host.get(MEMORY);
  const address = memory.allocate(Math.ceil(table.length / 4096) * 4096, 4096, OWNER, "IORT");
  const words = new Uint8Array(Math.ceil(table.length / 4) * 4);
  words.set(table);
  const view = new DataView(words.buffer);
  for (let offset = 0; offset < words.length; offset += 4) {
    memory.store32(address + offset, view.getUint32(offset, true));
  }
  const trace = host.get(TRACE);
  const warn = (what: string): void => {
    if (trace.active) {
      trace.emit("warn", { where: "iort", what });
    }
  };
  let known: SmmuFirmwareView | undefined;
  return () => {
    if (known !== undefined) {
      return known;
    }
    const read = new Uint8Array(words.length);
    const readView = new DataView(read.buffer);
    for (let offset = 0; offset < read.length; offset += 4) {
      readView.setUint32(offset, memory.load32(address + offset), true);
    }
    const decoded = decodeIort(read, "IORT");
    for (const warning of decoded.warnings) {
      warn(warning);
    }
    known = firmwareOfIort(decoded, 0, warn);
    return known;
  };
}
