import type { PageTableFormat, Word64 } from "@iommu-lab/core";
import { PROT_MMIO, PROT_NOEXEC, PROT_PRIV, PROT_READ, PROT_WRITE, high32, low32 } from "@iommu-lab/core";

/** Bits 31:0 of a descriptor; of stage 1 where nothing else is said. Source: Arm ARM D8.3. */
export const PTE = {
  valid: 1,
  /** A table at levels 0 to 2, a page at level 3. */
  tableOrPage: 2,
  attrIndxShift: 2,
  /** AP[1]: unprivileged accesses too. */
  unprivileged: 0x40,
  /** AP[2]: read-only. */
  readOnly: 0x80,
  /** Stage 2, S2AP[0]: reads. */
  s2Read: 0x40,
  /** Stage 2, S2AP[1]: writes. */
  s2Write: 0x80,
  shShift: 8,
  af: 0x400,
  /** nG: the entry belongs to one ASID. */
  notGlobal: 0x800,
} as const;

/** Bits 63:32 of a stage-1 descriptor, as bits of the upper half. */
export const PTE_HIGH = {
  /** Dirty bit modifier. */
  dbm: 0x80000,
  pxn: 0x200000,
  uxn: 0x400000,
  /** PXNTable, UXNTable. */
  pxnTable: 0x8000000,
  uxnTable: 0x10000000,
  /** APTable[0]: no unprivileged access below. */
  apTableUnprivileged: 0x20000000,
  /** APTable[1]: no writes below. */
  apTableReadOnly: 0x40000000,
} as const;

const OUTER_SHAREABLE = 2;
const INNER_SHAREABLE = 3;
const ATTR_CACHED = 1;
const ATTR_DEVICE = 2;

/** MAIR of Linux's own tables: NC, WB, Device-nGnRE, inner NC with outer WB; unused attributes as the kernel leaves them. */
export const LINUX_MAIR: readonly [lo: number, hi: number] = [0xf404ff44, 0xffffffff];

/** MAIR_EL1 of the CPUs under Linux: WB, WB tagged, NC, Device-nGnRnE, Device-nGnRE. */
export const LINUX_CPU_MAIR: readonly [lo: number, hi: number] = [0x0044ffff, 0x00000004];

function descriptor(address: number, low: number, high: number, out: Word64): void {
  out.lo = (low32(address) | low) >>> 0;
  out.hi = (high32(address) | high) >>> 0;
}

/** Bits 47:12 of a descriptor. */
function address48(lo: number, hi: number): number {
  return (hi & 0xffff) * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

function protection(lo: number, hi: number, deviceIndex: number): number {
  return (
    PROT_READ |
    ((lo & PTE.readOnly) === 0 ? PROT_WRITE : 0) |
    ((hi & PTE_HIGH.uxn) === 0 ? 0 : PROT_NOEXEC) |
    ((lo & PTE.unprivileged) === 0 ? PROT_PRIV : 0) |
    (((lo >>> PTE.attrIndxShift) & 7) === deviceIndex ? PROT_MMIO : 0)
  );
}

const common = {
  levels: 4,
  indexBits: 9,
  endPage: 2 ** 36,
  present: (_level: number, lo: number): boolean => (lo & PTE.valid) !== 0,
  isTable: (level: number, lo: number): boolean => level > 1 && (lo & PTE.tableOrPage) !== 0,
  address: (_level: number, lo: number, hi: number): number => address48(lo, hi),
};

/**
 * Stage-1 tables of Linux's SMMUv3 driver: 4 KiB granule, 48-bit input, four levels. Entries are non-global, and cached
 * unless they map a device register.
 *
 * Source: Linux 7.2 `arm_lpae_prot_to_pte()`, `arm_lpae_install_table()`; Arm ARM D8.3.
 */
export const vmsav8_64: PageTableFormat = {
  ...common,
  name: "vmsav8-64-stage1-4k",
  tableEntry(_level, address, out) {
    descriptor(address, PTE.valid | PTE.tableOrPage, 0, out);
  },
  leafEntry(_level, address, prot, out) {
    const device = (prot & PROT_MMIO) !== 0;
    const readOnly = (prot & PROT_WRITE) === 0 && (prot & PROT_READ) !== 0;
    const low =
      PTE.valid |
      PTE.tableOrPage |
      PTE.af |
      PTE.notGlobal |
      ((device ? ATTR_DEVICE : ATTR_CACHED) << PTE.attrIndxShift) |
      ((device ? OUTER_SHAREABLE : INNER_SHAREABLE) << PTE.shShift) |
      (readOnly ? PTE.readOnly : 0) |
      ((prot & PROT_PRIV) === 0 ? PTE.unprivileged : 0);
    descriptor(address, low, (prot & PROT_NOEXEC) === 0 ? 0 : PTE_HIGH.pxn | PTE_HIGH.uxn, out);
  },
  protection: (_level, lo, hi) => protection(lo, hi, ATTR_DEVICE),
};

/**
 * Tables of an arm64 process under Linux: as above, but attribute 0 is normal memory, pages are never executable by the
 * kernel, and a writable page that was written carries DBM.
 *
 * Source: Linux 7.2 `_PAGE_SHARED`, `_PAGE_READONLY` of arm64; Arm ARM D8.3.
 */
export const vmsav8_64Process: PageTableFormat = {
  ...common,
  name: "vmsav8-64-process-4k",
  tableEntry(_level, address, out) {
    descriptor(address, PTE.valid | PTE.tableOrPage, 0, out);
  },
  leafEntry(_level, address, prot, out) {
    const write = (prot & PROT_WRITE) !== 0;
    const low =
      PTE.valid |
      PTE.tableOrPage |
      PTE.af |
      PTE.notGlobal |
      PTE.unprivileged |
      (INNER_SHAREABLE << PTE.shShift) |
      (write ? 0 : PTE.readOnly);
    const noExecute = (prot & PROT_NOEXEC) === 0 ? 0 : PTE_HIGH.uxn;
    descriptor(address, low, PTE_HIGH.pxn | noExecute | (write ? PTE_HIGH.dbm : 0), out);
  },
  protection: (_level, lo, hi) => protection(lo, hi, -1),
};
