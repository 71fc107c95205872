import { bits32, hex64 } from "@iommu-lab/core";

/**
 * An in-memory structure as u32 words, lowest address first: word 0 holds bits 31:0 of the first quadword, word 1 bits
 * 63:32, and so on. All AMD-Vi structures are little-endian.
 */
export type Words = Uint32Array;

/**
 * The value of bits `high:low` (inclusive, at most 53 of them) of a structure, counted from bit 0 of its first word as the
 * specification counts them.
 */
export function getBits(words: ArrayLike<number>, high: number, low: number): number {
  let value = 0;
  let scale = 1;
  let bit = low;
  while (bit <= high) {
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
  let bit = low;
  while (bit <= high) {
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

/** The quadwords as `0x` and 16 digits each, lowest first: how traces and recordings print a structure. */
export function quadwords(words: ArrayLike<number>): string[] {
  const out: string[] = [];
  for (let index = 0; index < words.length; index += 2) {
    out.push(hex64(words[index] ?? 0, words[index + 1] ?? 0));
  }
  return out;
}

/** A structure from its quadwords as 64-bit integers, lowest first: the way back from a dump. */
export function fromQuadwords(values: readonly bigint[]): Words {
  const words = new Uint32Array(values.length * 2);
  for (const [index, value] of values.entries()) {
    words[index * 2] = Number(value & 0xffffffffn);
    words[index * 2 + 1] = Number((value >> 32n) & 0xffffffffn);
  }
  return words;
}
