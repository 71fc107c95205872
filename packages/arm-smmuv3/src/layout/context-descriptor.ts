import { type Words, decodeFields, encodeFields, getField, hex } from "@iommu-lab/core";

/** Size of a context descriptor in bytes. */
export const CD_BYTES = 64;
/** The same in 64-bit words. */
export const CD_WORDS = 8;

/**
 * Context descriptor: the stage-1 translation of one SubstreamID. Names are those of the specification.
 *
 * Source: SMMUv3 §5.4.
 */
export const CD = {
  /** 64 minus the input address bits of TTB0. */
  t0Sz: [0, 5, 0],
  /** One of {@link TG0}. */
  tg0: [0, 7, 6],
  /** Inner cacheability of walks from TTB0. */
  ir0: [0, 9, 8],
  /** Outer cacheability of the same. */
  or0: [0, 11, 10],
  /** Shareability of the same. */
  sh0: [0, 13, 12],
  /** No walks from TTB0. */
  epd0: [0, 14, 14],
  /** Tables are big-endian. */
  endi: [0, 15, 15],
  /** 64 minus the input address bits of TTB1. */
  t1Sz: [0, 21, 16],
  /** Granule of TTB1, see {@link granuleOfTg1}. */
  tg1: [0, 23, 22],
  /** Inner cacheability of walks from TTB1. */
  ir1: [0, 25, 24],
  /** Outer cacheability of the same. */
  or1: [0, 27, 26],
  /** Shareability of the same. */
  sh1: [0, 29, 28],
  /** No walks from TTB1. */
  epd1: [0, 30, 30],
  /** The descriptor is valid. */
  v: [0, 31, 31],
  /** Output address size. */
  ips: [0, 34, 32],
  /** The access flag makes no faults. */
  affd: [0, 35, 35],
  /** What is writable is not executable. */
  wxn: [0, 36, 36],
  /** What unprivileged accesses can write is not executable by privileged ones. */
  uwxn: [0, 37, 37],
  /** Bits 63:56 are ignored where TTB0 translates. */
  tbi0: [0, 38, 38],
  /** Bits 63:56 are ignored where TTB1 translates. */
  tbi1: [0, 39, 39],
  /** Privileged accesses to unprivileged pages fault. */
  pan: [0, 40, 40],
  /** 64-bit tables. */
  aa64: [0, 41, 41],
  /** Hardware sets the dirty state. */
  hd: [0, 42, 42],
  /** Hardware sets the access flag. */
  ha: [0, 43, 43],
  /** Faults stall. */
  s: [0, 44, 44],
  /** Faults are recorded. */
  r: [0, 45, 45],
  /** Faults abort; 0 = reads return zero, writes are ignored. */
  a: [0, 46, 46],
  /** The ASID is outside the broadcasts of CPUs. */
  aset: [0, 47, 47],
  /** Address space of TLB entries. */
  asid: [0, 63, 48],
  /** Security state of walks from TTB0. */
  nsCfg0: [1, 0, 0],
  /** Tables of TTB0 limit no permissions. */
  had0: [1, 1, 1],
  /** Unprivileged accesses to TTB0 fault. */
  e0pd0: [1, 2, 2],
  /** Hardware sets the access flag of tables. */
  haft: [1, 3, 3],
  /** Table 0, in bytes. */
  ttb0: [1, 51, 4, true],
  /** Privileged code needs pages that unprivileged code cannot change. */
  pnCh: [1, 58, 58],
  /** PAN counts executable pages too. */
  epan: [1, 59, 59],
  /** Page bits 62:59 of table 0 that hardware may use. */
  hwu0: [1, 63, 60],
  /** Security state of walks from TTB1. */
  nsCfg1: [2, 0, 0],
  /** Tables of TTB1 limit no permissions. */
  had1: [2, 1, 1],
  /** Unprivileged accesses to TTB1 fault. */
  e0pd1: [2, 2, 2],
  /** Memory attributes are indices into a longer table. */
  aie: [2, 3, 3],
  /** Table 1, in bytes. */
  ttb1: [2, 51, 4, true],
  /** Descriptors for 52 bits. */
  ds: [2, 58, 58],
  /** Permissions are indices into the words 6 and 7. */
  pie: [2, 59, 59],
  /** Memory attributes 0 to 3. */
  mair0: [3, 31, 0],
  /** Memory attributes 4 to 7. */
  mair1: [3, 63, 32],
  /** Implementation-defined memory attributes 0 to 3. */
  amair0: [4, 31, 0],
  /** Implementation-defined memory attributes 4 to 7. */
  amair1: [4, 63, 32],
  /** MPAM partition. */
  partId: [5, 47, 32],
  /** MPAM performance group. */
  pmg: [5, 55, 48],
} as const;

/** A field of {@link CD}. */
export type CdField = keyof typeof CD;

/** CD.TG0: translation granule. CD.TG1 has other codes, see {@link granuleOfTg1}. */
export const TG0 = {
  /** 4 KiB. */
  granule4K: 0,
  /** 64 KiB. */
  granule64K: 1,
  /** 16 KiB. */
  granule16K: 2,
} as const;

/** log2 of the granule that TG0 names; 0 = reserved. */
export function granuleOfTg0(tg0: number): number {
  return [12, 16, 14, 0][tg0] ?? 0;
}

/** log2 of the granule that TG1 names; 0 = reserved. */
export function granuleOfTg1(tg1: number): number {
  return [0, 14, 12, 16][tg1] ?? 0;
}

/** Builds a context descriptor. Fields left out are zero. */
export function encodeCd(fields: Readonly<Partial<Record<CdField, number>>>): Words {
  return encodeFields<CdField>(CD, CD_WORDS, fields);
}

/** All fields of a context descriptor. */
export function decodeCd(words: ArrayLike<number>): Record<CdField, number> {
  return decodeFields<CdField>(CD, words);
}

/** The descriptor in a reader's words. */
export function describeCd(words: ArrayLike<number>): string {
  if (getField(words, CD.v) === 0) {
    return "V=0";
  }
  const flags = (["a", "r", "s", "ha", "hd", "aset"] as const).filter((name) => getField(words, CD[name]) === 1);
  const table =
    getField(words, CD.epd0) === 1 ? "EPD0" : `TTB0=${hex(getField(words, CD.ttb0))} T0SZ=${getField(words, CD.t0Sz)}`;
  return `V=1 ASID=${getField(words, CD.asid)} ${table} ${flags.join(" ").toUpperCase()}`;
}
