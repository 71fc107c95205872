import { hexWords } from "@iommu-lab/core";

/** The qwords of a structure as hexadecimal numbers without leading zeros, joined by spaces. */
export function hexOf(words: ArrayLike<number>): string {
  return hexWords(words)
    .map((text) => `0x${BigInt(text).toString(16).toUpperCase()}`)
    .join(" ");
}

/** The bytes of a structure as memory holds them. */
export function bytesOf(words: ArrayLike<number>, count: number): string {
  const bytes: string[] = [];
  for (let index = 0; index < count; index += 1) {
    bytes.push((((words[index >>> 2] ?? 0) >>> ((index & 3) * 8)) & 0xff).toString(16).padStart(2, "0"));
  }
  return bytes.join(" ");
}
