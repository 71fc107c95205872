import { type Digest, type Digestible, getField } from "@iommu-lab/core";
import { CD_BYTES } from "../layout/context-descriptor.ts";
import { L1CD, L1STD, L1STD_SPAN_MAX } from "../layout/level1-descriptors.ts";
import { STE_BYTES } from "../layout/stream-table-entry.ts";

/** A level-1 descriptor as it was fetched: where it leads and how far it reaches. */
export class Level1Entry implements Digestible {
  /** Where it is. */
  address = 0;
  /** Entries of the array it points to; 0 = invalid. */
  count = 0;
  /** The array. */
  pointer = 0;
  readonly #words = new Uint32Array(2);

  /** A stream table's: a Span that is 0, reserved, or reaches beyond SPLIT leads nowhere. Source: SMMUv3 §5.1. */
  setStreams(address: number, lo: number, hi: number, split: number): void {
    this.#set(address, lo, hi);
    const span = getField(this.#words, L1STD.span);
    const valid = span > 0 && span <= L1STD_SPAN_MAX && span <= split + 1;
    this.count = valid ? 2 ** (span - 1) : 0;
    this.pointer = valid ? aligned(getField(this.#words, L1STD.l2Ptr), STE_BYTES * this.count) : 0;
  }

  /** A context descriptor table's. @param bits log2 of the descriptors in a leaf. Source: SMMUv3 §5.3 */
  setContexts(address: number, lo: number, hi: number, bits: number): void {
    this.#set(address, lo, hi);
    this.count = getField(this.#words, L1CD.v) === 0 ? 0 : 2 ** bits;
    this.pointer = aligned(getField(this.#words, L1CD.l2Ptr), CD_BYTES * 2 ** bits);
  }

  digest(into: Digest): void {
    into.number(this.address);
    into.number(this.count);
    into.number(this.pointer);
  }

  #set(address: number, lo: number, hi: number): void {
    this.address = address;
    this.#words[0] = lo;
    this.#words[1] = hi;
  }
}

/** The address without the bits below a power of two. */
export function aligned(address: number, bytes: number): number {
  return address - (address % bytes);
}
