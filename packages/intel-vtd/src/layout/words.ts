import { bits32, hex64 } from "@iommu-lab/core";

/**
 * An in-memory structure as u32 words, lowest address first: word 0 holds bits 31:0 of qword 0, word 1 bits 63:32, and so
 * on. All VT-d structures are little-endian and a multiple of 64 bits long.
 */
export type Words = Uint32Array;

/** Zeroed words for a structure of `qwords` 64-bit words. */
export function qwords(count: number): Words {
  return new Uint32Array(count * 2);
}

/**
 * The value of bits `high:low` (inclusive, at most 53 of them) of a structure, counted from bit 0 of its first qword as the
 * specification counts them.
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
    const part = rest % 2 ** width;
    const mask = width === 32 ? 0xffffffff : (2 ** width - 1) << (bit & 31);
    const index = bit >>> 5;
    words[index] = ((words[index] ?? 0) & ~mask) | (part << (bit & 31));
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

/** The qwords as `0x` and 16 digits each, lowest first: how traces and recordings print a structure. */
export function qwordStrings(words: ArrayLike<number>): string[] {
  const out: string[] = [];
  for (let index = 0; index < words.length; index += 2) {
    out.push(hex64(words[index] ?? 0, words[index + 1] ?? 0));
  }
  return out;
}

/** A structure from its qwords as 64-bit integers, lowest first: the way back from a dump. */
export function fromQwords(values: readonly bigint[]): Words {
  const words = qwords(values.length);
  for (const [index, value] of values.entries()) {
    words[index * 2] = Number(value & 0xffffffffn);
    words[index * 2 + 1] = Number((value >> 32n) & 0xffffffffn);
  }
  return words;
}
