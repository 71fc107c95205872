import {
  ACPI_HEADER_BYTES,
  type AcpiHeader,
  InputError,
  type LayoutCodec,
  type LayoutFields,
  type LayoutValue,
  readAcpiTable,
  shown,
  writeAcpiTable,
} from "@iommu-lab/core";
import { type CedtStructure, parseCedt } from "./cedt.ts";
import {
  CEDT_LAYOUTS,
  type CedtLayout,
  type RawStructure,
  STRUCTURE_HEADER_BYTES,
  rawStructures,
} from "./cedt-layout.ts";

const TEXTS = ["oemId", "oemTableId", "creatorId"] as const;
const NUMBERS = ["revision", "oemRevision", "creatorRevision"] as const;

/** The CXL Early Discovery Table as bytes and as fields. */
const cedtCodec: LayoutCodec = {
  kind: "cedt",
  title: "CXL Early Discovery Table",
  source: "CXL 3.1 §9.18",
  example:
    "43454454 6c000000 01 d9 494f4d4d554c 494f4d4d554c4142 01000000 494c4142 01000000" +
    "00002000 00000000 01000000 00000000 000000ec00000000 0000010000000000" +
    "01002800 00000000 0000000010000000 0000000004000000 00 00 0000 00000000 0c00 0000 00000000",
  decode(bytes, file) {
    const { header, reader } = readAcpiTable(bytes, "CEDT", file);
    if (bytes.length > header.length) {
      throw reader.error(header.length, `${bytes.length - header.length} bytes follow the end of the table`);
    }
    const structures = [...rawStructures(reader, ACPI_HEADER_BYTES)].map(fieldsOf);
    const { structures: typed, warnings } = parseCedt(bytes, file);
    return {
      fields: { header: headerFields(header), structures },
      meaning: [
        ...typed.map(sentence),
        ...warnings.map(({ offset, what }) => `Warning at offset 0x${offset.toString(16)}: ${what}.`),
      ],
    };
  },
  encode({ header = {}, structures = [], ...unknown }) {
    refuse("the table", Object.keys(unknown));
    if (!isFields(header) || !Array.isArray(structures)) {
      throw new InputError("cedt: header must be an object and structures a list");
    }
    const list = structures as readonly LayoutValue[];
    const body = list.flatMap((one, index) => structureBytes(one, `structures[${index}]`));
    const { checksum, ...rest } = header;
    const bytes = writeAcpiTable({ signature: "CEDT", ...acpiHeader(rest) }, Uint8Array.from(body));
    if (checksum !== undefined) {
      bytes[9] = Number(integer(checksum, 1, "header.checksum"));
    }
    return bytes;
  },
};

/** Layouts of CXL, for `decode` and `encode`. */
export const cxlLayouts: readonly LayoutCodec[] = [cedtCodec];

function headerFields(header: AcpiHeader): LayoutFields {
  return {
    revision: header.revision,
    oemId: header.oemId,
    oemTableId: header.oemTableId,
    oemRevision: header.oemRevision,
    creatorId: header.creatorId,
    creatorRevision: header.creatorRevision,
    ...(header.checksumValid ? {} : { checksum: header.checksum }),
  };
}

function acpiHeader(fields: LayoutFields): Omit<Parameters<typeof writeAcpiTable>[0], "signature"> {
  const known = new Set<string>([...TEXTS, ...NUMBERS]);
  refuse(
    "header",
    Object.keys(fields).filter((name) => !known.has(name)),
  );
  const texts = TEXTS.flatMap((name) => {
    const value = fields[name] ?? "";
    if (typeof value !== "string") {
      throw new InputError(`cedt: header.${name} is ${JSON.stringify(value)}, expected a text`);
    }
    return [[name, value] as const];
  });
  const numbers = NUMBERS.map(
    (name) => [name, Number(integer(fields[name] ?? 0, name === "revision" ? 1 : 4, `header.${name}`))] as const,
  );
  return Object.fromEntries<string | number>([...texts, ...numbers]);
}

function fieldsOf(raw: RawStructure): LayoutFields {
  const { layout, values, list, rest, reserved } = raw;
  const fields: Record<string, LayoutValue> = { type: layout?.kind ?? raw.type };
  if (reserved !== 0) {
    fields["reserved1"] = reserved;
  }
  for (const { name, reserved: isReserved } of layout?.fields ?? []) {
    const value = values.get(name);
    if (value !== undefined && (isReserved !== true || value !== 0n)) {
      fields[name] = shown(value);
    }
  }
  if (layout?.list !== undefined) {
    fields[layout.list.name] = shown(list);
  }
  if (rest.length > 0) {
    fields["rest"] = shown(rest);
  }
  return fields;
}

function structureBytes(value: LayoutValue, where: string): number[] {
  if (!isFields(value)) {
    throw new InputError(`cedt: ${where} is ${JSON.stringify(value)}, expected an object`);
  }
  const { type, reserved1 = 0, rest = "", ...fields } = value;
  const layout = CEDT_LAYOUTS.find((one) => one.kind === type);
  const number = layout?.type ?? Number(integer(type ?? -1, 1, `${where}.type`));
  const body = layout === undefined ? [] : bodyBytes(layout, fields, where);
  const names = new Set([...(layout?.fields.map(({ name }) => name) ?? []), layout?.list?.name]);
  refuse(
    where,
    Object.keys(fields).filter((name) => !names.has(name)),
  );
  body.push(...restBytes(rest, where));
  const length = STRUCTURE_HEADER_BYTES + body.length;
  if (length > 0xffff) {
    throw new InputError(`cedt: ${where} has ${length} bytes, at most 65535 fit`);
  }
  return [number, Number(integer(reserved1, 1, `${where}.reserved1`)), length & 0xff, length >>> 8, ...body];
}

function restBytes(rest: LayoutValue, where: string): number[] {
  if (typeof rest !== "string" || !/^(?:[0-9a-f]{2})*$/iu.test(rest)) {
    throw new InputError(`cedt: ${where}.rest is ${JSON.stringify(rest)}, expected hexadecimal digits`);
  }
  return (rest.match(/../gu) ?? []).map((pair) => Number.parseInt(pair, 16));
}

function bodyBytes(layout: CedtLayout, fields: LayoutFields, where: string): number[] {
  const body: number[] = [];
  for (const { name, size, optional } of layout.fields) {
    const value = fields[name];
    if (value !== undefined || optional !== true) {
      body.push(...littleEndian(integer(value ?? 0, size, `${where}.${name}`), size));
    }
  }
  if (layout.list !== undefined) {
    const { name, size } = layout.list;
    const list = fields[name] ?? [];
    if (!Array.isArray(list)) {
      throw new InputError(`cedt: ${where}.${name} is ${JSON.stringify(list)}, expected a list`);
    }
    for (const [index, value] of (list as readonly LayoutValue[]).entries()) {
      body.push(...littleEndian(integer(value, size, `${where}.${name}[${index}]`), size));
    }
  }
  return body;
}

function integer(value: LayoutValue, size: number, where: string): bigint {
  const isNumber = typeof value === "number" && Number.isSafeInteger(value);
  const isText = typeof value === "string" && /^0x[0-9a-f]{1,16}$/iu.test(value);
  const parsed = isNumber || isText ? BigInt(value) : -1n;
  if (parsed < 0n || parsed >= 1n << BigInt(8 * size)) {
    throw new InputError(`cedt: ${where} is ${JSON.stringify(value)}, expected an integer of ${8 * size} bits`);
  }
  return parsed;
}

function littleEndian(value: bigint, size: number): number[] {
  return Array.from({ length: size }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}

function refuse(where: string, names: readonly string[]): void {
  if (names.length > 0) {
    throw new InputError(`cedt: ${where} has no field ${names.join(", ")}`);
  }
}

function isFields(value: LayoutValue): value is LayoutFields {
  return typeof value === "object" && !Array.isArray(value);
}

/** One structure in plain words. */
function sentence(one: CedtStructure): string {
  switch (one.kind) {
    case "CHBS": {
      const version = one.cxlVersion === 0 ? "CXL 1.1, RCRB" : "CXL 2.0 or later, component registers";
      return `Host bridge with _UID ${one.uid} (${version}) has its registers at ${address(one.base)}.`;
    }
    case "CFMWS": {
      const { restrictions } = one;
      const uses = Object.entries(restrictions).flatMap(([name, on]) => (on ? [name] : []));
      const ways = one.ways === 1 ? "" : `, ${one.ways ?? "?"} ways of ${one.granularity ?? "?"} bytes`;
      const end = one.base + one.size - 1n;
      return `Window ${address(one.base)} to ${address(end)} leads to host bridge ${one.targets.join(", ")}${ways}; uses: ${uses.join(", ") || "none"}.`;
    }
    case "CXIMS":
      return `XOR interleave of windows of ${one.granularity ?? "?"} bytes: ${one.xorMaps.map(address).join(", ")}.`;
    case "RDPAS":
      return `Event collector ${one.segment.toString(16).padStart(4, "0")}:${one.bdf.toString(16).padStart(4, "0")} hears of the downstream port at ${address(one.address)}.`;
    default:
      return `A structure of type ${one.type}, ${one.length} bytes, is skipped.`;
  }
}

function address(value: bigint): string {
  return `0x${value.toString(16)}`;
}
