/** One function to export. */
export interface ExportedFunction {
  /** `dddd:bb:dd.f` or `bb:dd.f`. */
  readonly bdf: string;
  /** What stands behind the address on its first line; absent: class and ids, as `lspci` prints them without names. */
  readonly header?: string;
  /** Config space from offset 0. */
  readonly bytes: Uint8Array;
}

const BYTES_PER_LINE = 16;

/**
 * Writes functions as `lspci -xxxx` does, so that `lspci -F` and `parseLspciDump` read them: all bytes that a function has,
 * 16 in a line. A domain other than 0 is written, domain 0 only if some function has another.
 */
export function formatLspciDump(functions: readonly ExportedFunction[]): string {
  const withDomain = functions.some(({ bdf }) => /^[\da-f]{4,8}:[\da-f]{2}:/i.test(bdf) && !/^0+:/.test(bdf));
  return functions.map((one) => formatFunction(one, withDomain)).join("\n");
}

function formatFunction({ bdf, header, bytes }: ExportedFunction, withDomain: boolean): string {
  const address = withDomain ? bdf : bdf.replace(/^0{4,8}:(?=[\da-f]{2}:)/i, "");
  // A description of several lines would end the function's header, and lspci takes no header without description.
  const title = (header ?? "").replaceAll(/\s+/g, " ").trim();
  const lines = [`${address} ${title === "" ? numericTitle(bytes) : title}`];
  for (let offset = 0; offset < bytes.length; offset += BYTES_PER_LINE) {
    let line = `${offset.toString(16).padStart(2, "0")}:`;
    for (const byte of bytes.subarray(offset, offset + BYTES_PER_LINE)) {
      line += byte < 16 ? ` 0${byte.toString(16)}` : ` ${byte.toString(16)}`;
    }
    lines.push(line);
  }
  return `${lines.join("\n")}\n`;
}

function numericTitle(bytes: Uint8Array): string {
  const word = (at: number): string =>
    (((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)) >>> 0).toString(16).padStart(4, "0");
  return `Class ${word(0x0a)}: Device ${word(0)}:${word(2)}`;
}
