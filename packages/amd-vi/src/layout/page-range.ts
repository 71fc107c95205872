import { high32, low32 } from "@iommu-lab/core";

/** Pages of the 64-bit address space. */
export const ALL_PAGES: number = 2 ** 52;
/** log2 of the 64-bit address space in bytes. */
const ALL_PAGES_LOG2 = 64;
const S = 1;
/** Address bits 62:12, which with S code everything. */
const ALL_LO = 0xfffff000;
const ALL_HI = 0x7fffffff;
/** Largest range that is coded as a power of two; beyond it everything is invalidated. */
const LARGEST_LOG2 = 52;

/** Number of bits up to the highest 1 of a number below 2^52. */
function bitLength(value: number): number {
  return value === 0 ? 0 : value < 2 ** 32 ? 32 - Math.clz32(value) : 64 - Math.clz32(high32(value));
}

/** Exclusive or of two numbers below 2^52. */
function xor(a: number, b: number): number {
  return ((high32(a) ^ high32(b)) >>> 0) * 2 ** 32 + ((low32(a) ^ low32(b)) >>> 0);
}

/**
 * Address and S of an invalidation: the smallest power of two that covers the pages, everything above 2^52 bytes. S=0 is
 * one page; with S=1 ones from bit 12 up to a 0 code 8 KiB times two for each of them.
 *
 * Source: AMD IOMMU specification §2.2.3 table 14; Linux 7.2 `build_inv_address()`.
 *
 * @param page first page number
 * @param count number of pages, at least 1
 * @returns low and high word; bits 11:1 are 0
 */
export function encodePageRange(page: number, count: number): readonly [lo: number, hi: number] {
  const size = 12 + bitLength(xor(page, page + count - 1));
  if (size === 12) {
    return [low32(page * 4096), high32Page(page)];
  }
  if (size > LARGEST_LOG2) {
    return [(ALL_LO | S) >>> 0, ALL_HI];
  }
  const ones = 2 ** (size - 13) - 1;
  const coded = page - (page % 2 ** (size - 13)) + ones;
  return [(low32((coded % 2 ** 20) * 4096) | S) >>> 0, high32Page(coded)];
}

/** Bits 63:32 of a page's address. */
function high32Page(page: number): number {
  return Math.floor(page / 2 ** 20) >>> 0;
}

/** A range of pages as an invalidation codes it. */
export interface PageRange {
  /** First page; a multiple of the size. */
  readonly page: number;
  /** log2 of the size in bytes, 12 … 64. */
  readonly sizeLog2: number;
}

/** Reads address and S of an invalidation. */
export function decodePageRange(lo: number, hi: number): PageRange {
  const page = hi * 2 ** 20 + (lo >>> 12);
  if ((lo & S) === 0) {
    return { page, sizeLog2: 12 };
  }
  let rest = page;
  let sizeLog2 = 13;
  while (rest % 2 === 1 && sizeLog2 < ALL_PAGES_LOG2) {
    rest = Math.floor(rest / 2);
    sizeLog2 += 1;
  }
  const pages = 2 ** (sizeLog2 - 12);
  return { page: page - (page % pages), sizeLog2 };
}

/** `all`, `0x1000` or `0x0 + 16 KiB`. */
export function describePageRange({ page, sizeLog2 }: PageRange): string {
  if (sizeLog2 >= ALL_PAGES_LOG2) {
    return "all pages";
  }
  const address = `0x${(BigInt(page) << 12n).toString(16)}`;
  return sizeLog2 === 12 ? `page ${address}` : `${address} + 2^${sizeLog2} bytes`;
}
