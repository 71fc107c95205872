import { ACPI_HEADER_BYTES, InputError, writeAcpiTable } from "@iommu-lab/core";
import {
  type ByteFields,
  type ByteValues,
  DEVICE_NAME_OFFSET,
  GLOBAL_INTERRUPTS,
  GLOBAL_INTERRUPTS_BYTES,
  ID_MAPPING,
  ID_MAPPING_BYTES,
  NODE_BODY,
  NODE_HEADER,
  NODE_TYPE,
  RMR_DESCRIPTOR,
  RMR_DESCRIPTOR_BYTES,
} from "./iort-layout.ts";
import type { IortNode, IortTable } from "./iort.ts";

const CHECKSUM_OFFSET = 9;
/** The largest table that is written; the reader takes no more either. */
const MOST_BYTES = 1 << 20;

/** Writes the fields of a structure; what lies at or behind `end` is left out, as older revisions do. */
function writeFields<S extends ByteFields>(
  view: DataView,
  at: number,
  fields: S,
  values: ByteValues<S>,
  end: number = view.byteLength,
): void {
  for (const [name, [offset, size]] of Object.entries(fields)) {
    const value: number | bigint = values[name as keyof S] ?? 0;
    const to = at + offset;
    if (to + size > end) {
      continue;
    }
    if (size === 8) {
      view.setBigUint64(to, BigInt(value), true);
    } else if (size === 4) {
      view.setUint32(to, Number(value), true);
    } else if (size === 2) {
      view.setUint16(to, Number(value), true);
    } else {
      view.setUint8(to, Number(value));
    }
  }
}

function writeText(view: DataView, at: number, text: string, end: number): void {
  for (let index = 0; index < text.length && at + index < end; index += 1) {
    view.setUint8(at + index, text.charCodeAt(index) & 0x7f);
  }
}

function writeNode(view: DataView, node: IortNode): void {
  const { offset: at, mappings, mappingOffset } = node;
  const end = Math.min(view.byteLength, at + node.length);
  const type = node.kind === "unknown" ? node.type : NODE_TYPE[node.kind];
  writeFields(view, at, NODE_HEADER, { ...node, type });
  if (node.kind !== "unknown") {
    const fields: ByteFields = NODE_BODY[node.kind];
    writeFields(view, at, fields, node as ByteValues<typeof fields>, end);
    writeTail(view, node, end);
  }
  for (const [index, value] of mappings.entries()) {
    writeFields(view, at + mappingOffset + index * ID_MAPPING_BYTES, ID_MAPPING, value);
  }
}

function writeTail(view: DataView, node: IortNode, end: number): void {
  const { offset: at } = node;
  const qwords = (offset: number, values: readonly bigint[]): void => {
    for (const [index, value] of values.entries()) {
      view.setBigUint64(at + offset + index * 8, value, true);
    }
  };
  switch (node.kind) {
    case "itsGroup":
      for (const [index, value] of node.identifiers.entries()) {
        view.setUint32(at + 20 + index * 4, value, true);
      }
      break;
    case "namedComponent":
      writeText(view, at + DEVICE_NAME_OFFSET, node.deviceName, end);
      break;
    case "smmuV2":
      if (node.globalInterruptOffset !== 0) {
        writeFields(view, at + node.globalInterruptOffset, GLOBAL_INTERRUPTS, node.globalInterrupts);
      }
      qwords(node.contextInterruptOffset, node.contextInterrupts);
      qwords(node.pmuInterruptOffset, node.pmuInterrupts);
      break;
    case "rmr":
      for (const [index, value] of node.descriptors.entries()) {
        writeFields(view, at + node.rmrOffset + index * RMR_DESCRIPTOR_BYTES, RMR_DESCRIPTOR, value);
      }
      break;
    default:
  }
}

/** Bytes that a node needs at least, whatever its length says. */
function neededBytes(node: IortNode): number {
  const ends = [
    node.length,
    node.mappings.length === 0 ? 0 : node.mappingOffset + node.mappings.length * ID_MAPPING_BYTES,
  ];
  if (node.kind === "itsGroup") {
    ends.push(20 + node.identifiers.length * 4);
  } else if (node.kind === "smmuV2") {
    ends.push(
      node.globalInterruptOffset + GLOBAL_INTERRUPTS_BYTES,
      node.contextInterruptOffset + node.contextInterrupts.length * 8,
      node.pmuInterruptOffset + node.pmuInterrupts.length * 8,
    );
  } else if (node.kind === "rmr") {
    ends.push(node.rmrOffset + node.descriptors.length * RMR_DESCRIPTOR_BYTES);
  }
  return Math.max(...ends);
}

/**
 * Encodes an IO Remapping Table. Nodes stand where their `offset` says. A checksum that the header calls wrong stays
 * wrong; else it is computed.
 *
 * @throws InputError when the nodes need more than 1 MiB
 */
export function encodeIort(table: Omit<IortTable, "warnings">): Uint8Array {
  const { header, nodes } = table;
  const length = Math.max(header.length, 48, ...nodes.map((node) => node.offset + neededBytes(node)));
  if (length > MOST_BYTES) {
    throw new InputError(
      `an IORT of ${length} bytes was asked for, expected at most ${MOST_BYTES}: see the nodes' offsets`,
    );
  }
  const body = new Uint8Array(length - ACPI_HEADER_BYTES);
  const view = new DataView(body.buffer);
  view.setUint32(0, nodes.length, true);
  view.setUint32(4, table.nodeOffset, true);
  view.setUint32(8, table.reserved, true);
  for (const node of nodes) {
    writeNode(view, { ...node, offset: node.offset - ACPI_HEADER_BYTES });
  }
  const bytes = writeAcpiTable({ ...header, signature: "IORT" }, body);
  if (!header.checksumValid) {
    bytes[CHECKSUM_OFFSET] = header.checksum;
  }
  return bytes;
}
