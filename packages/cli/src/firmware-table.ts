import { InputError, type LayoutCodec } from "@iommu-lab/core";
import { layouts } from "./layouts.ts";

const HEADER_BYTES = 36;

/**
 * The layout of an ACPI table, by its signature: any layout of a package whose kind is the signature in lower case.
 *
 * @returns undefined for a file that is no ACPI table
 * @throws InputError for an ACPI table that no layout is for
 */
export function firmwareTable(bytes: Uint8Array, file: string): LayoutCodec | undefined {
  const signature = String.fromCharCode(...bytes.subarray(0, 4));
  const found = /^[A-Z]{4}$/u.test(signature)
    ? layouts.find(({ kind }) => kind === signature.toLowerCase())
    : undefined;
  if (found === undefined && isTable(bytes, signature)) {
    const known = layouts.flatMap(({ kind }) => (/^[a-z]{4}$/u.test(kind) ? [kind.toUpperCase()] : []));
    throw new InputError(`is an ACPI table ${signature}; known ones: ${known.join(", ")}`, { file });
  }
  return found;
}

/** The length in the header is that of the file. */
function isTable(bytes: Uint8Array, signature: string): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return /^[A-Z0-9]{4}$/u.test(signature) && bytes.length >= HEADER_BYTES && view.getUint32(4, true) === bytes.length;
}
