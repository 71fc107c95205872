import { type Words, hexWords } from "@iommu-lab/core";

/** A structure from its 64-bit words; what is left out is zero. */
export function wordsOf(count: number, ...values: readonly (bigint | string)[]): Words {
  const words = new Uint32Array(count * 2);
  for (const [index, value] of values.entries()) {
    words[index * 2] = Number(BigInt(value) & 0xffffffffn);
    words[index * 2 + 1] = Number(BigInt(value) >> 32n);
  }
  return words;
}

/** The 64-bit words, trailing zeros left out. */
export function hexOf(words: ArrayLike<number>): string[] {
  const texts = hexWords(words);
  const last = texts.findLastIndex((text) => !/^0x0+$/.test(text));
  return texts.slice(0, last + 1);
}

/** The first bytes as memory holds them. */
export function bytesOf(words: ArrayLike<number>, count: number): string {
  return Array.from({ length: count }, (_, index) =>
    (((words[index >>> 2] ?? 0) >>> ((index & 3) * 8)) & 0xff).toString(16).padStart(2, "0"),
  ).join(" ");
}
