import { LAST_LEVEL, alignDown } from "./table-geometry.ts";
import { PTE } from "../layout/vmsav8-64.ts";

/** Bit 52 of a descriptor, in its upper half: neighbours continue the mapping. */
const CONTIGUOUS_HIGH = 0x100000;

/** The descriptor leads nowhere: invalid, or a block where none is allowed. */
export const LEADS_NOWHERE = 0;
/** It leads to a table. */
export const LEADS_ON = 1;
/** It is a block or a page. */
export const IS_LEAF = 2;

/** What a descriptor is. @param firstBlock smallest level with blocks */
export function kindOfDescriptor(lo: number, level: number, firstBlock: number): number {
  if ((lo & PTE.valid) === 0) {
    return LEADS_NOWHERE;
  }
  if ((lo & PTE.tableOrPage) !== 0) {
    return level === LAST_LEVEL ? IS_LEAF : LEADS_ON;
  }
  return level < LAST_LEVEL && level >= firstBlock ? IS_LEAF : LEADS_NOWHERE;
}

/** Whether a descriptor's Contiguous bit is set. */
export function isContiguous(hi: number): boolean {
  return (hi & CONTIGUOUS_HIGH) !== 0;
}

/** SH of a leaf is inner or outer. With 52-bit descriptors of small granules the field holds address bits instead. */
export function isShareable(lo: number, granule: number, large: boolean): boolean {
  return (large && granule !== 16) || ((lo >>> PTE.shShift) & 3) >= 2;
}

/**
 * Output address of a descriptor, in bytes: bits 47:granule; with 52 bits also 51:48 from where the granule has them.
 *
 * Source: Arm ARM D8.3.
 */
export function outputAddress(lo: number, hi: number, granule: number, large: boolean): number {
  const low = (lo & ((0xffffffff << granule) >>> 0)) >>> 0;
  if (!large) {
    return (hi & 0xffff) * 2 ** 32 + low;
  }
  if (granule === 16) {
    return ((hi & 0xffff) + ((lo >>> 12) & 0xf) * 2 ** 16) * 2 ** 32 + low;
  }
  return ((hi & 0x3ffff) + ((lo >>> 8) & 3) * 2 ** 18) * 2 ** 32 + low;
}

/**
 * The page that a leaf leads a page to. Address bits below the size of the leaf do not count.
 *
 * @param shift log2 of what the leaf maps
 */
export function pageIn(address: number, page: number, shift: number): number {
  if (shift === 12) {
    return address * 2 ** -12;
  }
  return alignDown(address, shift) * 2 ** -12 + (page - alignDown(page, shift - 12));
}

/** The other byte order of 32 bits. */
export function swapped(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
