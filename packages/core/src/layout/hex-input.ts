import { InputError } from "../sim/errors.ts";

/** The most bytes one hexadecimal input may describe: 64 KiB, more than any layout here. */
const MOST_BYTES = 65536;

/**
 * Bytes from hexadecimal text: either bytes in memory order (`0f 00 01 00`, separators optional), or 64-bit words as
 * kernels print them, lowest first (`0x00000000deadbeef 0x…`), each little-endian.
 *
 * @throws InputError naming the character or word that is not hexadecimal
 */
export function bytesOfHex(text: string): Uint8Array {
  if (text.length > MOST_BYTES * 3) {
    throw new InputError(`hexadecimal input of ${text.length} characters: at most ${MOST_BYTES} bytes are taken`);
  }
  const parts = text.split(/[\s,:_]+/).filter((part) => part !== "");
  if (parts.length === 0) {
    throw new InputError("no hexadecimal digits given, expected bytes such as 0f 00 01 00");
  }
  return parts.some((part) => /^0x/i.test(part)) ? wordsGiven(parts) : bytesGiven(parts.join(""));
}

function wordsGiven(parts: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(parts.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, part] of parts.entries()) {
    if (!/^0x[0-9a-f]{1,16}$/i.test(part)) {
      throw new InputError(`word ${index + 1} is ${JSON.stringify(part)}, expected 0x and up to 16 hexadecimal digits`);
    }
    view.setBigUint64(index * 8, BigInt(part), true);
  }
  return bytes;
}

function bytesGiven(digits: string): Uint8Array {
  const bad = /[^0-9a-f]/i.exec(digits);
  if (bad !== null) {
    throw new InputError(`character ${bad.index + 1} is ${JSON.stringify(bad[0])}, expected hexadecimal digits`);
  }
  if (digits.length % 2 !== 0) {
    throw new InputError(`${digits.length} hexadecimal digits: a byte has two`);
  }
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}
