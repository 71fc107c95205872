import type { Digest, Digestible } from "@iommu-lab/core";
import { L1STD_SPAN_MAX } from "../layout/level1-descriptors.ts";
import { alignDown, power } from "./table-geometry.ts";

/** log2 of the size of an STE and of a context descriptor in bytes. */
const STE_LOG2 = 6;
const CD_LOG2 = 6;

/** A level-1 descriptor as it was fetched: where it leads and how far it reaches. */
export class Level1Entry implements Digestible {
  /** Where it is. */
  address = 0;
  /** Entries of the array it points to; 0 = invalid. */
  count = 0;
  /** The array. */
  pointer = 0;

  /** A stream table's: a Span that is 0, reserved, or reaches beyond SPLIT leads nowhere. Source: SMMUv3 §5.1. */
  setStreams(address: number, lo: number, hi: number, split: number): void {
    const span = lo & 0x1f;
    const valid = span > 0 && span <= L1STD_SPAN_MAX && span <= split + 1;
    this.address = address;
    this.count = valid ? power(span - 1) : 0;
    this.pointer = valid ? alignDown(pointerOf(lo & 0xffffffc0, hi), STE_LOG2 + span - 1) : 0;
  }

  /** A context descriptor table's. @param bits log2 of the descriptors in a leaf. Source: SMMUv3 §5.3 */
  setContexts(address: number, lo: number, hi: number, bits: number): void {
    this.address = address;
    this.count = (lo & 1) === 0 ? 0 : power(bits);
    this.pointer = alignDown(pointerOf(lo & 0xfffff000, hi), CD_LOG2 + bits);
  }

  digest(into: Digest): void {
    into.number(this.address);
    into.number(this.count);
    into.number(this.pointer);
  }
}

/** L2Ptr ends at bit 55. */
function pointerOf(lo: number, hi: number): number {
  return (hi & 0xffffff) * 2 ** 32 + (lo >>> 0);
}
