import type { AcpiReader } from "@iommu-lab/core";

/** One field of a CEDT structure. */
export interface CedtField {
  /** Name as `decode` prints it. */
  readonly name: string;
  /** Byte offset from the structure's start. */
  readonly at: number;
  /** Bytes. */
  readonly size: 1 | 2 | 4 | 8;
  /** Reserved: shown only when it is not zero. */
  readonly reserved?: true;
  /** The structure may end before it. */
  readonly optional?: true;
}

/** One kind of CEDT structure: fixed fields, then a list of equal elements up to its end. */
export interface CedtLayout {
  /** The specification's acronym. */
  readonly kind: "CHBS" | "CFMWS" | "CXIMS" | "RDPAS";
  /** Value of the type byte. */
  readonly type: number;
  /** The fixed fields behind type, reserved byte and length. */
  readonly fields: readonly CedtField[];
  /** Bytes of the part that must be there. */
  readonly bytes: number;
  /** The list at the end. */
  readonly list?: {
    /** Its name. */
    readonly name: string;
    /** Bytes of an element. */
    readonly size: 4 | 8;
  };
}

/** Bytes of type, reserved byte and length. */
export const STRUCTURE_HEADER_BYTES = 4;

const field = (name: string, at: number, size: CedtField["size"]): CedtField => ({ name, at, size });
const reserved = (name: string, at: number, size: CedtField["size"]): CedtField => ({
  name,
  at,
  size,
  reserved: true,
});

/**
 * The structures of the CXL Early Discovery Table. Source: CXL 3.1 §9.18.1, Linux 7.2 include/acpi/actbl1.h. Of RDPAS,
 * ACPICA's disassembler has the address before the protocol, Linux's header behind it; Linux reads neither, and the
 * stated length of 16 bytes has room for the address alone.
 */
export const CEDT_LAYOUTS: readonly CedtLayout[] = [
  {
    kind: "CHBS",
    type: 0,
    bytes: 32,
    fields: [
      field("uid", 4, 4),
      field("cxlVersion", 8, 4),
      reserved("reserved12", 12, 4),
      field("base", 16, 8),
      field("size", 24, 8),
    ],
  },
  {
    kind: "CFMWS",
    type: 1,
    bytes: 36,
    fields: [
      reserved("reserved4", 4, 4),
      field("base", 8, 8),
      field("size", 16, 8),
      field("encodedWays", 24, 1),
      field("arithmetic", 25, 1),
      reserved("reserved26", 26, 2),
      field("encodedGranularity", 28, 4),
      field("restrictions", 32, 2),
      field("qtgId", 34, 2),
    ],
    list: { name: "targets", size: 4 },
  },
  {
    kind: "CXIMS",
    type: 2,
    bytes: 8,
    fields: [reserved("reserved4", 4, 2), field("encodedGranularity", 6, 1), field("count", 7, 1)],
    list: { name: "xorMaps", size: 8 },
  },
  {
    kind: "RDPAS",
    type: 3,
    bytes: 16,
    fields: [
      field("segment", 4, 2),
      field("bdf", 6, 2),
      field("address", 8, 8),
      { name: "protocol", at: 16, size: 1, optional: true },
    ],
  },
];

/** A structure as its bytes say it, without any judgement. */
export interface RawStructure {
  /** Byte offset in the table. */
  readonly offset: number;
  /** The type byte. */
  readonly type: number;
  /** The length it states. */
  readonly length: number;
  /** Its layout; undefined for a type that is not known. */
  readonly layout: CedtLayout | undefined;
  /** The reserved byte behind the type. */
  readonly reserved: number;
  /** Fields by name. */
  readonly values: ReadonlyMap<string, bigint>;
  /** The list at the end. */
  readonly list: readonly bigint[];
  /** Bytes of no field, up to the stated length. */
  readonly rest: Uint8Array;
}

/** An unsigned little-endian integer of a table. */
function read(reader: AcpiReader, at: number, size: number): bigint {
  switch (size) {
    case 1:
      return BigInt(reader.u8(at));
    case 2:
      return BigInt(reader.u16(at));
    case 4:
      return BigInt(reader.u32(at));
    default:
      return reader.u64(at);
  }
}

/**
 * Reads the structures behind the header of a table, each as long as it says; unknown types are kept as bytes.
 *
 * @throws InputError with the offset for a length that leaves the table, is too short for its type, or makes no progress
 */
export function* rawStructures(reader: AcpiReader, from: number): Generator<RawStructure> {
  let offset = from;
  while (offset < reader.length) {
    const type = reader.u8(offset);
    const length = reader.u16(offset + 2);
    const layout = CEDT_LAYOUTS.find((one) => one.type === type);
    const least = layout?.bytes ?? STRUCTURE_HEADER_BYTES;
    const most = reader.length - offset;
    if (length < least || length > most) {
      const what = layout?.kind ?? `structure of type ${type}`;
      throw reader.error(offset + 2, `length of the ${what} is ${length}, expected ${least} to ${most}`);
    }
    yield rawStructure(reader, offset, type, length, layout);
    offset += length;
  }
}

function rawStructure(
  reader: AcpiReader,
  offset: number,
  type: number,
  length: number,
  layout: CedtLayout | undefined,
): RawStructure {
  const values = new Map<string, bigint>();
  const list: bigint[] = [];
  let end = STRUCTURE_HEADER_BYTES;
  for (const { name, at, size } of layout?.fields ?? []) {
    if (at + size <= length) {
      values.set(name, read(reader, offset + at, size));
      end = at + size;
    }
  }
  const { size: step } = layout?.list ?? { size: Infinity };
  for (; end + step <= length; end += step) {
    list.push(read(reader, offset + end, step));
  }
  const rest = reader.slice(offset + end, length - end);
  return { offset, type, length, layout, reserved: reader.u8(offset + 1), values, list, rest };
}
