import type { PageTableFormat, Word64 } from "@iommu-lab/core";
import { PROT_READ, PROT_WRITE, address52, bits32, high32, low32 } from "@iommu-lab/core";

/** PR of a host page-table entry, bit 0. */
export const HOST_PRESENT = 1;
/** NextLevel: a leaf of the level's default size. */
export const NEXT_LEVEL_LEAF = 0;
/** NextLevel: a leaf whose size is coded in its address. */
export const NEXT_LEVEL_SIZED = 7;
/** U in the high word, bit 59: a translation of it is for Untranslated requests alone. */
export const HOST_UNTRANSLATED_ONLY_HI: number = 1 << 27;
/** FC in the high word, bit 60: accesses are forced to be coherent. */
export const HOST_FORCE_COHERENT_HI: number = 1 << 28;
/** IR in the high word, bit 61. */
export const HOST_READ_HI: number = 1 << 29;
/** IW in the high word, bit 62. */
export const HOST_WRITE_HI: number = 1 << 30;
/** Reserved bits of a leaf in the high word: 58:52. */
export const HOST_LEAF_RESERVED_HI = 0x07f00000;
/** Reserved bits of a table entry in the high word: 60:52. */
export const HOST_TABLE_RESERVED_HI = 0x1ff00000;

/** NextLevel, bits 11:9. */
export function nextLevel(lo: number): number {
  return bits32(lo, 11, 9);
}

/** log2 of the default leaf size of a level in bytes: 12, 21, 30, 39, 48. */
export function defaultSizeLog2(level: number): number {
  return 12 + 9 * (level - 1);
}

/** log2 of the size that a leaf with NextLevel 7 codes: the first 0 at or above bit 12, plus 1. */
export function codedSizeLog2(lo: number, hi: number): number {
  let bit = 12;
  while (bit < 52 && ((bit < 32 ? lo >>> bit : hi >>> (bit - 32)) & 1) === 1) {
    bit += 1;
  }
  return bit + 1;
}

/** What a leaf of a host table says. */
export interface HostLeaf {
  /** Address of the page; a multiple of its size. */
  readonly address: number;
  /** IR. */
  readonly read: boolean;
  /** IW. */
  readonly write: boolean;
  /** FC. Default false. */
  readonly forceCoherent?: boolean;
  /** U. Default false. */
  readonly untranslatedOnly?: boolean;
  /** log2 of the page size in bytes. Default: the level's own. */
  readonly sizeLog2?: number;
}

/**
 * A leaf of a level-`level` table. A size other than the level's is coded with NextLevel 7; such an entry stands in
 * 2^(size - default) consecutive places.
 *
 * Source: AMD IOMMU specification §2.2.3, table 14.
 */
export function encodeHostLeaf(level: number, leaf: HostLeaf, out: Word64): void {
  const size = leaf.sizeLog2 ?? defaultSizeLog2(level);
  const coded = size !== defaultSizeLog2(level);
  const address = leaf.address + (coded ? 2 ** (size - 1) - 2 ** 12 : 0);
  const next = coded ? NEXT_LEVEL_SIZED : NEXT_LEVEL_LEAF;
  out.lo = (low32(address) | (next << 9) | HOST_PRESENT) >>> 0;
  out.hi =
    (high32(address) |
      (leaf.untranslatedOnly === true ? HOST_UNTRANSLATED_ONLY_HI : 0) |
      (leaf.forceCoherent === true ? HOST_FORCE_COHERENT_HI : 0) |
      (leaf.read ? HOST_READ_HI : 0) |
      (leaf.write ? HOST_WRITE_HI : 0)) >>>
    0;
}

/** The entry that points to the table of level `next`, with all permissions. */
export function encodeHostTable(next: number, address: number, out: Word64): void {
  out.lo = (low32(address) | (next << 9) | HOST_PRESENT) >>> 0;
  out.hi = (high32(address) | HOST_READ_HI | HOST_WRITE_HI) >>> 0;
}

/** The address field, bits 51:12, without the ones that code a size. */
export function hostAddress(lo: number, hi: number): number {
  const address = address52(lo, hi);
  if (nextLevel(lo) !== NEXT_LEVEL_SIZED) {
    return address;
  }
  return address - (2 ** (codedSizeLog2(lo, hi) - 1) - 2 ** 12);
}

/**
 * The host (v1) page table as Linux builds it: 3 levels to begin with, FC on every leaf, all permissions on the way.
 *
 * Source: Linux 7.2 `drivers/iommu/generic_pt/fmt/amdv1.h`, `amd_iommu_domain_alloc_paging_v1()`.
 */
export const amdV1: PageTableFormat = {
  name: "amd-v1",
  levels: 3,
  indexBits: 9,
  endPage: 2 ** 27,
  present: (_level, lo) => (lo & HOST_PRESENT) !== 0,
  isTable: (level, lo) => level > 1 && nextLevel(lo) !== NEXT_LEVEL_LEAF && nextLevel(lo) !== NEXT_LEVEL_SIZED,
  address: (_level, lo, hi) => hostAddress(lo, hi),
  tableEntry(level, address, out) {
    encodeHostTable(level - 1, address, out);
  },
  leafEntry(level, address, prot, out) {
    const read = (prot & PROT_READ) !== 0;
    const write = (prot & PROT_WRITE) !== 0;
    encodeHostLeaf(level, { address, read, write, forceCoherent: true }, out);
  },
  protection: (_level, _lo, hi) =>
    ((hi & HOST_READ_HI) === 0 ? 0 : PROT_READ) | ((hi & HOST_WRITE_HI) === 0 ? 0 : PROT_WRITE),
};
