import type { PageTableFormat } from "@iommu-lab/core";
import { KernelError, PROT_READ, PROT_WRITE, address52, high32, low32 } from "@iommu-lab/core";

/** R, bit 0 of a second-stage entry. */
export const SS_READ = 1;
/** W, bit 1. */
export const SS_WRITE = 2;
/** PS, bit 7: the entry of level 2 or 3 maps a large page. */
export const SS_LARGE: number = 1 << 7;
/** A, bit 8; counts where SSADE is set. */
export const SS_ACCESSED: number = 1 << 8;
/** D, bit 9 of a leaf; counts where SSADE is set. */
export const SS_DIRTY: number = 1 << 9;
/** SNP, bit 11 of a leaf. */
export const SS_SNOOP: number = 1 << 11;

/**
 * VT-d second-stage tables: an entry is present when R or W is set, and permissions combine over all levels.
 *
 * Source: VT-d 5.10 §9.8; Linux 7.2 `drivers/iommu/generic_pt/fmt/vtdss.h`.
 *
 * @param levels 3 or 4: 39 or 48 input bits
 * @param snoop every leaf gets SNP (the domain enforces cache coherency)
 */
export function secondStage(levels: 3 | 4, snoop: boolean = false): PageTableFormat {
  return {
    name: `vtd-second-stage-${levels}`,
    levels,
    indexBits: 9,
    endPage: 2 ** (9 * levels),
    present: (_level, lo) => (lo & (SS_READ | SS_WRITE)) !== 0,
    isTable: (level, lo) => level > 1 && !(level <= 3 && (lo & SS_LARGE) !== 0),
    address: (_level, lo, hi) => address52(lo, hi),
    tableEntry(_level, address, out) {
      out.lo = (low32(address) | SS_READ | SS_WRITE) >>> 0;
      out.hi = high32(address);
    },
    leafEntry(level, address, prot, out) {
      const rights = ((prot & PROT_READ) === 0 ? 0 : SS_READ) | ((prot & PROT_WRITE) === 0 ? 0 : SS_WRITE);
      if (rights === 0) {
        throw new KernelError("EINVAL", "a second-stage mapping needs read or write permission");
      }
      out.lo = (low32(address) | rights | (level > 1 ? SS_LARGE : 0) | (snoop ? SS_SNOOP : 0)) >>> 0;
      out.hi = high32(address);
    },
    protection: (_level, lo) => ((lo & SS_READ) === 0 ? 0 : PROT_READ) | ((lo & SS_WRITE) === 0 ? 0 : PROT_WRITE),
  };
}
