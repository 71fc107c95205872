import { address52, high32, low32 } from "../sim/bits.ts";
import type { PageTableFormat } from "./format.ts";
import { PROT_READ, PROT_WRITE } from "./format.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;

/**
 * x86-64 tables with 4 levels: a process, VT-d first stage, AMD v2. Input is the lower canonical half.
 *
 * Source: Linux 7.2 `drivers/iommu/generic_pt/fmt/x86_64.h`; golden words in the VT-d and AMD fact sheets (leaf RW
 * 0x…067, RO 0x…025, table 0x…027).
 */
export const x86_64: PageTableFormat = {
  name: "x86-64",
  levels: 4,
  indexBits: 9,
  endPage: 2 ** 35,
  present: (_level, lo) => (lo & PRESENT) !== 0,
  isTable: (level, lo) => level > 1 && (lo & 0x80) === 0,
  address: (_level, lo, hi) => address52(lo, hi),
  tableEntry(_level, address, out) {
    out.lo = (low32(address) | PRESENT | WRITABLE | USER | ACCESSED) >>> 0;
    out.hi = high32(address);
  },
  leafEntry(_level, address, prot, out) {
    const write = (prot & PROT_WRITE) === 0 ? 0 : WRITABLE | DIRTY;
    out.lo = (low32(address) | PRESENT | USER | ACCESSED | write) >>> 0;
    out.hi = high32(address);
  },
  protection: (_level, lo) => PROT_READ | ((lo & WRITABLE) === 0 ? 0 : PROT_WRITE),
};
