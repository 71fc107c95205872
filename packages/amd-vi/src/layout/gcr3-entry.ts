import { address52, hex, high32, low32 } from "@iommu-lab/core";

/** PASID bits that one level of a GCR3 table resolves. */
const GCR3_INDEX_BITS = 9;

/** V of an entry, bit 0. */
export const GCR3_VALID = 1;

/** Low and high word of an entry that points to a lower GCR3 table or to a guest page table. Source: §2.2.6.3. */
export function encodeGcr3Entry(address: number): readonly [lo: number, hi: number] {
  return [(low32(address) | GCR3_VALID) >>> 0, high32(address)];
}

/** The address in an entry; -1 when V is 0. */
export function decodeGcr3Entry(lo: number, hi: number): number {
  return (lo & GCR3_VALID) === 0 ? -1 : address52(lo, hi);
}

/** PASIDs that a table with `glx + 1` levels can hold. */
export function gcr3Capacity(glx: number): number {
  return Math.min(2 ** (GCR3_INDEX_BITS * (glx + 1)), 2 ** 20);
}

/** The index of a PASID in the table of a level, 0 = the lowest. */
export function gcr3Index(pasid: number, level: number): number {
  return (pasid >>> (GCR3_INDEX_BITS * level)) & 0x1ff;
}

/** An entry in words. */
export function describeGcr3Entry(lo: number, hi: number): string {
  const address = decodeGcr3Entry(lo, hi);
  return address < 0 ? "not valid" : `guest page table ${hex(address)}`;
}
