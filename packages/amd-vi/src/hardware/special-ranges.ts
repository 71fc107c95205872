/** Addresses that mean something else than memory, by page number. */
export const RANGE = {
  /** Memory. */
  memory: 0,
  /** FEE0_0000 … FEEF_FFFF, and FD_F800_0000 … FD_F8FF_FFFF of HyperTransport: interrupts. */
  interrupt: 1,
  /** FD_0000_0000 … FD_F7FF_FFFF: the reserved part of the interrupt range. */
  interruptReserved: 2,
  /** FD_F910_0000 … FD_F91F_FFFF: system management. */
  systemManagement: 3,
  /** FD_FB00_0000 … FD_FBFF_FFFF: address translation of HyperTransport. */
  addressTranslation: 4,
  /** FD_FC00_0000 … FD_FDFF_FFFF: port I/O. */
  portIo: 5,
  /** The rest of FD_0000_0000 … FF_FFFF_FFFF. */
  reserved: 6,
} as const;

/** A kind of address. */
export type Range = (typeof RANGE)[keyof typeof RANGE];

const MSI_FIRST = 0xfee00;
const MSI_LAST = 0xfeeff;
const HT_FIRST = 0xfd00000;
const HT_LAST = 0xfffffff;

/** First pages of the ranges of HyperTransport, and what begins there. */
const HT_RANGES: readonly (readonly [first: number, range: Range])[] = [
  [0xfdfe000, RANGE.reserved],
  [0xfdfc000, RANGE.portIo],
  [0xfdfb000, RANGE.addressTranslation],
  [0xfdf9200, RANGE.reserved],
  [0xfdf9100, RANGE.systemManagement],
  [0xfdf9000, RANGE.reserved],
  [0xfdf8000, RANGE.interrupt],
  [HT_FIRST, RANGE.interruptReserved],
];

/**
 * What the address of a request without PASID means.
 *
 * Source: AMD IOMMU specification §2.2.2.1 (IoCtl, SysMgt, IntCtl), §2.1.2; the bounds inside FD_… are HyperTransport's.
 *
 * @param hyperTransport false with HtRangeIgnore: FD_0000_0000 … FF_FFFF_FFFF is memory
 */
export function rangeOf(page: number, hyperTransport: boolean): Range {
  if (page >= MSI_FIRST && page <= MSI_LAST) {
    return RANGE.interrupt;
  }
  if (!hyperTransport || page < HT_FIRST || page > HT_LAST) {
    return RANGE.memory;
  }
  return HT_RANGES.find(([first]) => page >= first)?.[1] ?? RANGE.reserved;
}
