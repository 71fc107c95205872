import { bits64 } from "../sim/bits.ts";
import { type Words, newWords, setBits } from "./words.ts";

/**
 * Where a field is: 64-bit word, highest bit, lowest bit. With `true` at the end it holds an address and values are
 * given in bytes; its low bits are zero. A field is at most 53 bits wide.
 */
export type Field = readonly [word: number, high: number, low: number, address?: true];

/** A structure by its fields. */
export type Layout<K extends string> = Readonly<Record<K, Field>>;

/** The value of a field. */
export function getField(words: ArrayLike<number>, field: Field): number {
  const [word, high, low, address] = field;
  const value = bits64(words[word * 2] ?? 0, words[word * 2 + 1] ?? 0, high, low);
  return address === true ? value * 2 ** low : value;
}

/** Sets a field; what does not fit is cut off. */
export function setField(words: Words, field: Field, value: number): void {
  const [word, high, low, address] = field;
  setBits(words, word * 64 + high, word * 64 + low, address === true ? Math.floor(value / 2 ** low) : value);
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
