/**
 * The smallest naturally aligned power of two of pages that covers a range: what an invalidation can express.
 *
 * Source: Linux 7.2 `calculate_psi_aligned_address()`.
 */
export interface AlignedRange {
  /** First page; a multiple of `2^order`. */
  readonly page: number;
  /** log2 of the number of pages; 52 = everything. */
  readonly order: number;
}

/** log2 of the number of pages of the whole 64-bit address space. */
export const ALL_PAGES_ORDER = 52;

/**
 * Rounds a range of pages.
 *
 * @param first first page
 * @param last last page, inclusive
 */
export function alignedRange(first: number, last: number): AlignedRange {
  let order = 0;
  while (order < ALL_PAGES_ORDER && Math.floor(first / 2 ** order) !== Math.floor(last / 2 ** order)) {
    order += 1;
  }
  return { page: order === ALL_PAGES_ORDER ? 0 : Math.floor(first / 2 ** order) * 2 ** order, order };
}

/**
 * The size-coded page number of a device-TLB invalidation with S=1: `order` low bits in which all but the highest are
 * ones, as PCIe codes sizes. Everything is 0x7ffffffffffff.
 *
 * Source: PCIe 6.0 §10.3.1; VT-d 5.10 §6.5.2.5.
 *
 * @param page first page; a multiple of `2^order`
 * @param order 1 … 52
 */
export function codePages(page: number, order: number): number {
  return page + 2 ** (order - 1) - 1;
}

/** Reads a size-coded page number with S=1. A value of 52 ones is undefined and taken as everything. */
export function decodePages(coded: number): AlignedRange {
  let order = 1;
  while (order < ALL_PAGES_ORDER && Math.floor(coded / 2 ** (order - 1)) % 2 === 1) {
    order += 1;
  }
  return { page: order === ALL_PAGES_ORDER ? 0 : Math.floor(coded / 2 ** order) * 2 ** order, order };
}
