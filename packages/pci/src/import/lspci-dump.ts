import { InputError } from "@iommu-lab/core";
import { expectInputSize } from "./input-size.ts";
import { Warnings } from "./warnings.ts";

/** One function of a dump. */
export interface DumpFunction {
  /** `dddd:bb:dd.f`, lower case, with the domain. */
  readonly bdf: string;
  /** The rest of its header line: what `lspci` calls the device. */
  readonly header?: string;
  /** Config space from offset 0, as many bytes as the dump has (64, 256 or 4096 from `lspci`). */
  readonly bytes: Uint8Array;
  /** Line of its header, counted from 1. */
  readonly line: number;
}

/** What a dump holds. */
export interface LspciDump {
  /** Functions in the order of the text; at least one. */
  readonly functions: readonly DumpFunction[];
  /** What was odd but readable, with line numbers. */
  readonly warnings: readonly string[];
}

const MAX_BYTES = 4096;
const BYTES_PER_LINE = 16;
const HEADER = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-9a-f])(?:\s+(\S.*))?\s*$/i;
const HEX_LINE = /^([0-9a-f]{2,8}):(?:\s+(\S.*))?\s*$/i;
const BYTE = /^[0-9a-f]{2}$/i;

/**
 * Reads the text of `lspci -x`, `-xxx` or `-xxxx`, which is also what `lspci -F` reads: for each function a header line
 * (`00:1f.3 Audio device: …`, with or without a domain, with or without a description), then lines of an offset and up to
 * 16 bytes. Lines in between, such as those of `-vv`, are passed over.
 *
 * @param fileName - named in errors
 * @throws InputError with the line number for bad digits, bytes that do not follow each other, a function that comes
 *   twice, bytes that belong to no function, more than 4096 bytes, for a text without any function, and for more than
 *   64 MiB
 */
export function parseLspciDump(text: string, fileName?: string): LspciDump {
  expectInputSize("the dump", text.length, fileName);
  const reader = new DumpReader(fileName);
  let line = 0;
  // A byte order mark is no part of the text.
  let start = text.codePointAt(0) === 0xfeff ? 1 : 0;
  while (start < text.length) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    line += 1;
    reader.line(text.slice(start, end).replace(/\r$/, ""), line);
    start = end + 1;
  }
  return reader.finish();
}

/** `dddd:bb:dd.f` in lower case from its parts, all hexadecimal; undefined where there can be no such function. */
export function functionAddress(
  domain: string | undefined,
  bus: string,
  device: string,
  fn: string,
): string | undefined {
  return Number.parseInt(device, 16) > 0x1f || Number.parseInt(fn, 16) > 7
    ? undefined
    : `${domain ?? "0000"}:${bus}:${device}.${fn}`.toLowerCase();
}

interface OpenFunction {
  readonly bdf: string;
  readonly header: string | undefined;
  readonly line: number;
  readonly bytes: number[];
}

/**
 * Adds a line exactly as `lspci` prints it: the next offset, a colon, and 16 times a space and two digits. Whether it was one;
 * all other lines are read with more care.
 */
function addWholeLine(bytes: number[], text: string): boolean {
  const offset = bytes.length;
  const digits = offset < 0x100 ? 2 : 3;
  if (offset > 0xff0 || text.length !== digits + 1 + 3 * BYTES_PER_LINE || text[digits] !== ":") {
    return false;
  }
  let at = 0;
  for (let index = 0; index < digits; index += 1) {
    at = 16 * at + digit(text.charCodeAt(index));
  }
  if (at !== offset) {
    return false;
  }
  for (let from = digits + 1; from < text.length; from += 3) {
    const byte = 16 * digit(text.charCodeAt(from + 1)) + digit(text.charCodeAt(from + 2));
    if (text.charCodeAt(from) !== 0x20 || Number.isNaN(byte)) {
      bytes.length = offset;
      return false;
    }
    bytes.push(byte);
  }
  return true;
}

/** Value of a hexadecimal digit, by its character code; NaN for any other character. */
function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) {
    return code - 0x30;
  }
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : Number.NaN;
}

class DumpReader {
  readonly #file: string | undefined;
  readonly #functions: DumpFunction[] = [];
  readonly #lines = new Map<string, number>();
  readonly #warnings = new Warnings();
  #open: OpenFunction | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  line(text: string, line: number): void {
    if (this.#open !== undefined && addWholeLine(this.#open.bytes, text)) {
      return;
    }
    const header = HEADER.exec(text);
    if (header !== null) {
      this.#startFunction(header, line);
      return;
    }
    const hex = HEX_LINE.exec(text);
    if (hex !== null) {
      this.#addBytes(hex[1] ?? "", hex[2] ?? "", line);
      return;
    }
    if (text.trim() === "") {
      this.#close();
    } else if (this.#open !== undefined && !/^\s/.test(text)) {
      this.#warnings.add(line, `passed over: neither a function nor bytes: ${JSON.stringify(text.slice(0, 40))}`);
    }
  }

  finish(): LspciDump {
    this.#close();
    if (this.#functions.length === 0) {
      throw this.#error(
        undefined,
        "no function with bytes found, expected the text of lspci -xxxx: a line such as 00:1f.3 and then lines such as 00: 86 80 …",
      );
    }
    return { functions: this.#functions, warnings: this.#warnings.list() };
  }

  #startFunction(header: RegExpExecArray, line: number): void {
    this.#close();
    const [, domain, bus = "", device = "", fn = "", description] = header;
    const bdf = functionAddress(domain, bus, device, fn);
    if (bdf === undefined) {
      throw this.#error(line, `${bus}:${device}.${fn} is no function: device 00 to 1f, function 0 to 7`);
    }
    const first = this.#lines.get(bdf);
    if (first !== undefined) {
      throw this.#error(line, `function ${bdf} comes a second time, first on line ${first}`);
    }
    this.#lines.set(bdf, line);
    this.#open = { bdf, header: description, line, bytes: [] };
  }

  #addBytes(offsetText: string, bytesText: string, line: number): void {
    const open = this.#open;
    if (open === undefined) {
      throw this.#error(line, "bytes without a function: expected a line such as 00:1f.3 before them");
    }
    const offset = Number.parseInt(offsetText, 16);
    if (offset >= MAX_BYTES) {
      throw this.#error(line, `offset 0x${offset.toString(16)}: config space has at most ${MAX_BYTES} bytes`);
    }
    if (offset !== open.bytes.length) {
      throw this.#error(
        line,
        `offset 0x${offset.toString(16)} where 0x${open.bytes.length.toString(16)} was expected: bytes of ${open.bdf} are missing or repeated`,
      );
    }
    const words = bytesText === "" ? [] : bytesText.split(/\s+/, BYTES_PER_LINE + 1);
    if (words.length === 0 || words.length > BYTES_PER_LINE) {
      throw this.#error(line, `${words.length === 0 ? "no" : "too many"} bytes, expected 1 to ${BYTES_PER_LINE}`);
    }
    for (const word of words) {
      if (!BYTE.test(word)) {
        throw this.#error(line, `${JSON.stringify(word.slice(0, 20))} is not a byte: two hexadecimal digits`);
      }
      open.bytes.push(Number.parseInt(word, 16));
    }
    if (open.bytes.length > MAX_BYTES) {
      throw this.#error(line, `more than ${MAX_BYTES} bytes for ${open.bdf}`);
    }
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) {
      return;
    }
    const { bdf, header, line, bytes } = open;
    if (bytes.length === 0) {
      this.#warnings.add(line, `${bdf} has no bytes and is left out`);
      return;
    }
    if (bytes.length !== 64 && bytes.length !== 256 && bytes.length !== MAX_BYTES) {
      this.#warnings.add(
        line,
        `${bdf} has ${bytes.length} bytes instead of 64, 256 or ${MAX_BYTES}: the dump seems cut off`,
      );
    }
    const found = { bdf, bytes: Uint8Array.from(bytes), line };
    this.#functions.push(header === undefined ? found : { ...found, header });
  }

  #error(line: number | undefined, what: string): InputError {
    return new InputError(what, {
      ...(this.#file === undefined ? {} : { file: this.#file }),
      ...(line === undefined ? {} : { line }),
    });
  }
}
