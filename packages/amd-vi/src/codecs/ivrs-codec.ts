import type { DecodedLayout, LayoutCodec, LayoutFields } from "@iommu-lab/core";
import { InputError, JsonFields, hex, shown } from "@iommu-lab/core";
import type { IvhdEntry } from "../firmware/ivhd-entry.ts";
import { IVHD_ENTRY } from "../firmware/ivhd-entry.ts";
import type { IvrsBlockFields } from "../firmware/ivrs-encode.ts";
import { encodeIvrs } from "../firmware/ivrs-encode.ts";
import type { IvrsBlock, IvrsTable } from "../firmware/ivrs.ts";
import { IVHD_TYPES, IVMD_TYPES, decodeIvrs } from "../firmware/ivrs.ts";
import { linuxIvrs } from "../firmware/linux-view.ts";

const HEADER_TEXTS = ["oemId", "oemTableId", "creatorId"] as const;

/** Fields that follow from where a thing stands, and are not shown. */
function without(value: object, ...names: readonly string[]): LayoutFields {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !names.includes(name))
      .map(([name, item]) => [name, shown(item)]),
  );
}

function fieldsOfBlock(block: IvrsBlock): LayoutFields {
  if (block.kind !== "ivhd") {
    return without(block, "kind", "offset", "length");
  }
  const absent = block.type === 0x10 ? ["efr", "efr2"] : [];
  const entries = block.entries.map((entry) => without(entry, "kind", "offset"));
  return { ...without(block, "kind", "offset", "length", "entries", ...absent), entries };
}

function fieldsOf(table: IvrsTable, bytes: Uint8Array): LayoutFields {
  const { header, info, reserved, blocks } = table;
  const fields = {
    header: without(header, "signature", "length", "checksum", "checksumValid"),
    info,
    reserved: shown(reserved),
    blocks: blocks.map((block) => fieldsOfBlock(block)),
  };
  const rest = differences(encode(fields), bytes);
  return rest.length === 0 ? fields : { ...fields, patches: rest };
}

/** Bytes that the fields do not give back: a wrong checksum, odd characters. */
function differences(own: Uint8Array, bytes: Uint8Array): LayoutFields[] {
  return Array.from(bytes, (value, offset): LayoutFields => ({ offset, value })).filter(
    ({ offset, value }) => own[Number(offset)] !== value,
  );
}

function entryOf(fields: JsonFields): IvhdEntry {
  const type = fields.number("type", 8);
  const base = { type, offset: 0, deviceId: fields.number("deviceId", 16), setting: fields.number("setting", 8) };
  const entry = ((): IvhdEntry => {
    switch (type) {
      case IVHD_ENTRY.aliasSelect:
      case IVHD_ENTRY.aliasStart: {
        const [reserved, reserved2] = [fields.number("reserved", 8), fields.number("reserved2", 8)];
        return { kind: "alias", ...base, reserved, sourceId: fields.number("sourceId", 16), reserved2 };
      }
      case IVHD_ENTRY.extendedSelect:
      case IVHD_ENTRY.extendedStart:
        return { kind: "extended", ...base, extended: fields.number("extended", 32) };
      case IVHD_ENTRY.special: {
        const [handle, variety] = [fields.number("handle", 8), fields.number("variety", 8)];
        return { kind: "special", ...base, handle, sourceId: fields.number("sourceId", 16), variety };
      }
      case IVHD_ENTRY.acpiHid: {
        const ids = { hid: fields.text("hid"), cid: fields.text("cid") };
        return { kind: "acpiHid", ...base, ...ids, uidFormat: fields.number("uidFormat", 8), uid: fields.bytes("uid") };
      }
      default:
        return type <= IVHD_ENTRY.end
          ? { kind: "short", ...base }
          : { kind: "unknown", ...base, data: fields.bytes("data") };
    }
  })();
  fields.done();
  return entry;
}

function blockOf(fields: JsonFields): IvrsBlockFields {
  const base = { type: fields.number("type", 8), flags: fields.number("flags", 8) };
  if (!IVHD_TYPES.includes(base.type) && !IVMD_TYPES.includes(base.type)) {
    return { kind: "unknown", ...base, data: fields.bytes("data") };
  }
  const deviceId = fields.number("deviceId", 16);
  if (IVMD_TYPES.includes(base.type)) {
    const memory = { start: fields.big("start", 64), memoryLength: fields.big("memoryLength", 64) };
    const reserved = fields.big("reserved", 64);
    const auxiliary = fields.number("auxiliary", 16);
    return { kind: "ivmd", ...base, deviceId, auxiliary, reserved, ...memory, tail: fields.bytes("tail") };
  }
  return {
    kind: "ivhd",
    ...base,
    deviceId,
    capabilityOffset: fields.number("capabilityOffset", 16),
    base: fields.big("base", 64),
    segment: fields.number("segment", 16),
    info: fields.number("info", 16),
    features: fields.number("features", 32),
    efr: base.type === 0x10 ? 0n : fields.big("efr", 64),
    efr2: base.type === 0x10 ? 0n : fields.big("efr2", 64),
    entries: fields.objects("entries").map((entry) => entryOf(entry)),
  };
}

function encode(given: LayoutFields): Uint8Array {
  const fields = new JsonFields(given, "ivrs");
  const header = fields.object("header");
  const texts = Object.fromEntries(HEADER_TEXTS.map((name) => [name, header.text(name)]));
  const numbers = {
    revision: header.number("revision", 8),
    oemRevision: header.number("oemRevision", 32),
    creatorRevision: header.number("creatorRevision", 32),
  };
  header.done();
  const blocks = fields.objects("blocks").map((one) => {
    const block = blockOf(one);
    one.done();
    return block;
  });
  const info = fields.number("info", 32);
  const bytes = encodeIvrs({ header: { ...texts, ...numbers }, info, reserved: fields.big("reserved", 64), blocks });
  const result = patched(bytes, fields);
  fields.done();
  return result;
}

/** Puts the bytes of `patches` in place. @throws InputError for an offset beyond the table */
function patched(bytes: Uint8Array, fields: JsonFields): Uint8Array {
  for (const patch of fields.objects("patches")) {
    const offset = patch.number("offset", 32);
    if (offset >= bytes.length) {
      throw new InputError(`ivrs: patch at ${hex(offset)}, the table has ${bytes.length} bytes`);
    }
    bytes[offset] = patch.number("value", 8);
    patch.done();
  }
  return bytes;
}

function meaning(table: IvrsTable): string[] {
  const view = linuxIvrs(table);
  if (view.refusal !== "") {
    return [`Linux does without the IOMMU: ${view.refusal}.`, ...table.warnings];
  }
  const units = view.units.map(({ base, deviceId, devices, efr }) => {
    const ranges = devices.map(({ first, last }) => (first === last ? hex(first) : `${hex(first)}-${hex(last)}`));
    const features = efr === undefined ? "the EFR of its registers counts" : `EFR 0x${efr.efr.toString(16)}`;
    return `Unit ${hex(deviceId)} at ${hex(base)} serves ${ranges.join(", ")}; ${features}.`;
  });
  const aliases = new Set(view.aliases.map(({ alias }) => alias));
  const memory = view.unityMaps.map(
    ({ first, last, page, count, read, write }) =>
      `Devices ${hex(first)}-${hex(last)} reach ${count} pages at ${hex(page * 4096)} 1:1${read ? ", read" : ""}${write ? ", write" : ""}.`,
  );
  return [
    `Linux uses the blocks of type 0x${view.targetType.toString(16)}; device IDs up to ${hex(view.lastDeviceId)}.`,
    ...units,
    ...(aliases.size === 0
      ? []
      : [`${view.aliases.length} devices use the IDs of ${[...aliases].map(hex).join(", ")}.`]),
    ...memory,
    ...table.warnings,
  ];
}

/** The firmware table. */
export const ivrsCodec: LayoutCodec = {
  kind: "ivrs",
  title: "ACPI table of AMD-Vi (IVRS)",
  source: "AMD IOMMU specification §5.2",
  example:
    "495652536800000002c3494f4d4d554c494f4d4d554c414201000000494c414201000000433020000000000000000000" +
    "1130380002004000000020fd000000000000000000000000fa4a25a2ef776524" +
    "00000000000000000303000004feff00480000d720a00001",
  decode(bytes, file): DecodedLayout {
    const table = decodeIvrs(bytes, file);
    if (bytes.length > table.header.length) {
      throw new InputError(
        `ivrs: ${bytes.length} bytes given, the table has ${table.header.length}`,
        file === undefined ? { offset: table.header.length } : { file, offset: table.header.length },
      );
    }
    return { fields: fieldsOf(table, bytes), meaning: meaning(table) };
  },
  encode,
};
