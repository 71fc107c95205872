/** Bits of a mapping request. */
export const PROT_READ = 1;
/** See {@link PROT_READ}. */
export const PROT_WRITE = 2;
/** Instruction fetches are not allowed. */
export const PROT_NOEXEC = 4;
/** Only privileged requests may use it. */
export const PROT_PRIV = 8;
/** A device register (an MSI doorbell), not memory. */
export const PROT_MMIO = 16;

/** A 64-bit word as two halves that a format function fills. */
export interface Word64 {
  /** Bits 31:0. */
  lo: number;
  /** Bits 63:32. */
  hi: number;
}

/**
 * One page-table format: small pure answers about an entry. The algorithm (map, unmap, iterate) exists once, in
 * {@link PageTable}. Levels count from 1 (leaf tables) up.
 */
export interface PageTableFormat {
  /** Such as `x86-64`, `vtd-second-stage`, `amd-v1`, `vmsav8-64-stage1-4k`. */
  readonly name: string;
  /** Number of levels of the tree that {@link PageTable} builds. */
  readonly levels: number;
  /** Width of one level's index in bits. */
  readonly indexBits: number;
  /** First page number beyond the input range. */
  readonly endPage: number;
  /** Whether the entry points to a lower table or maps something. */
  present(level: number, lo: number, hi: number): boolean;
  /** Whether a present entry points to a table. */
  isTable(level: number, lo: number, hi: number): boolean;
  /** The address in a present entry, in bytes. */
  address(level: number, lo: number, hi: number): number;
  /** The entry that points to a lower table. */
  tableEntry(level: number, address: number, out: Word64): void;
  /** The entry that maps a page. `prot` is a union of the `PROT_` bits. */
  leafEntry(level: number, address: number, prot: number, out: Word64): void;
  /** The permissions of a leaf, as `PROT_` bits. */
  protection(level: number, lo: number, hi: number): number;
}
