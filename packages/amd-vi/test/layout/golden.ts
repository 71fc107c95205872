import { hexWords } from "@iommu-lab/core";

/** The quadwords of a structure as the fact sheets print them. */
export function hexOf(words: ArrayLike<number>): string[] {
  return hexWords(words).map((text) => `0x${BigInt(text).toString(16).toUpperCase()}`);
}

/** A page-table word as the fact sheets print it. */
export function wordOf(word: { readonly lo: number; readonly hi: number }): string {
  return hexOf([word.lo, word.hi])[0] ?? "";
}

/** Four words of a command or an event, 8 digits each. */
export function dwords(words: ArrayLike<number>): string {
  return Array.from(words, (word) => (word >>> 0).toString(16).toUpperCase().padStart(8, "0")).join(" ");
}

/** The bytes of a structure as memory holds them. */
export function bytesOf(words: Uint32Array): string {
  const bytes: string[] = [];
  for (const word of words) {
    for (let shift = 0; shift < 32; shift += 8) {
      bytes.push(((word >>> shift) & 0xff).toString(16).padStart(2, "0"));
    }
  }
  return bytes.join(" ");
}
