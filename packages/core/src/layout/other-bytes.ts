import type { LayoutFields } from "./codec.ts";
import type { JsonFields } from "./json-fields.ts";

/**
 * What the fields of a table do not explain (padding, gaps, odd texts), as `{ offset, hex }` runs for its `otherBytes`.
 *
 * @param bytes the table
 * @param explained the table that the fields alone would make
 * @param checksum offset of the byte that is shown elsewhere
 */
export function otherBytes(bytes: Uint8Array, explained: Uint8Array, checksum: number): readonly LayoutFields[] {
  const runs: { readonly offset: number; hex: string }[] = [];
  let last = -2;
  for (const [offset, byte] of bytes.entries()) {
    if (byte === explained[offset] || offset === checksum) {
      continue;
    }
    const digits = byte.toString(16).padStart(2, "0");
    const run = runs.at(-1);
    if (run !== undefined && last === offset - 1) {
      run.hex += digits;
    } else {
      runs.push({ offset, hex: digits });
    }
    last = offset;
  }
  return runs;
}

/**
 * Puts such runs back.
 *
 * @param bytes the table that the fields make; changed in place
 * @throws InputError for a run that is empty, no hexadecimal digits, or beyond the table
 */
export function putOtherBytes(bytes: Uint8Array, runs: readonly JsonFields[]): void {
  for (const run of runs) {
    const [digits, offset] = [run.bytes("hex"), run.number("offset", 32)];
    run.done();
    if (digits.length === 0 || offset + digits.length > bytes.length) {
      throw run.error("hex", `has ${digits.length} bytes for offset ${offset}, expected bytes within ${bytes.length}`);
    }
    bytes.set(digits, offset);
  }
}
