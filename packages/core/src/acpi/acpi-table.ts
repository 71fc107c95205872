import { InputError } from "../sim/errors.ts";
import { AcpiReader } from "./acpi-reader.ts";

/** Bytes of the header that every system description table begins with. */
export const ACPI_HEADER_BYTES = 36;

/** The largest table that is read: 1 MiB. */
const MOST_BYTES = 1 << 20;

/** The common header of a system description table. Source: ACPI 6.5 §5.2.6. */
export interface AcpiHeader {
  /** Four characters, such as `DMAR`. */
  readonly signature: string;
  /** Bytes of the whole table. */
  readonly length: number;
  /** Revision of this kind of table. */
  readonly revision: number;
  /** The checksum byte. */
  readonly checksum: number;
  /** Whether all bytes of the table add up to 0 modulo 256. Linux warns and goes on when they do not. */
  readonly checksumValid: boolean;
  /** OEM ID, at most 6 characters. */
  readonly oemId: string;
  /** OEM table ID, at most 8 characters. */
  readonly oemTableId: string;
  /** OEM revision. */
  readonly oemRevision: number;
  /** ID of the compiler, at most 4 characters. */
  readonly creatorId: string;
  /** Its revision. */
  readonly creatorRevision: number;
}

/** A table whose header is sound. */
export interface AcpiTable {
  /** The header. */
  readonly header: AcpiHeader;
  /** All bytes that the header's length covers, header included. */
  readonly reader: AcpiReader;
}

/**
 * Reads the header of a table and cuts the bytes to its length.
 *
 * @param bytes the table; more bytes than its length says are ignored
 * @param signature the kind expected; absent = any
 * @param file named in errors
 * @throws InputError with the offset for a truncated table, a wrong signature or a length that is too short
 */
export function readAcpiTable(bytes: Uint8Array, signature?: string, file?: string): AcpiTable {
  const whole = new AcpiReader(bytes, file);
  if (bytes.length < ACPI_HEADER_BYTES) {
    throw whole.error(0, `${bytes.length} bytes are no ACPI table: its header alone has ${ACPI_HEADER_BYTES}`);
  }
  const found = whole.text(0, 4);
  if (signature !== undefined && found !== signature) {
    throw whole.error(0, `signature is ${JSON.stringify(found)}, expected ${JSON.stringify(signature)}`);
  }
  const length = whole.u32(4);
  if (length < ACPI_HEADER_BYTES || length > bytes.length || length > MOST_BYTES) {
    const most = Math.min(bytes.length, MOST_BYTES);
    throw whole.error(4, `length is ${length}, expected ${ACPI_HEADER_BYTES} to ${most}: is the file truncated?`);
  }
  const reader = new AcpiReader(bytes.subarray(0, length), file);
  return {
    header: {
      signature: found,
      length,
      revision: reader.u8(8),
      checksum: reader.u8(9),
      checksumValid: sum(reader.bytes) === 0,
      oemId: reader.text(10, 6),
      oemTableId: reader.text(16, 8),
      oemRevision: reader.u32(24),
      creatorId: reader.text(28, 4),
      creatorRevision: reader.u32(32),
    },
    reader,
  };
}

/** What {@link writeAcpiTable} puts into the header; length and checksum are computed. */
export type AcpiHeaderFields = Partial<Omit<AcpiHeader, "length" | "checksum" | "checksumValid">> &
  Pick<AcpiHeader, "signature">;

/**
 * A table from its header and body, with a valid checksum.
 *
 * @param body everything behind the header
 * @throws InputError for a text that does not fit
 */
export function writeAcpiTable(header: AcpiHeaderFields, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ACPI_HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, 4, header.signature);
  view.setUint32(4, bytes.length, true);
  bytes[8] = header.revision ?? 1;
  putText(bytes, 10, 6, header.oemId ?? "IOMMUL");
  putText(bytes, 16, 8, header.oemTableId ?? "IOMMULAB");
  view.setUint32(24, header.oemRevision ?? 1, true);
  putText(bytes, 28, 4, header.creatorId ?? "ILAB");
  view.setUint32(32, header.creatorRevision ?? 1, true);
  bytes.set(body, ACPI_HEADER_BYTES);
  bytes[9] = (256 - sum(bytes)) & 0xff;
  return bytes;
}

function putText(bytes: Uint8Array, offset: number, length: number, text: string): void {
  if (text.length > length) {
    throw new InputError(`${JSON.stringify(text)} is longer than the ${length} characters of the header`);
  }
  for (let index = 0; index < text.length; index += 1) {
    bytes[offset + index] = text.charCodeAt(index) & 0x7f;
  }
}

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
}
