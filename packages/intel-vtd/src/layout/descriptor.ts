import { type Words, newWords, setBit, setBits } from "@iommu-lab/core";
import { codePages } from "./address-range.ts";

/** Descriptor type: context-cache invalidation. */
export const CC_INV = 1;
/** Descriptor type: IOTLB invalidation. */
export const IOTLB_INV = 2;
/** Descriptor type: device-TLB invalidation. */
export const DEV_TLB_INV = 3;
/** Descriptor type: interrupt entry cache invalidation. */
export const IEC_INV = 4;
/** Descriptor type: invalidation wait. */
export const INV_WAIT = 5;
/** Descriptor type: PASID-based IOTLB invalidation. */
export const P_IOTLB_INV = 6;
/** Descriptor type: PASID-cache invalidation. */
export const PC_INV = 7;
/** Descriptor type: PASID-based device-TLB invalidation. */
export const P_DEV_TLB_INV = 8;
/** Descriptor type: page group response. */
export const PAGE_GRP_RESP = 9;
/** Descriptor type: host permission table invalidation (revision 5.0 and later). */
export const HPT_INV = 10;

/** Granularity of context-cache and IOTLB invalidations: everything. */
export const GRANULARITY_GLOBAL = 1;
/** Granularity of context-cache and IOTLB invalidations: one domain ID. */
export const GRANULARITY_DOMAIN = 2;
/** Granularity: one device (context cache), pages of a domain (IOTLB), pages of a PASID (PASID-based IOTLB). */
export const GRANULARITY_SELECTIVE = 3;
/** Granularity of a PASID-based IOTLB invalidation: a whole PASID. */
export const GRANULARITY_PASID = 2;
/** Granularity of a PASID-cache invalidation: all PASIDs of a domain ID. */
export const PC_DOMAIN = 0;
/** Granularity of a PASID-cache invalidation: one PASID of a domain ID. */
export const PC_PASID = 1;
/** Granularity of a PASID-cache invalidation: everything. */
export const PC_GLOBAL = 3;

/** Where a device-TLB invalidation goes. */
export interface DeviceTlbTarget {
  /** SID. */
  readonly sourceId: number;
  /** PFSID; 0 where the unit does not throttle per physical function. */
  readonly physicalFunction: number;
  /** MIP: invalidations the device can queue, 0 = 32. */
  readonly maxPending: number;
}

/** Options of an invalidation wait. */
export interface WaitOptions {
  /** SW: `data` is written to `address` when it completes. */
  readonly statusWrite: boolean;
  /** IF: ICS.IWC is set. */
  readonly interrupt: boolean;
  /** FN: later descriptors start only after it. */
  readonly fence: boolean;
  /** PD: page requests are drained. */
  readonly drain: boolean;
  /** Status data. */
  readonly data: number;
  /** Status address; a multiple of 4. */
  readonly address: number;
}

function descriptor(type: number): Words {
  const words = newWords(2);
  setBits(words, 3, 0, type);
  return words;
}

/**
 * Context-cache invalidation. Source: VT-d 5.10 §6.5.2.1.
 *
 * @param functionMask FM: 0 = the function alone, 1 … 3 = functions that differ in bit 2, bits 2:1, bits 2:0
 */
export function contextCacheInvalidation(
  granularity: number,
  domainId: number,
  sourceId: number,
  functionMask: number = 0,
): Words {
  const words = descriptor(CC_INV);
  setBits(words, 5, 4, granularity);
  setBits(words, 31, 16, domainId);
  setBits(words, 47, 32, sourceId);
  setBits(words, 49, 48, functionMask);
  return words;
}

/**
 * IOTLB invalidation, global or of a domain. Source: VT-d 5.10 §6.5.2.3.
 *
 * @param drain DR and DW
 */
export function iotlbInvalidation(
  granularity: number,
  domainId: number,
  drain: { readonly read: boolean; readonly write: boolean },
): Words {
  const words = descriptor(IOTLB_INV);
  setBits(words, 5, 4, granularity);
  setBit(words, 6, drain.write);
  setBit(words, 7, drain.read);
  setBits(words, 31, 16, domainId);
  return words;
}

/**
 * IOTLB invalidation of `2^order` pages of a domain. Source: VT-d 5.10 §6.5.2.3.
 *
 * @param leafOnly IH: no table above the leaves changed
 */
export function iotlbPageInvalidation(
  domainId: number,
  page: number,
  order: number,
  leafOnly: boolean,
  drain: { readonly read: boolean; readonly write: boolean },
): Words {
  const words = iotlbInvalidation(GRANULARITY_SELECTIVE, domainId, drain);
  setBits(words, 69, 64, order);
  setBit(words, 70, leafOnly);
  setBits(words, 127, 76, page);
  return words;
}

/** Device-TLB invalidation of `2^order` pages; 52 = everything. Source: VT-d 5.10 §6.5.2.5. */
export function deviceTlbInvalidation(target: DeviceTlbTarget, page: number, order: number): Words {
  const words = descriptor(DEV_TLB_INV);
  setBits(words, 15, 12, target.physicalFunction & 0xf);
  setBits(words, 20, 16, target.maxPending);
  setBits(words, 47, 32, target.sourceId);
  setBits(words, 63, 52, target.physicalFunction >>> 4);
  setBit(words, 64, order > 0);
  setBits(words, 127, 76, order > 0 ? codePages(page, order) : page);
  return words;
}

/** Interrupt entry cache invalidation, global or of `2^order` entries. Source: VT-d 5.10 §6.5.2.7. */
export function interruptEntryInvalidation(index?: number, order: number = 0): Words {
  const words = descriptor(IEC_INV);
  if (index !== undefined) {
    setBit(words, 4, true);
    setBits(words, 31, 27, order);
    setBits(words, 47, 32, index);
  }
  return words;
}

/** Invalidation wait. Source: VT-d 5.10 §6.5.2.8. */
export function invalidationWait(options: Partial<WaitOptions>): Words {
  const words = descriptor(INV_WAIT);
  setBit(words, 4, options.interrupt ?? false);
  setBit(words, 5, options.statusWrite ?? false);
  setBit(words, 6, options.fence ?? false);
  setBit(words, 7, options.drain ?? false);
  setBits(words, 63, 32, options.data ?? 0);
  setBits(words, 127, 66, (options.address ?? 0) / 4);
  return words;
}

/** PASID-based IOTLB invalidation of a whole PASID. Source: VT-d 5.10 §6.5.2.4. */
export function pasidIotlbInvalidation(domainId: number, pasid: number): Words {
  const words = descriptor(P_IOTLB_INV);
  setBits(words, 5, 4, GRANULARITY_PASID);
  setBits(words, 31, 16, domainId);
  setBits(words, 51, 32, pasid);
  return words;
}

/** PASID-based IOTLB invalidation of `2^order` pages. Source: VT-d 5.10 §6.5.2.4. */
export function pasidIotlbPageInvalidation(
  domainId: number,
  pasid: number,
  page: number,
  order: number,
  leafOnly: boolean,
): Words {
  const words = pasidIotlbInvalidation(domainId, pasid);
  setBits(words, 5, 4, GRANULARITY_SELECTIVE);
  setBits(words, 69, 64, order);
  setBit(words, 70, leafOnly);
  setBits(words, 127, 76, page);
  return words;
}

/** PASID-cache invalidation. Source: VT-d 5.10 §6.5.2.2. */
export function pasidCacheInvalidation(granularity: number, domainId: number, pasid: number): Words {
  const words = descriptor(PC_INV);
  setBits(words, 5, 4, granularity);
  setBits(words, 31, 16, domainId);
  setBits(words, 51, 32, pasid);
  return words;
}

/** PASID-based device-TLB invalidation of `2^order` pages; 52 = everything. Source: VT-d 5.10 §6.5.2.6. */
export function pasidDeviceTlbInvalidation(target: DeviceTlbTarget, pasid: number, page: number, order: number): Words {
  const words = descriptor(P_DEV_TLB_INV);
  setBits(words, 8, 4, target.maxPending);
  setBits(words, 15, 12, target.physicalFunction & 0xf);
  setBits(words, 31, 16, target.sourceId);
  setBits(words, 51, 32, pasid);
  setBits(words, 63, 52, target.physicalFunction >>> 4);
  setBit(words, 75, order > 0);
  setBits(words, 127, 76, order > 0 ? codePages(page, order) : page);
  return words;
}

/**
 * Host permission table invalidation. Source: VT-d 5.10 §6.5.2.
 *
 * @param granularity as that of an IOTLB invalidation
 * @param page first page, a multiple of `2^order`
 */
export function hostPermissionInvalidation(
  granularity: number,
  permissionDomainId: number,
  page: number = 0,
  order: number = 0,
): Words {
  const words = descriptor(HPT_INV);
  setBits(words, 5, 4, granularity);
  setBits(words, 31, 16, permissionDomainId);
  if (granularity === GRANULARITY_SELECTIVE) {
    setBits(words, 69, 64, order);
    setBits(words, 127, 76, page);
  }
  return words;
}

/**
 * Page group response. Source: VT-d 5.10 §7.6.1.
 *
 * @param pasid undefined = the request carried none
 * @param code 0 success, 1 invalid request, 15 failure
 */
export function pageGroupResponse(
  sourceId: number,
  pasid: number | undefined,
  groupIndex: number,
  code: number,
): Words {
  const words = descriptor(PAGE_GRP_RESP);
  setBit(words, 4, pasid !== undefined);
  setBits(words, 15, 12, code);
  setBits(words, 31, 16, sourceId);
  setBits(words, 51, 32, pasid ?? 0);
  setBits(words, 75, 67, groupIndex);
  return words;
}
