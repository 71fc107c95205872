import { type Words, getBit, getBits, newWords, setBit, setBits } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";

/** Bytes of a page request descriptor in the page request queue. */
export const PAGE_REQUEST_BYTES = 32;

/** A page request descriptor. Source: VT-d 5.10 §7.4.1. */
export interface PageRequestDescriptor {
  /** RID, bits 31:16. */
  readonly sourceId: number;
  /** PASID, bits 51:32; NO_PASID when PP (bit 8) is 0. */
  readonly pasid: number;
  /** RDR, bit 64. */
  readonly read: boolean;
  /** WRR, bit 65. */
  readonly write: boolean;
  /** LPIG, bit 66: last of its group. */
  readonly last: boolean;
  /** PRGI, bits 75:67. */
  readonly groupIndex: number;
  /** ADDR, bits 127:76: page number. */
  readonly page: number;
}

/** The 4 qwords of a page request descriptor. */
export function encodePageRequest(request: PageRequestDescriptor): Words {
  const words = newWords(4);
  setBits(words, 7, 0, 1);
  setBit(words, 8, request.pasid !== NO_PASID);
  setBits(words, 31, 16, request.sourceId);
  setBits(words, 51, 32, request.pasid === NO_PASID ? 0 : request.pasid);
  setBit(words, 64, request.read);
  setBit(words, 65, request.write);
  setBit(words, 66, request.last);
  setBits(words, 75, 67, request.groupIndex);
  setBits(words, 127, 76, request.page);
  return words;
}

/** Reads a page request descriptor. */
export function decodePageRequest(words: ArrayLike<number>): PageRequestDescriptor {
  return {
    sourceId: getBits(words, 31, 16),
    pasid: getBit(words, 8) ? getBits(words, 51, 32) : NO_PASID,
    read: getBit(words, 64),
    write: getBit(words, 65),
    last: getBit(words, 66),
    groupIndex: getBits(words, 75, 67),
    page: getBits(words, 127, 76),
  };
}
