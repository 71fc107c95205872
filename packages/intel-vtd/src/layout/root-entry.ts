import { type Words, getBit, getBits, hex, newWords, setBit, setBits } from "@iommu-lab/core";

/** Bytes of a root entry; a root table holds 256 of them, indexed by bus number. */
export const ROOT_ENTRY_BYTES = 16;

/** A legacy-mode root entry. Source: VT-d 5.10 §9.1. */
export interface RootEntry {
  /** P, bit 0. */
  readonly present: boolean;
  /** CTP, bits 63:12: the context table of the bus. */
  readonly contextTable: number;
}

/** The words of a legacy-mode root entry. */
export function encodeRootEntry(entry: RootEntry): Words {
  const words = newWords(2);
  setBit(words, 0, entry.present);
  setBits(words, 63, 12, entry.contextTable / 4096);
  return words;
}

/** Reads a legacy-mode root entry. */
export function decodeRootEntry(words: ArrayLike<number>): RootEntry {
  return { present: getBit(words, 0), contextTable: getBits(words, 63, 12) * 4096 };
}

/** A scalable-mode root entry. Source: VT-d 5.10 §9.2. */
export interface ScalableRootEntry {
  /** LP, bit 0: devices 0 … 15 have a context table. */
  readonly lowPresent: boolean;
  /** LCTP, bits 63:12. */
  readonly lowTable: number;
  /** UP, bit 64: devices 16 … 31 have a context table. */
  readonly highPresent: boolean;
  /** UCTP, bits 127:76. */
  readonly highTable: number;
}

/** The words of a scalable-mode root entry. */
export function encodeScalableRootEntry(entry: ScalableRootEntry): Words {
  const words = newWords(2);
  setBit(words, 0, entry.lowPresent);
  setBits(words, 63, 12, entry.lowTable / 4096);
  setBit(words, 64, entry.highPresent);
  setBits(words, 127, 76, entry.highTable / 4096);
  return words;
}

/** Reads a scalable-mode root entry. */
export function decodeScalableRootEntry(words: ArrayLike<number>): ScalableRootEntry {
  return {
    lowPresent: getBit(words, 0),
    lowTable: getBits(words, 63, 12) * 4096,
    highPresent: getBit(words, 64),
    highTable: getBits(words, 127, 76) * 4096,
  };
}

/** A root entry in words: `P, CTP 0x1001000`. */
export function describeRootEntry(words: ArrayLike<number>, scalable: boolean): string {
  if (!scalable) {
    const entry = decodeRootEntry(words);
    return entry.present ? `P, CTP ${hex(entry.contextTable)}` : "not present";
  }
  const entry = decodeScalableRootEntry(words);
  const low = entry.lowPresent ? `LP, LCTP ${hex(entry.lowTable)}` : "lower half not present";
  const high = entry.highPresent ? `UP, UCTP ${hex(entry.highTable)}` : "upper half not present";
  return `${low}; ${high}`;
}
