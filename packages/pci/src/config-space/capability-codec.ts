import {
  type DecodedLayout,
  InputError,
  type LayoutCodec,
  type LayoutFields,
  type LayoutValue,
  hex,
} from "@iommu-lab/core";
import { CXL_VENDOR, type CapabilityKind, capabilityKinds } from "./capability-kinds.ts";
import { capabilityLayout } from "./capability-layouts.ts";
import { meaningOf } from "./capability-meaning.ts";
import { ConfigBuilder } from "./config-builder.ts";
import { decodeLayout } from "./decode-capability.ts";
import { coveredBits, encodeLayout, layoutLength } from "./encode-capability.ts";
import { DVSEC_LAYOUT } from "./dvsec-layouts.ts";
import { EXT_CAP_ID_DVSEC, EXT_CAP_ID_VSEC } from "./extended-layouts.ts";
import { TYPE0_HEADER, TYPE1_HEADER } from "./header-layout.ts";
import { type CapabilityLayout } from "./register-layout.ts";
import { CAP_ID_EXP } from "./standard-layouts.ts";

/** Where a capability stands while it is decoded by itself, and where its space ends. */
interface Place {
  readonly at: number;
  readonly limit: number;
  /** Bytes before its registers. */
  readonly header: number;
}

const STANDARD: Place = { at: 0x40, limit: 0x100, header: 2 };
const EXTENDED: Place = { at: 0x100, limit: 0x1000, header: 4 };
const HEADER: Place = { at: 0, limit: 0x40, header: 0 };

/** A function around the capability: what its layout may look at beyond itself. */
function surroundings(kind: CapabilityKind): ConfigBuilder {
  const builder = new ConfigBuilder();
  builder.set8(0x0e, kind.headerType ?? 0);
  if (kind.extended) {
    // A PCI Express capability with a link of sixteen lanes, so that nothing that is given is left out.
    builder.set8(0x34, 0x40);
    builder.set16(0x40, CAP_ID_EXP);
    builder.set16(0x42, 0x0002 | ((kind.portType ?? 0) << 4));
    builder.set32(0x4c, 0x0000_0105);
  }
  return builder;
}

/** Names of the fields that come from the list header, not from registers. */
const HEADER_FIELDS: ReadonlySet<string> = new Set(["id", "version", "next", "bytes", "reserved"]);

function codecOf(kind: CapabilityKind): LayoutCodec {
  const place = kind.extended ? EXTENDED : STANDARD;
  const codec: LayoutCodec = {
    kind: kind.kind,
    title: kind.title,
    source: kind.source,
    get example(): string {
      return kind.example ?? digits(codec.encode({}));
    },
    decode(bytes, file) {
      const config = surroundings(kind);
      load(config, bytes, place, kind.kind, file);
      expectIds(kind, config, place.at, file);
      const layout = layoutAt(kind, config, place.at);
      const header = kind.extended
        ? {
            id: kind.id,
            version: (config.read16(place.at + 2) & 0xf) >>> 0,
            next: config.read16(place.at + 2) >>> 4,
          }
        : { id: kind.id, next: config.read8(place.at + 1) };
      return decoded(config, layout, place, bytes.length, header);
    },
    encode(fields) {
      const config = surroundings(kind);
      const number = (name: string, most: number, otherwise: number): number =>
        whole(kind.kind, name, fields[name] ?? otherwise, most);
      if (number("id", 0xffff, kind.id) !== kind.id) {
        throw new InputError(`${kind.kind}: id is ${JSON.stringify(fields["id"])}, expected ${hex(kind.id)}`);
      }
      if (kind.extended) {
        config.set16(place.at, kind.id);
        config.set16(place.at + 2, number("version", 0xf, kind.version) | (number("next", 0xfff, 0) << 4));
      } else {
        config.set8(place.at, kind.id);
        config.set8(place.at + 1, number("next", 0xff, 0));
      }
      presetOwnHeader(kind, config, place.at);
      const bytes = encoded(kind.kind, config, layoutAt(kind, config, place.at), place, fields);
      expectIds(kind, config, place.at, undefined);
      return bytes;
    },
  };
  return codec;
}

function headerCodec(kind: string, title: string, source: string, layout: CapabilityLayout): LayoutCodec {
  const type = layout === TYPE1_HEADER ? 1 : 0;
  return {
    kind,
    title,
    source,
    sizes: [64],
    example: `86 80 92 15 06 00 10 00 00 00 ${type === 1 ? "04 06" : "00 02"} 00 00 0${type} 00${" 00".repeat(48)}`,
    decode(bytes, file) {
      const config = new ConfigBuilder();
      if (bytes.length !== 64) {
        throw new InputError(`${kind}: ${bytes.length} bytes given, expected 64`, file === undefined ? {} : { file });
      }
      load(config, bytes, HEADER, kind, file);
      if ((config.read8(0x0e) & 0x7f) !== type) {
        throw new InputError(`${kind}: header type ${hex(config.read8(0x0e) & 0x7f)}, expected ${type}`, {
          ...(file === undefined ? {} : { file }),
          offset: 0x0e,
        });
      }
      return decoded(config, layout, HEADER, 64, {});
    },
    encode(fields) {
      const config = new ConfigBuilder();
      config.set8(0x0e, type);
      const bytes = encoded(kind, config, layout, HEADER, fields);
      if ((config.read8(0x0e) & 0x7f) !== type) {
        throw new InputError(`${kind}: headerType.layout is ${config.read8(0x0e) & 0x7f}, expected ${type}`);
      }
      return bytes;
    },
  };
}

/** Copies the bytes given to where the capability stands. */
function load(config: ConfigBuilder, bytes: Uint8Array, place: Place, kind: string, file: string | undefined): void {
  const most = place.limit - place.at;
  if (bytes.length < Math.max(place.header, 2) || bytes.length > most) {
    throw new InputError(
      `${kind}: ${bytes.length} bytes given, expected ${place.header} to ${most}`,
      file === undefined ? {} : { file },
    );
  }
  for (let index = 0; index < bytes.length; index += 1) {
    config.set8(place.at + index, bytes[index] ?? 0);
  }
}

/** The ids by which the kind is told. @throws InputError with the offset in the capability */
function expectIds(kind: CapabilityKind, config: ConfigBuilder, at: number, file: string | undefined): void {
  const expectAt = (what: string, offset: number, found: number, wanted: number): void => {
    if (found !== wanted) {
      throw new InputError(`${kind.kind}: ${what} is ${hex(found)}, expected ${hex(wanted)}`, {
        ...(file === undefined ? {} : { file }),
        offset,
      });
    }
  };
  expectAt("capability id", 0, kind.extended ? config.read16(at) : config.read8(at), kind.id);
  if (kind.cxl !== undefined) {
    expectAt("DVSEC vendor", 4, config.read16(at + 4), CXL_VENDOR);
    expectAt("DVSEC id", 8, config.read16(at + 8), kind.cxl);
  }
}

/** Puts in what a capability with its own header has in any case: vendor and id, length. */
function presetOwnHeader(kind: CapabilityKind, config: ConfigBuilder, at: number): void {
  if (kind.id === EXT_CAP_ID_DVSEC || kind.id === EXT_CAP_ID_VSEC) {
    config.set16(at + 6, (kind.length ?? 12) << 4);
  }
  if (kind.cxl !== undefined) {
    config.set16(at + 4, CXL_VENDOR);
    config.set16(at + 8, kind.cxl);
  }
}

function layoutAt(kind: CapabilityKind, config: ConfigBuilder, offset: number): CapabilityLayout {
  // By this kind's name, a DVSEC of any vendor has no more than its header, also where it is one of CXL.
  if (kind.id === EXT_CAP_ID_DVSEC && kind.cxl === undefined) {
    return DVSEC_LAYOUT;
  }
  return capabilityLayout(config, { id: kind.id, offset, extended: kind.extended }) ?? { registers: [] };
}

function decoded(
  config: ConfigBuilder,
  layout: CapabilityLayout,
  { at, limit, header }: Place,
  length: number,
  listHeader: LayoutFields,
): DecodedLayout {
  const fields = decodeLayout(config, layout, at, at + length);
  const covered = coveredBits(layout, config, at, length);
  const reserved: Record<string, number> = {};
  for (let dword = 0; dword < length; dword += 4) {
    let rest = 0;
    for (let byte = Math.max(dword, header); byte < Math.min(dword + 4, length); byte += 1) {
      rest |= (config.read8(at + byte) & ~(covered[byte] ?? 0)) << (8 * (byte - dword));
    }
    if (rest !== 0) {
      reserved[hex(dword)] = rest >>> 0;
    }
  }
  const natural = layoutLength(layout, config, at, limit);
  return {
    fields: {
      ...listHeader,
      ...fields,
      ...(length === natural ? {} : { bytes: length }),
      ...(Object.keys(reserved).length === 0 ? {} : { reserved }),
    },
    meaning: meaningOf(layout, config, at, fields),
  };
}

function encoded(
  kind: string,
  config: ConfigBuilder,
  layout: CapabilityLayout,
  { at, limit, header }: Place,
  fields: LayoutFields,
): Uint8Array {
  const given: Record<string, number> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!HEADER_FIELDS.has(name)) {
      given[name] = whole(kind, name, value, 0xffffffff);
    }
  }
  const [refused] = encodeLayout(config, layout, at, given, limit);
  if (refused !== undefined) {
    throw new InputError(`${kind}: field ${refused.key} ${refused.why}`);
  }
  const natural = layoutLength(layout, config, at, limit);
  const length = whole(kind, "bytes", fields["bytes"] ?? natural, limit - at);
  addReserved(kind, config, at, length, fields["reserved"]);
  const bytes = new Uint8Array(Math.max(length, header));
  for (let index = 0; index < limit - at; index += 1) {
    const byte = config.read8(at + index);
    if (index < bytes.length) {
      bytes[index] = byte;
    } else if (byte !== 0) {
      throw new InputError(`${kind}: bytes is ${length}, but byte ${hex(index)} is set by a field`);
    }
  }
  return bytes;
}

function addReserved(
  kind: string,
  config: ConfigBuilder,
  at: number,
  length: number,
  reserved: LayoutValue | undefined,
): void {
  if (reserved === undefined) {
    return;
  }
  if (typeof reserved !== "object" || Array.isArray(reserved)) {
    throw new InputError(`${kind}: reserved is ${JSON.stringify(reserved)}, expected dwords by offset: {"0x18": 1}`);
  }
  for (const [key, value] of Object.entries(reserved as LayoutFields)) {
    const dword = whole(kind, "an offset in reserved", key, length);
    const bits = whole(kind, `reserved ${key}`, value, 0xffffffff);
    if (dword % 4 !== 0) {
      throw new InputError(`${kind}: reserved names offset ${key}, expected a multiple of 4`);
    }
    config.set32(at + dword, config.read32(at + dword) | bits);
  }
}

/** A field as a number: a non-negative integer, true, false, or a string such as `"0x1f"`. @throws InputError */
function whole(kind: string, name: string, value: LayoutValue, most: number): number {
  const number =
    typeof value === "boolean"
      ? Number(value)
      : typeof value === "string" && /^0x[0-9a-f]{1,8}$/i.test(value)
        ? Number(value)
        : value;
  if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number > most) {
    throw new InputError(`${kind}: ${name} is ${JSON.stringify(value)}, expected 0 to ${most}`);
  }
  return number;
}

function digits(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/**
 * Every capability of config space, and its headers, as codecs: fields are named as in `inspect`, with `id`, `version` and
 * `next` of the list header, `bytes` where fewer or more bytes were given than the capability has, and `reserved` for bits
 * that no field covers.
 */
export const pciLayouts: readonly LayoutCodec[] = [
  headerCodec("pci-header", "Header of a function (type 0)", "PCIe 6.0 §7.5.1.2", TYPE0_HEADER),
  headerCodec("pci-bridge-header", "Header of a bridge (type 1)", "PCIe 6.0 §7.5.1.3", TYPE1_HEADER),
  ...capabilityKinds.map(codecOf),
];
