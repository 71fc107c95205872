import { type Words, high32, low32, setBits } from "@iommu-lab/core";
import { encodePageRange } from "./page-range.ts";

/** Bytes of a command. */
export const COMMAND_BYTES = 16;

/** Opcodes, bits 63:60. Source: AMD IOMMU specification §2.4. */
export const OPCODE = {
  COMPLETION_WAIT: 1,
  INVALIDATE_DEVTAB_ENTRY: 2,
  INVALIDATE_IOMMU_PAGES: 3,
  INVALIDATE_IOTLB_PAGES: 4,
  INVALIDATE_INTERRUPT_TABLE: 5,
  PREFETCH_IOMMU_PAGES: 6,
  COMPLETE_PPR_REQUEST: 7,
  INVALIDATE_IOMMU_ALL: 8,
} as const;

/** S of COMPLETION_WAIT: the data are stored. */
export const WAIT_STORE = 1;
/** I of COMPLETION_WAIT: ComWaitInt is set. */
export const WAIT_INTERRUPT = 2;
/** F of COMPLETION_WAIT: later commands wait for it. */
export const WAIT_FLUSH = 4;
/** PDE of INVALIDATE_IOMMU_PAGES, bit 65: cached page-directory entries go as well. */
export const PAGES_PDE = 2;
/** GN, bit 66: the address is a guest's and the PASID counts. */
export const PAGES_GN = 4;

/** Pages of a domain: of its host table, or with a PASID of that guest table. */
export interface PagesTarget {
  /** DomainID. */
  readonly domainId: number;
  /** Guest translations of this PASID (GN=1); undefined = host translations. */
  readonly pasid?: number;
}

/** A device's IOTLB (its ATC). */
export interface IotlbTarget {
  /** DeviceID. */
  readonly deviceId: number;
  /** QueueID: commands with the same one share the limit. */
  readonly queueId: number;
  /** MaxPend: how many of the queue may be on their way; 0 = 32. */
  readonly maxPending: number;
  /** The request carries this PASID (GN=1); undefined = none. */
  readonly pasid?: number;
}

function command(opcode: number): Words {
  const words = new Uint32Array(4);
  setBits(words, 63, 60, opcode);
  return words;
}

/**
 * COMPLETION_WAIT with a store of 64 bits. Source: §2.4.1.
 *
 * @param address where; a multiple of 8
 * @param value data, below 2^53
 */
export function completionWaitStore(address: number, value: number): Words {
  const words = command(OPCODE.COMPLETION_WAIT);
  setBits(words, 51, 3, address / 8);
  words[0] = ((words[0] ?? 0) | WAIT_STORE) >>> 0;
  words[2] = low32(value);
  words[3] = high32(value);
  return words;
}

/** COMPLETION_WAIT with an interrupt. Source: §2.4.1. */
export function completionWaitInterrupt(): Words {
  const words = command(OPCODE.COMPLETION_WAIT);
  words[0] = WAIT_INTERRUPT;
  return words;
}

/** INVALIDATE_DEVTAB_ENTRY. Source: §2.4.2. */
export function invalidateDevtabEntry(deviceId: number): Words {
  const words = command(OPCODE.INVALIDATE_DEVTAB_ENTRY);
  setBits(words, 15, 0, deviceId);
  return words;
}

/**
 * INVALIDATE_IOMMU_PAGES. Source: §2.4.3.
 *
 * @param page first page
 * @param count number of pages
 * @param directories PDE: page-directory entries go as well
 */
export function invalidateIommuPages(target: PagesTarget, page: number, count: number, directories: boolean): Words {
  const words = command(OPCODE.INVALIDATE_IOMMU_PAGES);
  const [lo, hi] = encodePageRange(page, count);
  setBits(words, 19, 0, target.pasid ?? 0);
  setBits(words, 47, 32, target.domainId);
  words[2] = (lo | (directories ? PAGES_PDE : 0) | (target.pasid === undefined ? 0 : PAGES_GN)) >>> 0;
  words[3] = hi;
  return words;
}

/** INVALIDATE_IOTLB_PAGES. Source: §2.4.4. */
export function invalidateIotlbPages(target: IotlbTarget, page: number, count: number): Words {
  const words = command(OPCODE.INVALIDATE_IOTLB_PAGES);
  const [lo, hi] = encodePageRange(page, count);
  const pasid = target.pasid ?? 0;
  setBits(words, 15, 0, target.deviceId);
  setBits(words, 23, 16, pasid >>> 8);
  setBits(words, 31, 24, target.maxPending);
  setBits(words, 47, 32, target.queueId);
  setBits(words, 55, 48, pasid);
  setBits(words, 59, 56, pasid >>> 16);
  words[2] = (lo | (target.pasid === undefined ? 0 : PAGES_GN)) >>> 0;
  words[3] = hi;
  return words;
}

/** INVALIDATE_INTERRUPT_TABLE. Source: §2.4.5. */
export function invalidateInterruptTable(deviceId: number): Words {
  const words = command(OPCODE.INVALIDATE_INTERRUPT_TABLE);
  setBits(words, 15, 0, deviceId);
  return words;
}

/**
 * COMPLETE_PPR_REQUEST. Source: §2.4.7.
 *
 * @param pasid undefined = the response carries none (GN=0)
 * @param tag PRG index, 0 … 511
 * @param code 0 success, 1 invalid request, 15 failure
 */
export function completePprRequest(deviceId: number, pasid: number | undefined, tag: number, code: number): Words {
  const words = command(OPCODE.COMPLETE_PPR_REQUEST);
  setBits(words, 15, 0, deviceId);
  setBits(words, 51, 32, pasid ?? 0);
  words[2] = pasid === undefined ? 0 : PAGES_GN;
  setBits(words, 104, 96, tag);
  setBits(words, 111, 108, code);
  return words;
}

/** INVALIDATE_IOMMU_ALL. Source: §2.4.8. */
export function invalidateIommuAll(): Words {
  return command(OPCODE.INVALIDATE_IOMMU_ALL);
}
