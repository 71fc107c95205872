import {
  InputError,
  JsonFields,
  type LayoutCodec,
  type LayoutFields,
  otherBytes,
  putOtherBytes,
  readAcpiTable,
  shown,
} from "@iommu-lab/core";
import { encodeIort } from "./iort-encode.ts";
import {
  type ByteFields,
  type ByteValues,
  DEVICE_NAME_OFFSET,
  GLOBAL_INTERRUPTS,
  GLOBAL_INTERRUPTS_BYTES,
  ID_MAPPING,
  ID_MAPPING_BYTES,
  IORT_HEADER_BYTES,
  NODE_BODY,
  NODE_HEADER_BYTES,
  NODE_TYPE,
  type NodeKind,
  RMR_DESCRIPTOR,
  RMR_DESCRIPTOR_BYTES,
} from "./iort-layout.ts";
import { describeIort } from "./iort-text.ts";
import { type IortNode, type IortNodeBase, type IortTable, decodeIort } from "./iort.ts";

/** Bytes of the fixed fields, by kind, in the newest revision. */
const BODY_END: Readonly<Record<NodeKind, number>> = {
  itsGroup: 20,
  namedComponent: DEVICE_NAME_OFFSET,
  rootComplex: 36,
  smmuV2: 60,
  smmuV3: 68,
  pmcg: 40,
  rmr: 28,
};

function isKind(kind: string): kind is NodeKind {
  return Object.hasOwn(NODE_TYPE, kind);
}

/** All fields of a structure. @throws InputError */
function valuesOf<S extends ByteFields>(
  fields: JsonFields,
  layout: S,
  defaults: Readonly<Record<string, number>> = {},
): ByteValues<S> {
  return Object.fromEntries(
    Object.entries(layout).map(([name, [, size]]) => {
      const value = fields.big(name, size * 8, BigInt(defaults[name] ?? 0));
      return [name, size === 8 ? value : Number(value)];
    }),
  ) as ByteValues<S>;
}

/** Reads a node; offsets and lengths that are not given follow from what there is. */
function nodeOf(fields: JsonFields, at: number): IortNode {
  const kind = fields.text("kind");
  const mappings = fields.objects("mappings").map((mapping) => {
    const values = valuesOf(mapping, ID_MAPPING);
    mapping.done();
    return values;
  });
  const base = (tail: number): IortNodeBase => {
    const ends = tail + mappings.length * ID_MAPPING_BYTES;
    return {
      offset: fields.number("offset", 32, at),
      length: fields.number("length", 16, ends),
      revision: fields.number("revision", 8),
      identifier: fields.number("identifier", 32),
      mappingCount: fields.number("mappingCount", 32, mappings.length),
      mappingOffset: fields.number("mappingOffset", 32, mappings.length === 0 ? 0 : tail),
      mappings,
    };
  };
  const node = bodyOf(fields, kind, base);
  fields.done();
  return node;
}

function bodyOf(fields: JsonFields, kind: string, base: (tail: number) => IortNodeBase): IortNode {
  if (kind === "unknown") {
    return { kind, ...base(NODE_HEADER_BYTES), type: fields.number("type", 8) };
  }
  if (!isKind(kind)) {
    throw fields.error(
      "kind",
      `is ${JSON.stringify(kind)}, expected one of ${Object.keys(NODE_TYPE).join(", ")}, unknown`,
    );
  }
  switch (kind) {
    case "itsGroup": {
      const identifiers = fields.integers("identifiers", 32).map(Number);
      const body = valuesOf(fields, NODE_BODY.itsGroup, { itsCount: identifiers.length });
      return { kind, ...base(BODY_END.itsGroup + identifiers.length * 4), ...body, identifiers };
    }
    case "namedComponent": {
      const deviceName = fields.text("deviceName");
      const body = valuesOf(fields, NODE_BODY.namedComponent);
      return { kind, ...base(align4(DEVICE_NAME_OFFSET + deviceName.length + 1)), ...body, deviceName };
    }
    case "smmuV2":
      return smmuV2Of(fields, base);
    case "rmr": {
      const descriptors = fields.objects("descriptors").map((descriptor) => {
        const values = valuesOf(descriptor, RMR_DESCRIPTOR);
        descriptor.done();
        return values;
      });
      const body = valuesOf(fields, NODE_BODY.rmr, { rmrCount: descriptors.length, rmrOffset: BODY_END.rmr });
      return { kind, ...base(BODY_END.rmr + descriptors.length * RMR_DESCRIPTOR_BYTES), ...body, descriptors };
    }
    case "rootComplex":
      return { kind, ...base(BODY_END.rootComplex), ...valuesOf(fields, NODE_BODY.rootComplex) };
    case "smmuV3":
      return { kind, ...base(BODY_END.smmuV3), ...valuesOf(fields, NODE_BODY.smmuV3) };
    default:
      return { kind, ...base(BODY_END.pmcg), ...valuesOf(fields, NODE_BODY.pmcg) };
  }
}

function smmuV2Of(fields: JsonFields, base: (tail: number) => IortNodeBase): IortNode {
  const globals = fields.object("globalInterrupts");
  const globalInterrupts = valuesOf(globals, GLOBAL_INTERRUPTS);
  globals.done();
  const contextInterrupts = fields.integers("contextInterrupts", 64);
  const pmuInterrupts = fields.integers("pmuInterrupts", 64);
  const contexts = BODY_END.smmuV2 + GLOBAL_INTERRUPTS_BYTES;
  const pmus = contexts + contextInterrupts.length * 8;
  const body = valuesOf(fields, NODE_BODY.smmuV2, {
    globalInterruptOffset: BODY_END.smmuV2,
    contextInterruptCount: contextInterrupts.length,
    contextInterruptOffset: contexts,
    pmuInterruptCount: pmuInterrupts.length,
    pmuInterruptOffset: pmus,
  });
  const tail = pmus + pmuInterrupts.length * 8;
  return { kind: "smmuV2", ...base(tail), ...body, globalInterrupts, contextInterrupts, pmuInterrupts };
}

const CHECKSUM_OFFSET = 9;

function align4(value: number): number {
  return Math.ceil(value / 4) * 4;
}

const HEADER_NUMBERS = ["length", "revision", "checksum", "oemRevision", "creatorRevision"] as const;
const HEADER_BITS = { length: 32, revision: 8, checksum: 8, oemRevision: 32, creatorRevision: 32 } as const;

function fieldsOf(table: IortTable, bytes: Uint8Array): LayoutFields {
  const { header, nodeOffset, reserved, nodes } = table;
  const { signature: _, checksumValid, checksum, ...named } = header;
  const runs = otherBytes(bytes, encodeIort(table), CHECKSUM_OFFSET);
  return {
    ...named,
    ...(checksumValid ? {} : { checksum }),
    nodeOffset,
    reserved,
    nodes: nodes.map((node) => shown(node)),
    ...(runs.length === 0 ? {} : { otherBytes: runs }),
  };
}

function tableOf(given: LayoutFields): Uint8Array {
  const fields = new JsonFields(given, "iort");
  const [length, revision, checksum, oemRevision, creatorRevision] = HEADER_NUMBERS.map((name) =>
    fields.number(name, HEADER_BITS[name], name.endsWith("evision") ? 1 : 0),
  ) as [number, number, number, number, number];
  const header = {
    signature: "IORT",
    length,
    revision,
    checksum,
    checksumValid: !fields.has("checksum"),
    oemId: fields.text("oemId", "IOMMUL"),
    oemTableId: fields.text("oemTableId", "IOMMULAB"),
    oemRevision,
    creatorId: fields.text("creatorId", "ILAB"),
    creatorRevision,
  };
  const nodes: IortNode[] = [];
  for (const node of fields.objects("nodes")) {
    const last = nodes.at(-1);
    nodes.push(nodeOf(node, last === undefined ? IORT_HEADER_BYTES : last.offset + last.length));
  }
  const nodeOffset = fields.number("nodeOffset", 32, IORT_HEADER_BYTES);
  const reserved = fields.number("reserved", 32);
  const others = fields.objects("otherBytes");
  const bytes = encodeIort({ header, nodeOffset, reserved, nodes });
  putOtherBytes(bytes, others);
  fields.done();
  if (header.checksumValid) {
    bytes[CHECKSUM_OFFSET] = 0;
    bytes[CHECKSUM_OFFSET] = (256 - bytes.reduce((total, byte) => (total + byte) & 0xff, 0)) & 0xff;
  }
  return bytes;
}

/** The IO Remapping Table for `iommu-lab decode iort` and `encode iort`. */
export const iortCodec: LayoutCodec = {
  kind: "iort",
  title: "IO Remapping Table",
  source: "Arm DEN 0049, Linux 7.2 drivers/acpi/arm64/iort.c",
  example:
    "494f5254ac000000056a494f4d4d554c494f4d4d554c414201000000494c414201000000020000003000000000000000" +
    "044400040000000000000000000000000000050900000000010000000000000000000000000000000000000000000000" +
    "000000000000000000000000000000000000000002380004010000000100000024000000010000000000000301000000" +
    "000000004000000000000000ffff0000000000003000000000000000",
  decode(bytes, file) {
    const table = decodeIort(bytes, file);
    const { reader } = readAcpiTable(bytes, "IORT", file);
    return { fields: fieldsOf(table, reader.bytes), meaning: describeIort(table) };
  },
  encode(fields) {
    const bytes = tableOf(fields);
    try {
      decodeIort(bytes);
    } catch (error) {
      throw error instanceof InputError ? new InputError(`iort: these fields make no table: ${error.message}`) : error;
    }
    return bytes;
  },
};
