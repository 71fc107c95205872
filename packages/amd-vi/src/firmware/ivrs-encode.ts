import type { AcpiHeaderFields } from "@iommu-lab/core";
import { ACPI_HEADER_BYTES, InputError, writeAcpiTable } from "@iommu-lab/core";
import { ivhdEntryBytes } from "./ivhd-entry.ts";
import type { IvhdBlock, IvmdBlock, IvrsBlock, UnknownBlock } from "./ivrs.ts";
import { IVRS_HEADER_BYTES } from "./ivrs.ts";

/** Largest block: its length has 16 bits. */
const MOST = 0xffff;

/** A block before it has its place; offsets and lengths of what is given do not count. */
export type IvrsBlockFields =
  | Omit<IvhdBlock, "offset" | "length">
  | Omit<IvmdBlock, "offset" | "length">
  | Omit<UnknownBlock, "offset" | "length">
  | IvrsBlock;

/** What {@link encodeIvrs} writes. */
export interface IvrsFields {
  /** Header; length and checksum are computed. */
  readonly header?: Omit<AcpiHeaderFields, "signature">;
  /** See `IvrsTable`. */
  readonly info: number;
  /** See `IvrsTable`. Default 0. */
  readonly reserved?: bigint;
  /** Blocks in order. */
  readonly blocks: readonly IvrsBlockFields[];
}

function u16(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff];
}

function u32(value: number): readonly number[] {
  return [...u16(value), ...u16(value >>> 16)];
}

function u64(value: bigint): readonly number[] {
  return [...u32(Number(value & 0xffffffffn)), ...u32(Number((value >> 32n) & 0xffffffffn))];
}

function rest(block: IvrsBlockFields): readonly number[] {
  switch (block.kind) {
    case "ivhd":
      return [
        ...u16(block.deviceId),
        ...u16(block.capabilityOffset),
        ...u64(block.base),
        ...u16(block.segment),
        ...u16(block.info),
        ...u32(block.features),
        ...(block.type === 0x10 ? [] : [...u64(block.efr), ...u64(block.efr2)]),
        ...block.entries.flatMap((entry) => ivhdEntryBytes(entry)),
      ];
    case "ivmd":
      return [
        ...u16(block.deviceId),
        ...u16(block.auxiliary),
        ...u64(block.reserved),
        ...u64(block.start),
        ...u64(block.memoryLength),
        ...block.tail,
      ];
    default:
      return [...block.data];
  }
}

/**
 * Writes an IVRS, with lengths and checksum. The way back from `decodeIvrs`.
 *
 * @throws InputError for a block above 64 KiB or a text that does not fit
 */
export function encodeIvrs(table: IvrsFields): Uint8Array {
  const body: number[] = [...u32(table.info), ...u64(table.reserved ?? 0n)];
  for (const block of table.blocks) {
    const bytes = rest(block);
    const length = bytes.length + 4;
    if (length > MOST) {
      const at = body.length - (IVRS_HEADER_BYTES - ACPI_HEADER_BYTES);
      throw new InputError(
        `block type 0x${block.type.toString(16)} at 0x${at.toString(16)} has ${length} bytes, at most ${MOST} fit`,
      );
    }
    body.push(block.type, block.flags, ...u16(length), ...bytes);
  }
  return writeAcpiTable({ revision: 2, ...table.header, signature: "IVRS" }, Uint8Array.from(body));
}
