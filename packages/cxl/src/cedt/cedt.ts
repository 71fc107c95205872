import { ACPI_HEADER_BYTES, type AcpiHeader, readAcpiTable } from "@iommu-lab/core";
import { type RawStructure, rawStructures } from "./cedt-layout.ts";

/** CXL Host Bridge Structure: where a host bridge has its registers. */
export interface CedtHostBridge {
  /** Tells it from the others. */
  readonly kind: "CHBS";
  /** Byte offset in the table. */
  readonly offset: number;
  /** `_UID` of the host bridge in the ACPI namespace. */
  readonly uid: number;
  /** 0 = CXL 1.1 (the block is an RCRB), 1 = CXL 2.0 or later (component registers). */
  readonly cxlVersion: number;
  /** Physical address of the register block. */
  readonly base: bigint;
  /** Its bytes: 0x2000 for CXL 1.1, 0x10000 later. */
  readonly size: bigint;
}

/** What a window may be used for: bits of its restrictions. */
export interface CedtRestrictions {
  /** Device coherent memory (HDM-D). */
  readonly deviceCoherent: boolean;
  /** Host-only coherent memory (HDM-H). */
  readonly hostOnly: boolean;
  /** Volatile memory. */
  readonly volatile: boolean;
  /** Persistent memory. */
  readonly persistent: boolean;
  /** The configuration must not be changed. */
  readonly fixed: boolean;
  /** Back-invalidate (HDM-DB). */
  readonly backInvalidate: boolean;
}

/** CXL Fixed Memory Window Structure: host physical addresses that reach CXL memory through host bridges. */
export interface CedtMemoryWindow {
  /** Tells it from the others. */
  readonly kind: "CFMWS";
  /** Byte offset in the table. */
  readonly offset: number;
  /** First host physical address. */
  readonly base: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** How many host bridges it is spread over; undefined for a reserved code. */
  readonly ways: number | undefined;
  /** How the host bridge follows from the address; undefined for a reserved code. */
  readonly arithmetic: "modulo" | "xor" | undefined;
  /** Consecutive bytes of one host bridge; undefined for a reserved code. */
  readonly granularity: number | undefined;
  /** What it may be used for. */
  readonly restrictions: CedtRestrictions;
  /** QoS Throttling Group. */
  readonly qtgId: number;
  /** `_UID` of each host bridge, in the order of the interleave. */
  readonly targets: readonly number[];
}

/** CXL XOR Interleave Math Structure: which address bits decide in windows of one granularity. */
export interface CedtXorMath {
  /** Tells it from the others. */
  readonly kind: "CXIMS";
  /** Byte offset in the table. */
  readonly offset: number;
  /** Granularity of the windows it is for, in bytes; undefined for a reserved code. */
  readonly granularity: number | undefined;
  /** One mask of address bits for each bit of the position. */
  readonly xorMaps: readonly bigint[];
}

/** RCEC Downstream Port Association Structure: which event collector hears of a downstream port. */
export interface CedtEventCollector {
  /** Tells it from the others. */
  readonly kind: "RDPAS";
  /** Byte offset in the table. */
  readonly offset: number;
  /** PCI segment of the event collector. */
  readonly segment: number;
  /** Its requester ID. */
  readonly bdf: number;
  /** Address of the downstream port's registers. */
  readonly address: bigint;
  /** 0 = CXL.io, 1 = CXL.cache and CXL.mem; undefined where the structure ends before it. */
  readonly protocol: number | undefined;
}

/** A structure of a type that is not known: skipped by its length. */
export interface CedtUnknown {
  /** Tells it from the others. */
  readonly kind: "unknown";
  /** Byte offset in the table. */
  readonly offset: number;
  /** The type byte. */
  readonly type: number;
  /** The length it states. */
  readonly length: number;
}

/** Any structure of the table. */
export type CedtStructure = CedtHostBridge | CedtMemoryWindow | CedtXorMath | CedtEventCollector | CedtUnknown;

/** Something in a table that firmware should not have written, and that a reader can live with. */
export interface CedtWarning {
  /** Byte offset in the table. */
  readonly offset: number;
  /** What is wrong. */
  readonly what: string;
}

/** The CXL Early Discovery Table, decoded. Source: CXL 3.1 §9.18. */
export interface CedtTable {
  /** The common header. */
  readonly header: AcpiHeader;
  /** In the order of the table. */
  readonly structures: readonly CedtStructure[];
  /** What a kernel would complain about. */
  readonly warnings: readonly CedtWarning[];
}

const MIB_256 = 0x1000_0000n;

/**
 * Decodes a CEDT.
 *
 * @param bytes the whole table, header included
 * @param file named in errors
 * @throws InputError with the offset for a table that cannot be read
 * @example
 * ```ts
 * const { structures } = parseCedt(readFileSync("/sys/firmware/acpi/tables/CEDT"));
 * ```
 */
export function parseCedt(bytes: Uint8Array, file?: string): CedtTable {
  const { header, reader } = readAcpiTable(bytes, "CEDT", file);
  const structures: CedtStructure[] = [];
  const warnings: CedtWarning[] = [];
  if (!header.checksumValid) {
    warnings.push({ offset: 9, what: "the checksum is wrong" });
  }
  for (const raw of rawStructures(reader, ACPI_HEADER_BYTES)) {
    const structure = typed(raw);
    structures.push(structure);
    warnings.push(...complaints(structure, raw).map((what) => ({ offset: raw.offset, what })));
  }
  return { header, structures, warnings };
}

function typed(raw: RawStructure): CedtStructure {
  const { offset, list } = raw;
  const big = (name: string): bigint => raw.values.get(name) ?? 0n;
  const number = (name: string): number => Number(big(name));
  switch (raw.layout?.kind) {
    case "CHBS":
      return {
        kind: "CHBS",
        offset,
        uid: number("uid"),
        cxlVersion: number("cxlVersion"),
        base: big("base"),
        size: big("size"),
      };
    case "CFMWS":
      return {
        kind: "CFMWS",
        offset,
        base: big("base"),
        size: big("size"),
        ways: WAYS.get(number("encodedWays")),
        arithmetic: (["modulo", "xor"] as const)[number("arithmetic")],
        granularity: granularity(number("encodedGranularity")),
        restrictions: restrictionsOf(number("restrictions")),
        qtgId: number("qtgId"),
        targets: list.map(Number),
      };
    case "CXIMS":
      return {
        kind: "CXIMS",
        offset,
        granularity: granularity(number("encodedGranularity")),
        xorMaps: list.slice(0, number("count")),
      };
    case "RDPAS":
      return {
        kind: "RDPAS",
        offset,
        segment: number("segment"),
        bdf: number("bdf"),
        address: big("address"),
        protocol: raw.values.has("protocol") ? number("protocol") : undefined,
      };
    default:
      return { kind: "unknown", offset, type: raw.type, length: raw.length };
  }
}

/** Source: Linux 7.2 `eiw_to_ways()`. */
const WAYS: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 2],
  [2, 4],
  [3, 8],
  [4, 16],
  [8, 3],
  [9, 6],
  [10, 12],
]);

/** Source: Linux 7.2 `eig_to_granularity()`. */
function granularity(code: number): number | undefined {
  return code <= 6 ? 256 << code : undefined;
}

function restrictionsOf(bits: number): CedtRestrictions {
  return {
    deviceCoherent: (bits & 1) !== 0,
    hostOnly: (bits & 2) !== 0,
    volatile: (bits & 4) !== 0,
    persistent: (bits & 8) !== 0,
    fixed: (bits & 0x10) !== 0,
    backInvalidate: (bits & 0x20) !== 0,
  };
}

/** Source: Linux 7.2 `cxl_acpi_cfmws_verify()`, `cxl_get_chbs_iter()`, `cxl_parse_cxims()`. */
function complaints(structure: CedtStructure, raw: RawStructure): string[] {
  switch (structure.kind) {
    case "unknown":
      return [`type ${structure.type} is not known: ${structure.length} bytes are skipped`];
    case "CHBS":
      return hostBridgeComplaints(structure);
    case "CFMWS":
      return windowComplaints(structure, raw);
    case "CXIMS":
      return structure.xorMaps.length < Number(raw.values.get("count") ?? 0n)
        ? [`${raw.values.get("count")} XOR maps are announced, ${structure.xorMaps.length} fit into its length`]
        : [];
    default:
      return structure.protocol === undefined ? ["the structure ends before its protocol"] : [];
  }
}

function hostBridgeComplaints({ cxlVersion, size }: CedtHostBridge): string[] {
  const expected = [0x2000n, 0x10000n][cxlVersion];
  if (expected === undefined) {
    return [`CXL version ${cxlVersion} is not known`];
  }
  return size === expected
    ? []
    : [`the register block has 0x${size.toString(16)} bytes, expected 0x${expected.toString(16)}`];
}

function windowComplaints({ base, size, ways, arithmetic, targets }: CedtMemoryWindow, raw: RawStructure): string[] {
  const found: string[] = [];
  if (arithmetic === undefined) {
    found.push(`interleave arithmetic ${raw.values.get("arithmetic")} is not known: Linux ignores the window`);
  }
  if (base % MIB_256 !== 0n) {
    found.push("the base is no multiple of 256 MB: Linux ignores the window");
  }
  if (size % MIB_256 !== 0n) {
    found.push("the size is no multiple of 256 MB: Linux ignores the window");
  }
  if (ways === undefined) {
    found.push(`interleave ways code ${raw.values.get("encodedWays")} is not known: Linux ignores the window`);
  } else if (targets.length < ways) {
    found.push(`${ways} ways, but ${targets.length} targets fit into its length: Linux ignores the window`);
  }
  return found;
}
