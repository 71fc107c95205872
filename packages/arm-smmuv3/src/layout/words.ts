import { bits64, hex64 } from "@iommu-lab/core";

/**
 * A structure in memory as u32 halves, lowest address first: 64-bit word n of the specification is the pair
 * `[2n]` (bits 31:0), `[2n+1]` (bits 63:32). SMMUv3 structures are little-endian.
 */
export type Words = Uint32Array;

/**
 * Where a field is: 64-bit word, highest bit, lowest bit. With `true` at the end it holds an address and values are
 * given in bytes; its low bits are zero. A field is at most 53 bits wide.
 */
export type Field = readonly [word: number, high: number, low: number, address?: true];

/** A structure by its fields. */
export type Layout<K extends string> = Readonly<Record<K, Field>>;

/** Zeroed words. @param count number of 64-bit words */
export function newWords(count: number): Words {
  return new Uint32Array(count * 2);
}

/** The value of a field. */
export function getField(words: ArrayLike<number>, field: Field): number {
  const [word, high, low, address] = field;
  const value = bits64(words[word * 2] ?? 0, words[word * 2 + 1] ?? 0, high, low);
  return address === true ? value * 2 ** low : value;
}

/** Sets a field; what does not fit is cut off. */
export function setField(words: Words, field: Field, value: number): void {
  const [word, high, low, address] = field;
  let rest = address === true ? Math.floor(value / 2 ** low) : value;
  for (let bit = low; bit <= high;) {
    const top = Math.min(high, bit | 31);
    const width = top - bit + 1;
    const index = word * 2 + (bit >>> 5);
    const mask = width === 32 ? 0xffffffff : (2 ** width - 1) << (bit & 31);
    words[index] = ((words[index] ?? 0) & ~mask) | ((rest % 2 ** width) << (bit & 31));
    rest = Math.floor(rest / 2 ** width);
    bit = top + 1;
  }
}

/** Builds a structure from the fields that are not zero. @param count number of 64-bit words */
export function encodeFields<K extends string>(
  layout: Layout<K>,
  count: number,
  values: Readonly<Partial<Record<K, number>>>,
): Words {
  const words = newWords(count);
  for (const name of Object.keys(values) as K[]) {
    setField(words, layout[name], values[name] ?? 0);
  }
  return words;
}

/** All fields of a structure. */
export function decodeFields<K extends string>(layout: Layout<K>, words: ArrayLike<number>): Record<K, number> {
  const names = Object.keys(layout) as K[];
  return Object.fromEntries(names.map((name) => [name, getField(words, layout[name])])) as Record<K, number>;
}

/** The 64-bit words as `0x` and 16 digits each, lowest first. */
export function hexWords(words: ArrayLike<number>): string[] {
  const out: string[] = [];
  for (let index = 0; index < words.length; index += 2) {
    out.push(hex64(words[index] ?? 0, words[index + 1] ?? 0));
  }
  return out;
}

/** Whether two structures are the same. */
export function sameWords(one: ArrayLike<number>, other: ArrayLike<number>): boolean {
  for (let index = 0; index < Math.max(one.length, other.length); index += 1) {
    if ((one[index] ?? 0) !== (other[index] ?? 0)) {
      return false;
    }
  }
  return true;
}
