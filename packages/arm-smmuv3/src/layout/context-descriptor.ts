import { hex } from "@iommu-lab/core";
import type { Words } from "./words.ts";
import { encodeFields, getField } from "./words.ts";

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
  t0Sz: [0, 5, 0],
  tg0: [0, 7, 6],
  ir0: [0, 9, 8],
  or0: [0, 11, 10],
  sh0: [0, 13, 12],
  epd0: [0, 14, 14],
  endi: [0, 15, 15],
  t1Sz: [0, 21, 16],
  tg1: [0, 23, 22],
  ir1: [0, 25, 24],
  or1: [0, 27, 26],
  sh1: [0, 29, 28],
  epd1: [0, 30, 30],
  v: [0, 31, 31],
  ips: [0, 34, 32],
  affd: [0, 35, 35],
  wxn: [0, 36, 36],
  uwxn: [0, 37, 37],
  tbi0: [0, 38, 38],
  tbi1: [0, 39, 39],
  pan: [0, 40, 40],
  aa64: [0, 41, 41],
  hd: [0, 42, 42],
  ha: [0, 43, 43],
  s: [0, 44, 44],
  r: [0, 45, 45],
  a: [0, 46, 46],
  aset: [0, 47, 47],
  asid: [0, 63, 48],
  nsCfg0: [1, 0, 0],
  had0: [1, 1, 1],
  e0pd0: [1, 2, 2],
  haft: [1, 3, 3],
  ttb0: [1, 51, 4, true],
  nsCfg1: [2, 0, 0],
  had1: [2, 1, 1],
  e0pd1: [2, 2, 2],
  ttb1: [2, 51, 4, true],
  ds: [2, 58, 58],
  mair0: [3, 31, 0],
  mair1: [3, 63, 32],
} as const;

/** A field of {@link CD}. */
export type CdField = keyof typeof CD;

/** CD.TG0: translation granule. CD.TG1 has other codes, see {@link granuleOfTg1}. */
export const TG0 = { granule4K: 0, granule64K: 1, granule16K: 2 } as const;

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
