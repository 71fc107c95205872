import type { LayoutCodec, LayoutFields } from "@iommu-lab/core";
import { InputError, JsonFields, otherBytes, putOtherBytes } from "@iommu-lab/core";
import type { NewDmarStructure, NewDmarTable } from "./dmar-encode.ts";
import { encodeDmar } from "./dmar-encode.ts";
import { describeDmar } from "./dmar-text.ts";
import type { DeviceScope, DmarStructure, DmarTable } from "./dmar.ts";
import { decodeDmar } from "./dmar.ts";

const CHECKSUM = 9;

/** A DMAR for `iommu-lab decode dmar` and `encode dmar`. */
export const dmarCodec: LayoutCodec = {
  kind: "dmar",
  title: "DMA remapping table (ACPI DMAR)",
  source: "VT-d 5.10 §8",
  example:
    "444d415292000000019d494f4d4d554c494f4d4d554c414201000000494c4142010000002f0100000000000000000000" +
    "00002200000000000000d9fe000000000108000000000200020a000000001c00030000001800010000000010d9fe0000" +
    "00000308000002f01f0001002000000000000000809b00000000ffffff9f000000000108000000000200020008000100" +
    "0000",
  decode(bytes, file) {
    const table = decodeDmar(bytes, file);
    if (bytes.length !== table.header.length) {
      throw new InputError(`dmar: ${bytes.length} bytes given, the table's length is ${table.header.length}`, {
        ...(file === undefined ? {} : { file }),
        offset: 4,
      });
    }
    return { fields: fieldsOf(table, bytes), meaning: describeDmar(table) };
  },
  encode(given) {
    const fields = new JsonFields(given, "dmar");
    const table = tableOf(fields);
    const others = fields.objects("otherBytes");
    const checksum = fields.has("checksum") ? fields.number("checksum", 8) : undefined;
    fields.done();
    const bytes = encodeDmar(table);
    putOtherBytes(bytes, others);
    bytes[CHECKSUM] = 0;
    const sum = bytes.reduce((total, one) => (total + one) & 0xff, 0);
    bytes[CHECKSUM] = checksum ?? (256 - sum) & 0xff;
    return bytes;
  },
};

function fieldsOf(table: DmarTable, bytes: Uint8Array): LayoutFields {
  const { header, hostAddressWidth, flags, structures } = table;
  const runs = otherBytes(bytes, encodeDmar(table), CHECKSUM);
  return {
    revision: header.revision,
    oemId: header.oemId,
    oemTableId: header.oemTableId,
    oemRevision: header.oemRevision,
    creatorId: header.creatorId,
    creatorRevision: header.creatorRevision,
    hostAddressWidth,
    flags,
    structures: structures.map((structure) => structureFields(structure)),
    ...(header.checksumValid ? {} : { checksum: header.checksum }),
    ...(runs.length === 0 ? {} : { otherBytes: runs }),
  };
}

function structureFields({ offset: _offset, ...rest }: DmarStructure): LayoutFields {
  if (!("scopes" in rest)) {
    return { ...rest };
  }
  const scopes = rest.scopes.map(({ path, ...scope }) => ({ ...scope, path: path.map((hop) => ({ ...hop })) }));
  return { ...rest, scopes };
}

function tableOf(fields: JsonFields): NewDmarTable {
  return {
    header: {
      revision: fields.number("revision", 8, 1),
      oemId: fields.text("oemId", "IOMMUL"),
      oemTableId: fields.text("oemTableId", "IOMMULAB"),
      oemRevision: fields.number("oemRevision", 32, 1),
      creatorId: fields.text("creatorId", "ILAB"),
      creatorRevision: fields.number("creatorRevision", 32, 1),
    },
    hostAddressWidth: fields.number("hostAddressWidth", 9, 48),
    flags: fields.number("flags", 8),
    structures: fields.objects("structures").map((structure) => structureOf(structure)),
  };
}

function structureOf(fields: JsonFields): NewDmarStructure {
  const kind = fields.text("kind");
  const length = fields.has("length") ? { length: fields.number("length", 16) } : {};
  const structure = bodyOf(fields, kind);
  fields.done();
  return { ...structure, ...length };
}

function bodyOf(fields: JsonFields, kind: string): NewDmarStructure {
  switch (kind) {
    case "drhd":
      return {
        kind,
        flags: fields.number("flags", 8),
        size: fields.number("size", 8),
        segment: fields.number("segment", 16),
        base: fields.number("base", 64),
        scopes: scopesOf(fields),
      };
    case "rmrr":
      return {
        kind,
        reserved: fields.number("reserved", 16),
        segment: fields.number("segment", 16),
        base: fields.number("base", 64),
        limit: fields.number("limit", 64),
        scopes: scopesOf(fields),
      };
    case "atsr":
    case "satc":
    case "sidp":
      return {
        kind,
        flags: fields.number("flags", kind === "sidp" ? 0 : 8),
        reserved: fields.number("reserved", kind === "sidp" ? 16 : 8),
        segment: fields.number("segment", 16),
        scopes: scopesOf(fields),
      };
    case "rhsa":
      return {
        kind,
        reserved: fields.number("reserved", 32),
        base: fields.number("base", 64),
        proximityDomain: fields.number("proximityDomain", 32),
      };
    case "andd":
      return {
        kind,
        reserved: fields.number("reserved", 24),
        deviceNumber: fields.number("deviceNumber", 8),
        deviceName: fields.text("deviceName"),
      };
    case "unknown":
      return { kind, type: fields.number("type", 16) };
    default:
      throw fields.error(
        "kind",
        `is ${JSON.stringify(kind)}, expected drhd, rmrr, atsr, rhsa, andd, satc, sidp or unknown`,
      );
  }
}

function scopesOf(fields: JsonFields): readonly DeviceScope[] {
  return fields.objects("scopes").map((scope) => {
    const read: DeviceScope = {
      type: scope.number("type", 8),
      flags: scope.number("flags", 8),
      reserved: scope.number("reserved", 8),
      enumerationId: scope.number("enumerationId", 8),
      startBus: scope.number("startBus", 8),
      path: scope.objects("path").map((hop) => {
        const one = { device: hop.number("device", 8), function: hop.number("function", 8) };
        hop.done();
        return one;
      }),
    };
    scope.done();
    return read;
  });
}
