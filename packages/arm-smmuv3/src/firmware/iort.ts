import { type AcpiHeader, type AcpiReader, readAcpiTable } from "@iommu-lab/core";
import {
  type ByteField,
  type ByteFields,
  type ByteValues,
  DEVICE_NAME_OFFSET,
  GLOBAL_INTERRUPTS,
  GLOBAL_INTERRUPTS_BYTES,
  ID_MAPPING,
  ID_MAPPING_BYTES,
  IORT_HEADER_BYTES,
  NODE_BODY,
  NODE_HEADER,
  NODE_HEADER_BYTES,
  NODE_MIN_BYTES,
  NODE_TYPE,
  type NodeKind,
  RMR_DESCRIPTOR,
  RMR_DESCRIPTOR_BYTES,
} from "./iort-layout.ts";

/** Where IDs of a node go: `outputReference` is the offset of another node in the table. */
export type IdMapping = ByteValues<typeof ID_MAPPING>;

/** A reserved memory range. */
export type RmrDescriptor = ByteValues<typeof RMR_DESCRIPTOR>;

/** What every node has. */
export interface IortNodeBase {
  /** Byte offset in the table. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** Revision of this kind of node. */
  readonly revision: number;
  /** Number within the table; reserved before revision E of the specification. */
  readonly identifier: number;
  /** How many mappings the header announces. */
  readonly mappingCount: number;
  /** Their offset from the node's start. */
  readonly mappingOffset: number;
  /** The mappings; none when `mappingOffset` is 0, as Linux takes it. */
  readonly mappings: readonly IdMapping[];
}

/** Lists and texts that follow the fixed fields, by kind. */
interface Tails {
  readonly itsGroup: { readonly identifiers: readonly number[] };
  readonly namedComponent: { readonly deviceName: string };
  readonly rootComplex: object;
  readonly smmuV2: {
    readonly globalInterrupts: ByteValues<typeof GLOBAL_INTERRUPTS>;
    readonly contextInterrupts: readonly bigint[];
    readonly pmuInterrupts: readonly bigint[];
  };
  readonly smmuV3: object;
  readonly pmcg: object;
  readonly rmr: { readonly descriptors: readonly RmrDescriptor[] };
}

/** A node of a known kind. */
export type IortNodeOf<K extends NodeKind> = IortNodeBase & {
  readonly kind: K;
} & ByteValues<(typeof NODE_BODY)[K]> &
  Tails[K];

/** A node of a kind that is not known; skipped by its length. */
export interface UnknownNode extends IortNodeBase {
  readonly kind: "unknown";
  /** Type number. */
  readonly type: number;
}

/** A node. */
export type IortNode =
  | IortNodeOf<"itsGroup">
  | IortNodeOf<"namedComponent">
  | IortNodeOf<"rootComplex">
  | IortNodeOf<"smmuV2">
  | IortNodeOf<"smmuV3">
  | IortNodeOf<"pmcg">
  | IortNodeOf<"rmr">
  | UnknownNode;

/** A decoded IO Remapping Table. */
export interface IortTable {
  readonly header: AcpiHeader;
  /** Offset of the first node. */
  readonly nodeOffset: number;
  /** Reserved word of the table's own header. */
  readonly reserved: number;
  readonly nodes: readonly IortNode[];
  /** What is odd but does not keep the table from being used. */
  readonly warnings: readonly string[];
}

/** Reads the fields of a structure; what lies at or behind `end` reads as zero. */
function readFields<S extends ByteFields>(
  reader: AcpiReader,
  at: number,
  fields: S,
  end: number = Infinity,
): ByteValues<S> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, [offset, size]]) => [
      name,
      at + offset + size > end ? (size === 8 ? 0n : 0) : readField(reader, at + offset, size),
    ]),
  ) as ByteValues<S>;
}

function readField(reader: AcpiReader, at: number, size: ByteField[1]): number | bigint {
  switch (size) {
    case 1:
      return reader.u8(at);
    case 2:
      return reader.u16(at);
    case 4:
      return reader.u32(at);
    default:
      return reader.u64(at);
  }
}

/** A list inside a node. @throws InputError when it leaves the node */
function list<T>(
  node: Place,
  what: string,
  offset: number,
  count: number,
  bytes: number,
  read: (at: number) => T,
): readonly T[] {
  const { reader, at, length } = node;
  if (count > 0 && offset + count * bytes > length) {
    throw reader.error(
      at,
      `${count} ${what} of ${bytes} bytes at 0x${offset.toString(16)} do not fit into the node's 0x${length.toString(16)} bytes`,
    );
  }
  return Array.from({ length: count }, (_, index) => read(at + offset + index * bytes));
}

const KINDS: ReadonlyMap<number, NodeKind> = new Map(
  Object.entries(NODE_TYPE).map(([kind, type]) => [type, kind as NodeKind]),
);

/** Where a node is. */
interface Place {
  readonly reader: AcpiReader;
  readonly at: number;
  readonly length: number;
}

function readNode(reader: AcpiReader, at: number, warnings: string[]): IortNode {
  const { type, ...header } = readFields(reader, at, NODE_HEADER);
  const { length, mappingCount, mappingOffset } = header;
  if (length < NODE_HEADER_BYTES || at + length > reader.length) {
    const most = reader.length - at;
    throw reader.error(at + 1, `node length is ${length}, expected ${NODE_HEADER_BYTES} to ${most}`);
  }
  const place = { reader, at, length };
  if (mappingCount > 0 && mappingOffset === 0) {
    warnings.push(`node at 0x${at.toString(16)}: ${mappingCount} ID mappings without an offset are ignored`);
  }
  const count = mappingOffset === 0 ? 0 : mappingCount;
  const mappings = list(place, "ID mappings", mappingOffset, count, ID_MAPPING_BYTES, (to) =>
    readFields(reader, to, ID_MAPPING),
  );
  const base: IortNodeBase = { offset: at, ...header, mappings };
  const kind = KINDS.get(type);
  if (kind === undefined) {
    warnings.push(`node at 0x${at.toString(16)}: type ${type} is not known, its ${length} bytes are skipped`);
    return { kind: "unknown", type, ...base };
  }
  if (length < NODE_MIN_BYTES[kind]) {
    const least = NODE_MIN_BYTES[kind];
    throw reader.error(at + 1, `a node of type ${type} has length ${length}, expected at least ${least}`);
  }
  return readBody(kind, base, place);
}

function readBody(kind: NodeKind, base: IortNodeBase, place: Place): IortNode {
  const { reader, at, length } = place;
  const end = at + length;
  switch (kind) {
    case "itsGroup": {
      const body = readFields(reader, at, NODE_BODY.itsGroup, end);
      const identifiers = list(place, "ITS identifiers", 20, body.itsCount, 4, (to) => reader.u32(to));
      return { kind, ...base, ...body, identifiers };
    }
    case "namedComponent": {
      const body = readFields(reader, at, NODE_BODY.namedComponent, end);
      return { kind, ...base, ...body, deviceName: readName(reader, at + DEVICE_NAME_OFFSET, end) };
    }
    case "rootComplex":
      return { kind, ...base, ...readFields(reader, at, NODE_BODY.rootComplex, end) };
    case "smmuV2":
      return readSmmuV2(base, place);
    case "smmuV3":
      return { kind, ...base, ...readFields(reader, at, NODE_BODY.smmuV3, end) };
    case "pmcg":
      return { kind, ...base, ...readFields(reader, at, NODE_BODY.pmcg, end) };
    default: {
      const body = readFields(reader, at, NODE_BODY.rmr, end);
      const descriptors = list(place, "RMR descriptors", body.rmrOffset, body.rmrCount, RMR_DESCRIPTOR_BYTES, (to) =>
        readFields(reader, to, RMR_DESCRIPTOR),
      );
      return { kind, ...base, ...body, descriptors };
    }
  }
}

function readSmmuV2(base: IortNodeBase, place: Place): IortNode {
  const { reader, at, length } = place;
  const body = readFields(reader, at, NODE_BODY.smmuV2, at + length);
  const [globalInterrupts = readFields(reader, at, GLOBAL_INTERRUPTS, 0)] = list(
    place,
    "global interrupts",
    body.globalInterruptOffset,
    body.globalInterruptOffset === 0 ? 0 : 1,
    GLOBAL_INTERRUPTS_BYTES,
    (to) => readFields(reader, to, GLOBAL_INTERRUPTS),
  );
  const interrupts = (what: string, offset: number, count: number): readonly bigint[] =>
    list(place, `${what} interrupts`, offset, count, 8, (to) => reader.u64(to));
  return {
    kind: "smmuV2",
    ...base,
    ...body,
    globalInterrupts,
    contextInterrupts: interrupts("context", body.contextInterruptOffset, body.contextInterruptCount),
    pmuInterrupts: interrupts("PMU", body.pmuInterruptOffset, body.pmuInterruptCount),
  };
}

/** The namespace path of a named component: text up to a NUL or the node's end. */
function readName(reader: AcpiReader, from: number, end: number): string {
  let length = 0;
  while (from + length < end && reader.u8(from + length) !== 0) {
    length += 1;
  }
  return reader.text(from, length);
}

/**
 * Decodes an IO Remapping Table. A wrong checksum is a warning, as in Linux; a structure that leaves its node or the
 * table is an error.
 *
 * @param bytes the table; more bytes than its length says are ignored
 * @param file named in errors
 * @throws InputError with the offset
 */
export function decodeIort(bytes: Uint8Array, file?: string): IortTable {
  const { header, reader } = readAcpiTable(bytes, "IORT", file);
  const warnings: string[] = [];
  if (!header.checksumValid) {
    warnings.push("the checksum is wrong");
  }
  const count = reader.u32(36);
  const nodeOffset = reader.u32(40);
  const reserved = reader.u32(44);
  if (count > 0 && nodeOffset < IORT_HEADER_BYTES) {
    throw reader.error(40, `the first node is at ${nodeOffset}, expected at least ${IORT_HEADER_BYTES}`);
  }
  const nodes: IortNode[] = [];
  let at = nodeOffset;
  for (let index = 0; index < count; index += 1) {
    if (at + NODE_HEADER_BYTES > reader.length) {
      throw reader.error(at, `node ${index + 1} of ${count} begins where the table ends`);
    }
    const node = readNode(reader, at, warnings);
    nodes.push(node);
    at += node.length;
  }
  return { header, nodeOffset, reserved, nodes, warnings };
}
