import type { AcpiHeaderFields } from "@iommu-lab/core";
import { ACPI_HEADER_BYTES, InputError, writeAcpiTable } from "@iommu-lab/core";
import type { DeviceScope, DmarStructure, DmarTable } from "./dmar.ts";
import { DMAR_HEADER_BYTES, DMAR_TYPE, SCOPE_BYTES } from "./dmar.ts";

/** A structure without what follows from the others: where it is and, when absent, its length. */
export type NewDmarStructure<S extends DmarStructure = DmarStructure> = S extends DmarStructure
  ? Omit<S, "offset" | "length"> & {
      /** Bytes of the structure; absent = as many as its fields need. */
      readonly length?: number;
    }
  : never;

/** What {@link encodeDmar} takes. */
export interface NewDmarTable extends Pick<DmarTable, "hostAddressWidth" | "flags"> {
  /** Header fields; the others are this lab's own. */
  readonly header?: Partial<AcpiHeaderFields>;
  /** All structures, in their order. */
  readonly structures: readonly NewDmarStructure[];
}

/** Bytes of the fixed fields of each kind. */
const FIXED_BYTES = { drhd: 16, rmrr: 24, atsr: 8, satc: 8, sidp: 8, rhsa: 20, andd: 8, unknown: 4 } as const;

/**
 * A DMAR from its fields, with a valid checksum. Bytes of unknown structures are zero.
 *
 * @throws InputError for a text or a number that does not fit
 */
export function encodeDmar(table: NewDmarTable): Uint8Array {
  const lengths = table.structures.map((structure) => structureLength(structure));
  const total = lengths.reduce((sum, length) => sum + length, DMAR_HEADER_BYTES);
  const body = new Uint8Array(total - ACPI_HEADER_BYTES);
  body[0] = byte("host address width", table.hostAddressWidth - 1);
  body[1] = byte("flags", table.flags);
  let at = DMAR_HEADER_BYTES - ACPI_HEADER_BYTES;
  for (const [index, structure] of table.structures.entries()) {
    const length = lengths[index] ?? 0;
    writeStructure(new DataView(body.buffer, at, length), structure, length);
    at += length;
  }
  return writeAcpiTable({ revision: 1, ...table.header, signature: "DMAR" }, body);
}

function structureLength(structure: NewDmarStructure): number {
  const needed = FIXED_BYTES[structure.kind] + tailLength(structure);
  const length = structure.length ?? needed;
  if (!Number.isInteger(length) || length < needed || length > 0xffff) {
    throw new InputError(`dmar: ${structure.kind} of length ${length}, expected ${needed} to 65535`);
  }
  return length;
}

function tailLength(structure: NewDmarStructure): number {
  if (structure.kind === "andd") {
    // The name may fill a structure to its end without a NUL.
    return structure.deviceName.length + (structure.length === undefined ? 1 : 0);
  }
  return "scopes" in structure ? structure.scopes.reduce((sum, { path }) => sum + SCOPE_BYTES + path.length * 2, 0) : 0;
}

function writeStructure(view: DataView, structure: NewDmarStructure, length: number): void {
  view.setUint16(0, structure.kind === "unknown" ? structure.type : DMAR_TYPE[structure.kind], true);
  view.setUint16(2, length, true);
  switch (structure.kind) {
    case "drhd":
      view.setUint8(4, byte("flags", structure.flags));
      view.setUint8(5, byte("size", structure.size));
      view.setBigUint64(8, BigInt(structure.base), true);
      break;
    case "rmrr":
      view.setUint16(4, structure.reserved, true);
      view.setBigUint64(8, BigInt(structure.base), true);
      view.setBigUint64(16, BigInt(structure.limit), true);
      break;
    case "atsr":
    case "satc":
      view.setUint8(4, byte("flags", structure.flags));
      view.setUint8(5, byte("reserved", structure.reserved));
      break;
    case "sidp":
      view.setUint16(4, structure.reserved, true);
      break;
    case "rhsa":
      view.setUint32(4, structure.reserved, true);
      view.setBigUint64(8, BigInt(structure.base), true);
      view.setUint32(16, structure.proximityDomain, true);
      break;
    case "andd":
      writeDevice(view, structure);
      break;
    default:
  }
  if ("segment" in structure) {
    view.setUint16(6, structure.segment, true);
    writeScopes(view, FIXED_BYTES[structure.kind], structure.scopes);
  }
}

function writeDevice(view: DataView, structure: NewDmarStructure<Extract<DmarStructure, { kind: "andd" }>>): void {
  view.setUint8(4, structure.reserved & 0xff);
  view.setUint16(5, structure.reserved >>> 8, true);
  view.setUint8(7, byte("device number", structure.deviceNumber));
  for (let index = 0; index < structure.deviceName.length; index += 1) {
    view.setUint8(8 + index, structure.deviceName.charCodeAt(index) & 0x7f);
  }
}

function writeScopes(view: DataView, from: number, scopes: readonly DeviceScope[]): void {
  let at = from;
  for (const scope of scopes) {
    view.setUint8(at, byte("scope type", scope.type));
    view.setUint8(at + 1, byte("scope length", SCOPE_BYTES + scope.path.length * 2));
    view.setUint8(at + 2, byte("scope flags", scope.flags));
    view.setUint8(at + 3, byte("scope reserved", scope.reserved));
    view.setUint8(at + 4, byte("enumeration ID", scope.enumerationId));
    view.setUint8(at + 5, byte("start bus", scope.startBus));
    for (const [hop, { device, function: fn }] of scope.path.entries()) {
      view.setUint8(at + SCOPE_BYTES + hop * 2, byte("device", device));
      view.setUint8(at + SCOPE_BYTES + hop * 2 + 1, byte("function", fn));
    }
    at += SCOPE_BYTES + scope.path.length * 2;
  }
}

function byte(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xff) {
    throw new InputError(`dmar: ${name} is ${value}, expected 0 to 255`);
  }
  return value;
}
