import type { Identification } from "../layout/id-registers.ts";

/** The last level of a table. */
export const LAST_LEVEL = 3;
const PAGE_LOG2 = 12;

/** log2 of the granule that each code of CD.TG0 and STE.S2TG names. */
export const inverseTg0: readonly number[] = [12, 16, 14, 0];
/** log2 of the granule that each code of CD.TG1 names. */
export const inverseTg1: readonly number[] = [0, 14, 12, 16];

/** log2 of the granule of a code; 0 = reserved. */
export function granuleOf(code: number, codes: readonly number[]): number {
  return codes[code] ?? 0;
}

/** Whether the SMMU has a granule. */
export function granuleSupported(granule: number, id: Identification): boolean {
  return (granule === 12 && id.granule4K) || (granule === 14 && id.granule16K) || (granule === 16 && id.granule64K);
}

/** log2 of the bytes that one entry of a level maps. */
export function levelShift(granule: number, level: number): number {
  return granule + (LAST_LEVEL - level) * (granule - 3);
}

/** Level of the first table of stage 1. Source: Arm ARM D8.2. */
export function stage1StartLevel(granule: number, tSz: number): number {
  return LAST_LEVEL + 1 - Math.ceil((64 - tSz - granule) / (granule - 3));
}

/** Level of the first table of stage 2; 4 = SL0 is reserved. Source: SMMUv3 §5.2, Arm ARM D8.2.8. */
export function stage2StartLevel(granule: number, sl0: number): number {
  if (granule === PAGE_LOG2) {
    return [2, 1, 0, 3, -1][sl0] ?? 4;
  }
  return granule === 16 && sl0 === 3 ? 4 : ([3, 2, 1, 0][sl0] ?? 4);
}

/**
 * Smallest level with blocks.
 *
 * @param large the descriptors hold 52-bit addresses
 */
export function firstBlockLevel(granule: number, large: boolean): number {
  if (granule === PAGE_LOG2) {
    return large ? 0 : 1;
  }
  return large ? 1 : 2;
}

/** log2 of how many entries a Contiguous bit joins; 0 = it has no meaning at this level. Source: Arm ARM D8.6.1. */
export function contiguousLog2(granule: number, level: number): number {
  switch (granule) {
    case PAGE_LOG2:
      return level >= 1 ? 4 : 0;
    case 14:
      return level === 2 ? 5 : level === LAST_LEVEL ? 7 : 0;
    default:
      return level >= 2 ? 5 : 0;
  }
}

const POWERS = Float64Array.from({ length: 64 }, (_, bits) => 2 ** bits);
const INVERSES = Float64Array.from({ length: 64 }, (_, bits) => 2 ** -bits);

/** 2^bits, looked up: computing it is many times slower. */
export function power(bits: number): number {
  return POWERS[bits] ?? 1;
}

/** Index of a page in a table: what is above `bits` bits of its number, below 2^31. */
export function indexAbove(page: number, bits: number): number {
  return (page * (INVERSES[bits] ?? 1)) | 0;
}

/** floor(value / 2^bits) of a non-negative value. */
export function shiftDown(value: number, bits: number): number {
  return Math.floor(value * (INVERSES[bits] ?? 1));
}

/** The value without its low bits. */
export function alignDown(value: number, bits: number): number {
  return bits === 0 ? value : Math.floor(value * (INVERSES[bits] ?? 1)) * (POWERS[bits] ?? 1);
}
