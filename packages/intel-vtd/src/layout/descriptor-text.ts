import { getBit, getBits, hex } from "@iommu-lab/core";
import { formatRid } from "@iommu-lab/pci";
import type { AlignedRange } from "./address-range.ts";
import { ALL_PAGES_ORDER, decodePages } from "./address-range.ts";
import {
  CC_INV,
  DEV_TLB_INV,
  GRANULARITY_SELECTIVE,
  HPT_INV,
  IEC_INV,
  INV_WAIT,
  IOTLB_INV,
  PAGE_GRP_RESP,
  PC_INV,
  P_DEV_TLB_INV,
  P_IOTLB_INV,
} from "./descriptor.ts";

/** The type of a descriptor: bits 11:9 above bits 3:0. */
export function descriptorType(words: ArrayLike<number>): number {
  return getBits(words, 11, 9) * 16 + getBits(words, 3, 0);
}

const names: Readonly<Record<number, string>> = {
  [CC_INV]: "cc_inv",
  [IOTLB_INV]: "iotlb_inv",
  [DEV_TLB_INV]: "dev_tlb_inv",
  [IEC_INV]: "iec_inv",
  [INV_WAIT]: "inv_wait",
  [P_IOTLB_INV]: "p_iotlb_inv",
  [PC_INV]: "pc_inv",
  [P_DEV_TLB_INV]: "p_dev_tlb_inv",
  [PAGE_GRP_RESP]: "page_grp_resp",
  [HPT_INV]: "hpt_inv",
};

/** The specification's short name of a descriptor type, such as `dev_tlb_inv`. */
export function descriptorName(type: number): string {
  return names[type] ?? `type-${type}`;
}

function describeRange(range: AlignedRange): string {
  if (range.order === ALL_PAGES_ORDER) {
    return "everything";
  }
  const pages = range.order === 0 ? "1 page" : `${2 ** range.order} pages`;
  return `${pages} at ${hex(range.page)}000`;
}

/** The pages a device-TLB invalidation covers. `sizeBit` = where S is: bit 64 without, bit 75 with a PASID. */
export function deviceTlbRange(words: ArrayLike<number>, sizeBit: 64 | 75): AlignedRange {
  const page = getBits(words, 127, 76);
  return getBit(words, sizeBit) ? decodePages(page) : { page, order: 0 };
}

/** The pages a page-selective IOTLB invalidation covers. */
export function iotlbRange(words: ArrayLike<number>): AlignedRange {
  return { page: getBits(words, 127, 76), order: getBits(words, 69, 64) };
}

function describeContextCache(words: ArrayLike<number>): string {
  const did = getBits(words, 31, 16);
  const scopes = ["invalid", "global", `domain ${did}`, `device ${formatRid(getBits(words, 47, 32))} of domain ${did}`];
  return `context cache, ${scopes[getBits(words, 5, 4)]}`;
}

function describeIotlb(words: ArrayLike<number>): string {
  const did = getBits(words, 31, 16);
  const granularity = getBits(words, 5, 4);
  const scopes = ["invalid", "global", `domain ${did}`, `domain ${did}, ${describeRange(iotlbRange(words))}`];
  const hint = granularity === GRANULARITY_SELECTIVE && getBit(words, 70) ? ", leaves only" : "";
  return `IOTLB, ${scopes[granularity]}${hint}`;
}

function describePasidIotlb(words: ArrayLike<number>): string {
  const who = `PASID ${getBits(words, 51, 32)} of domain ${getBits(words, 31, 16)}`;
  const pages = getBits(words, 5, 4) === GRANULARITY_SELECTIVE ? `, ${describeRange(iotlbRange(words))}` : "";
  return `IOTLB, ${who}${pages}`;
}

function describePasidCache(words: ArrayLike<number>): string {
  const did = getBits(words, 31, 16);
  const scopes = [`domain ${did}`, `PASID ${getBits(words, 51, 32)} of domain ${did}`, "invalid", "global"];
  return `PASID cache, ${scopes[getBits(words, 5, 4)]}`;
}

function describeWait(words: ArrayLike<number>): string {
  const parts = [
    getBit(words, 5) ? `write ${getBits(words, 63, 32)} to ${hex(getBits(words, 127, 66) * 4)}` : "",
    getBit(words, 4) ? "interrupt" : "",
    getBit(words, 6) ? "fence" : "",
    getBit(words, 7) ? "drain page requests" : "",
  ];
  return `wait: ${parts.filter((part) => part !== "").join(", ")}`;
}

function describeResponse(words: ArrayLike<number>): string {
  const pasid = getBit(words, 4) ? ` PASID ${getBits(words, 51, 32)}` : "";
  return `page group ${getBits(words, 75, 67)} of ${formatRid(getBits(words, 31, 16))}${pasid}: code ${getBits(words, 15, 12)}`;
}

/** A descriptor in words, such as `device-TLB of 3a:00.0, everything`. */
export function describeDescriptor(words: ArrayLike<number>): string {
  const type = descriptorType(words);
  switch (type) {
    case CC_INV:
      return describeContextCache(words);
    case IOTLB_INV:
      return describeIotlb(words);
    case DEV_TLB_INV:
      return `device-TLB of ${formatRid(getBits(words, 47, 32))}, ${describeRange(deviceTlbRange(words, 64))}`;
    case IEC_INV:
      return getBit(words, 4)
        ? `interrupt entry cache, index ${getBits(words, 47, 32)}`
        : "interrupt entry cache, global";
    case INV_WAIT:
      return describeWait(words);
    case P_IOTLB_INV:
      return describePasidIotlb(words);
    case PC_INV:
      return describePasidCache(words);
    case P_DEV_TLB_INV:
      return `device-TLB of ${formatRid(getBits(words, 31, 16))} PASID ${getBits(words, 51, 32)}, ${describeRange(deviceTlbRange(words, 75))}`;
    case PAGE_GRP_RESP:
      return describeResponse(words);
    case HPT_INV:
      return describeIotlb(words).replace("IOTLB", "host permission table");
    default:
      return descriptorName(type);
  }
}
