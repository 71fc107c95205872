import { bits32, hex64 } from "../sim/bits.ts";
import { InputError } from "../sim/errors.ts";

/**
 * A structure in memory as u32 halves, lowest address first: 64-bit word n of a specification is the pair `[2n]`
 * (bits 31:0) and `[2n+1]` (bits 63:32). The structures of all three IOMMUs are little-endian and a multiple of 64
 * bits long.
 */
export type Words = Uint32Array;

/** Zeroed words. @param count number of 64-bit words */
export function newWords(count: number): Words {
  return new Uint32Array(count * 2);
}

/**
 * The value of bits `high:low` (inclusive, at most 53 of them that are not zero), counted from bit 0 of the first word
 * as specifications count them. Missing words read as zero.
 */
export function getBits(words: ArrayLike<number>, high: number, low: number): number {
  let value = 0;
  let scale = 1;
  for (let bit = low; bit <= high;) {
    const top = Math.min(high, bit | 31);
    value += bits32(words[bit >>> 5] ?? 0, top & 31, bit & 31) * scale;
    scale *= 2 ** (top - bit + 1);
    bit = top + 1;
  }
  return value;
}

/** Sets bits `high:low` to a non-negative integer; what does not fit is cut off. See {@link getBits}. */
export function setBits(words: Words, high: number, low: number, value: number): void {
  let rest = value;
  for (let bit = low; bit <= high;) {
    const top = Math.min(high, bit | 31);
    const width = top - bit + 1;
    const mask = width === 32 ? 0xffffffff : (2 ** width - 1) << (bit & 31);
    const index = bit >>> 5;
    words[index] = ((words[index] ?? 0) & ~mask) | ((rest % 2 ** width) << (bit & 31));
    rest = Math.floor(rest / 2 ** width);
    bit = top + 1;
  }
}

/** One bit as a boolean. */
export function getBit(words: ArrayLike<number>, bit: number): boolean {
  return (((words[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1;
}

/** Sets or clears one bit. */
export function setBit(words: Words, bit: number, value: boolean): void {
  setBits(words, bit, bit, value ? 1 : 0);
}

/** The 64-bit words as `0x` and 16 digits each, lowest first: how traces and recordings print a structure. */
export function hexWords(words: ArrayLike<number>): string[] {
  const out: string[] = [];
  for (let index = 0; index < words.length; index += 2) {
    out.push(hex64(words[index] ?? 0, words[index + 1] ?? 0));
  }
  return out;
}

/** A structure from its 64-bit words, lowest first: the way back from {@link hexWords}. */
export function fromQwords(values: readonly bigint[]): Words {
  const words = newWords(values.length);
  for (const [index, value] of values.entries()) {
    words[index * 2] = Number(value & 0xffffffffn);
    words[index * 2 + 1] = Number((value >> 32n) & 0xffffffffn);
  }
  return words;
}

/** Whether two structures hold the same bits; missing words count as zero. */
export function sameWords(one: ArrayLike<number>, other: ArrayLike<number>): boolean {
  for (let index = 0; index < Math.max(one.length, other.length); index += 1) {
    if ((one[index] ?? 0) !== (other[index] ?? 0)) {
      return false;
    }
  }
  return true;
}

/**
 * Bytes as they lie in memory, as words.
 *
 * @throws InputError when the length is not a multiple of 8
 */
export function wordsOfBytes(bytes: Uint8Array): Words {
  if (bytes.length % 8 !== 0) {
    throw new InputError(`${bytes.length} bytes are not a whole number of 64-bit words`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = newWords(bytes.length / 8);
  for (let index = 0; index < words.length; index += 1) {
    words[index] = view.getUint32(index * 4, true);
  }
  return words;
}

/** Words as the bytes that lie in memory. */
export function bytesOfWords(words: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < words.length; index += 1) {
    view.setUint32(index * 4, words[index] ?? 0, true);
  }
  return bytes;
}
