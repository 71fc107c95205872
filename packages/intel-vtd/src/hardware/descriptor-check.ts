import { type Words, getBits } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import { descriptorType } from "../layout/descriptor-text.ts";
import {
  CC_INV,
  DEV_TLB_INV,
  GRANULARITY_GLOBAL,
  GRANULARITY_PASID,
  GRANULARITY_SELECTIVE,
  HPT_INV,
  IEC_INV,
  INV_WAIT,
  IOTLB_INV,
  PAGE_GRP_RESP,
  PC_INV,
  P_DEV_TLB_INV,
  P_IOTLB_INV,
} from "../layout/descriptor.ts";
import { QUEUE_ERROR, TTM_LEGACY } from "../layout/registers.ts";

/** AM of an invalidation that MAMV does not limit: 51 address bits above the page. */
const LARGEST_ORDER = 51;

/** Bits that may be set, as u32 words; everything else must be 0. */
type Allowed = readonly [number, number, number, number];

const allowed: Readonly<Record<number, Allowed>> = {
  [CC_INV]: [0xffff003f, 0x0003ffff, 0, 0],
  [IOTLB_INV]: [0xffff00ff, 0, 0xfffff07f, 0xffffffff],
  [DEV_TLB_INV]: [0x001ff00f, 0xfff0ffff, 0xfffff001, 0xffffffff],
  [IEC_INV]: [0xf800001f, 0x0000ffff, 0, 0],
  [INV_WAIT]: [0x000000ff, 0xffffffff, 0xfffffffc, 0xffffffff],
  [P_IOTLB_INV]: [0xffff003f, 0x000fffff, 0xfffff07f, 0xffffffff],
  [PC_INV]: [0xffff003f, 0x000fffff, 0, 0],
  [P_DEV_TLB_INV]: [0xfffff1ff, 0xffffffff, 0xfffff801, 0xffffffff],
  [PAGE_GRP_RESP]: [0xfffff01f, 0x000fffff, 0x00000ffc, 0],
  [HPT_INV]: [0xffff003f, 0, 0xfffff0ff, 0xffffffff],
};

/**
 * Judges a descriptor before it is executed.
 *
 * Source: VT-d 5.10 §6.5.2, §6.5.2.10.
 *
 * @param words 4 words, or 8 with 256-bit descriptors
 * @param mode TTM
 * @returns 0, or the IQEI code
 */
export function checkDescriptor(caps: Capabilities, words: Words, mode: number): number {
  const type = descriptorType(words);
  const wide = words.length === 8;
  if (mode === 2) {
    return QUEUE_ERROR.mode;
  }
  if (mode !== TTM_LEGACY && !wide) {
    return QUEUE_ERROR.width;
  }
  const bits = allowed[type];
  if (bits === undefined || !available(caps, type, mode)) {
    return QUEUE_ERROR.type;
  }
  const stray = words.some((word, index) => (word & ~(bits[index] ?? 0)) !== 0);
  return stray || !fields(caps, type, words) ? QUEUE_ERROR.reserved : 0;
}

function available(caps: Capabilities, type: number, mode: number): boolean {
  if (mode === TTM_LEGACY && type > INV_WAIT) {
    return false;
  }
  if (type === HPT_INV) {
    return caps.hpts;
  }
  if (type === DEV_TLB_INV || type === P_DEV_TLB_INV) {
    return caps.dt;
  }
  return type !== PAGE_GRP_RESP || caps.prs;
}

/** Fields whose values depend on each other or on what the unit has. */
function fields(caps: Capabilities, type: number, words: Words): boolean {
  const granularity = getBits(words, 5, 4);
  switch (type) {
    case CC_INV:
      return granularity >= GRANULARITY_GLOBAL;
    case IOTLB_INV:
      return granularity >= GRANULARITY_GLOBAL && pageFields(words, granularity, largestPages(caps));
    case HPT_INV:
      return granularity >= GRANULARITY_GLOBAL && pageFields(words, granularity, LARGEST_ORDER);
    case P_IOTLB_INV:
      return granularity >= GRANULARITY_PASID && pageFields(words, granularity, LARGEST_ORDER);
    case PC_INV:
      return granularity !== 2;
    case DEV_TLB_INV:
    case P_DEV_TLB_INV:
      return caps.dit || getBits(words, 15, 12) + getBits(words, 63, 52) === 0;
    case INV_WAIT:
      return caps.pds || getBits(words, 7, 7) === 0;
    default:
      return true;
  }
}

/** The largest AM of a page-selective IOTLB invalidation; -1 = there is none. */
function largestPages({ psi, mamv }: Capabilities): number {
  return psi ? mamv : -1;
}

/** The address of a page-selective invalidation is a multiple of its size, and the size one that the unit takes. */
function pageFields(words: Words, granularity: number, largest: number): boolean {
  const order = getBits(words, 69, 64);
  return granularity !== GRANULARITY_SELECTIVE || (order <= largest && getBits(words, 127, 76) % 2 ** order === 0);
}
