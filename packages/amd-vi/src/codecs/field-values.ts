import type { Layout, WordFields, Words } from "@iommu-lab/core";
import { getField, setField } from "@iommu-lab/core";

/** Values of the fields of a structure; a field of one bit is true or false. */
export function readFields(layout: Layout<string>, words: ArrayLike<number>): Record<string, number | boolean> {
  return Object.fromEntries(
    Object.entries(layout).map(([name, field]) => {
      const [, high, low] = field;
      const value = getField(words, field);
      return [name, high === low ? value === 1 : value];
    }),
  );
}

/** Puts those values that a layout has into a structure. */
export function writeFields(layout: Layout<string>, words: Words, values: WordFields): void {
  for (const [name, field] of Object.entries(layout)) {
    const value = values[name];
    if (value !== undefined) {
      setField(words, field, Number(value));
    }
  }
}

/** A number among the values; what is absent or no number is 0. */
export function numberOf(values: WordFields, name: string): number {
  const value = values[name];
  return typeof value === "number" ? value : 0;
}

/** The 64-bit address in two words, as `0x…`. */
export function addressText(lo: number, hi: number): string {
  return `0x${((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toString(16)}`;
}
