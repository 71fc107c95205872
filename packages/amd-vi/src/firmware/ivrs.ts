import type { AcpiHeader, AcpiReader } from "@iommu-lab/core";
import { readAcpiTable } from "@iommu-lab/core";
import type { IvhdEntry } from "./ivhd-entry.ts";
import { readIvhdEntry } from "./ivhd-entry.ts";

/** Bytes before the first block. */
export const IVRS_HEADER_BYTES = 48;
/** Types of blocks that describe a unit. */
export const IVHD_TYPES: readonly number[] = [0x10, 0x11, 0x40];
/** Types of blocks that describe memory: of all devices, of one, of a range. */
export const IVMD_TYPES: readonly number[] = [0x20, 0x21, 0x22];

const SHORT_IVHD_BYTES = 24;
const LONG_IVHD_BYTES = 40;
const IVMD_BYTES = 32;
/** Type and length of a block. */
const SMALLEST_BLOCK = 4;

/** What every block has. */
export interface IvrsBlockBase {
  /** Type byte. */
  readonly type: number;
  /** Where it begins, in bytes from the start of the table. */
  readonly offset: number;
  /** Bytes of it. */
  readonly length: number;
  /** Flags byte. */
  readonly flags: number;
}

/** An I/O virtualisation hardware definition block: one unit and its devices. */
export interface IvhdBlock extends IvrsBlockBase {
  /** It is an IVHD. */
  readonly kind: "ivhd";
  /** Device ID of the unit itself. */
  readonly deviceId: number;
  /** Offset of its capability in its configuration space. */
  readonly capabilityOffset: number;
  /** Physical address of its registers. */
  readonly base: bigint;
  /** PCI segment group. */
  readonly segment: number;
  /** IOMMU info: 4:0 MSI number, 12:8 UnitID. */
  readonly info: number;
  /** Type 10h: feature reporting. Types 11h and 40h: attributes, bit 0 HATDis. */
  readonly features: number;
  /** EFR; 0 in type 10h, which has none. */
  readonly efr: bigint;
  /** EFR2; 0 in type 10h, which has none. */
  readonly efr2: bigint;
  /** Its devices, in order. */
  readonly entries: readonly IvhdEntry[];
}

/** An I/O virtualisation memory definition block. */
export interface IvmdBlock extends IvrsBlockBase {
  /** It is an IVMD. Flags: 0 unity, 1 IR, 2 IW, 3 exclusion. */
  readonly kind: "ivmd";
  /** The device, or the first of a range. */
  readonly deviceId: number;
  /** Last device of a range. */
  readonly auxiliary: number;
  /** Bytes 8-15: segment in 15:0, the rest reserved. */
  readonly reserved: bigint;
  /** Physical address of the memory. */
  readonly start: bigint;
  /** Length of the memory in bytes. */
  readonly memoryLength: bigint;
  /** Bytes behind the fields; usually none. */
  readonly tail: Uint8Array;
}

/** A block of another type, skipped by its length. */
export interface UnknownBlock extends IvrsBlockBase {
  /** The type is not known. */
  readonly kind: "unknown";
  /** Bytes behind the length. */
  readonly data: Uint8Array;
}

/** A block of an IVRS. */
export type IvrsBlock = IvhdBlock | IvmdBlock | UnknownBlock;

/** An IVRS table, taken apart. */
export interface IvrsTable {
  /** Header of the ACPI table. */
  readonly header: AcpiHeader;
  /** IVinfo: 0 EFRSup, 1 DMA remap support, 7:5 GVASize, 14:8 PASize, 21:15 VASize, 22 HtAtsResv. */
  readonly info: number;
  /** Bytes 40-47. */
  readonly reserved: bigint;
  /** Blocks in order. */
  readonly blocks: readonly IvrsBlock[];
  /** What is odd about it though it can be read: checksum, types that are not known. */
  readonly warnings: readonly string[];
}

/**
 * Reads an IVRS.
 *
 * Source: AMD IOMMU specification §5.2.
 *
 * @param bytes the table; more bytes than its length says are ignored
 * @param file named in errors
 * @throws InputError with the offset for a damaged table
 */
export function decodeIvrs(bytes: Uint8Array, file?: string): IvrsTable {
  const { header, reader } = readAcpiTable(bytes, "IVRS", file);
  if (header.length < IVRS_HEADER_BYTES) {
    throw reader.error(4, `length is ${header.length}, an IVRS has at least ${IVRS_HEADER_BYTES} bytes`);
  }
  const blocks: IvrsBlock[] = [];
  for (let offset = IVRS_HEADER_BYTES; offset < reader.length;) {
    const block = readBlock(reader, offset);
    blocks.push(block);
    offset += block.length;
  }
  const warnings = [
    ...(header.checksumValid ? [] : ["checksum is wrong; Linux does not use such a table"]),
    ...blocks.flatMap((block) => oddities(block)),
  ];
  return { header, info: reader.u32(36), reserved: reader.u64(40), blocks, warnings };
}

function placeOf(offset: number): string {
  return `offset 0x${offset.toString(16)}`;
}

function oddities(block: IvrsBlock): string[] {
  if (block.kind === "unknown") {
    return [`${placeOf(block.offset)}: block type 0x${block.type.toString(16)} is not known and skipped`];
  }
  if (block.kind === "ivmd") {
    return [];
  }
  return block.entries
    .filter(({ kind }) => kind === "unknown")
    .map(({ type, offset }) => `${placeOf(offset)}: device entry type 0x${type.toString(16)} is not known and skipped`);
}

function readBlock(reader: AcpiReader, offset: number): IvrsBlock {
  const base = { type: reader.u8(offset), offset, flags: reader.u8(offset + 1), length: reader.u16(offset + 2) };
  const least = leastLength(base.type);
  if (base.length < least) {
    throw reader.error(
      offset + 2,
      `block type 0x${base.type.toString(16)} has length ${base.length}, expected at least ${least}`,
    );
  }
  if (offset + base.length > reader.length) {
    const end = reader.length.toString(16);
    throw reader.error(offset + 2, `block of ${base.length} bytes goes beyond the table, which ends at 0x${end}`);
  }
  if (IVHD_TYPES.includes(base.type)) {
    return readIvhd(reader, base);
  }
  return IVMD_TYPES.includes(base.type)
    ? readIvmd(reader, base)
    : { kind: "unknown", ...base, data: reader.slice(offset + SMALLEST_BLOCK, base.length - SMALLEST_BLOCK) };
}

function leastLength(type: number): number {
  if (IVHD_TYPES.includes(type)) {
    return ivhdHeaderBytes(type);
  }
  return IVMD_TYPES.includes(type) ? IVMD_BYTES : SMALLEST_BLOCK;
}

/** Bytes of an IVHD before its device entries. Source: Linux 7.2 `get_ivhd_header_size()`. */
function ivhdHeaderBytes(type: number): number {
  return type === 0x10 ? SHORT_IVHD_BYTES : LONG_IVHD_BYTES;
}

function readIvhd(reader: AcpiReader, base: IvrsBlockBase): IvhdBlock {
  const { offset, length, type } = base;
  const long = type !== 0x10;
  const entries: IvhdEntry[] = [];
  for (let at = offset + ivhdHeaderBytes(type); at < offset + length;) {
    const [entry, bytes] = readIvhdEntry(reader, at, offset + length);
    entries.push(entry);
    at += bytes;
  }
  return {
    kind: "ivhd",
    ...base,
    deviceId: reader.u16(offset + 4),
    capabilityOffset: reader.u16(offset + 6),
    base: reader.u64(offset + 8),
    segment: reader.u16(offset + 16),
    info: reader.u16(offset + 18),
    features: reader.u32(offset + 20),
    efr: long ? reader.u64(offset + 24) : 0n,
    efr2: long ? reader.u64(offset + 32) : 0n,
    entries,
  };
}

function readIvmd(reader: AcpiReader, base: IvrsBlockBase): IvmdBlock {
  const { offset } = base;
  return {
    kind: "ivmd",
    ...base,
    deviceId: reader.u16(offset + 4),
    auxiliary: reader.u16(offset + 6),
    reserved: reader.u64(offset + 8),
    start: reader.u64(offset + 16),
    memoryLength: reader.u64(offset + 24),
    tail: reader.slice(offset + IVMD_BYTES, base.length - IVMD_BYTES),
  };
}
