import { high32, low32 } from "@iommu-lab/core";

/** Version: minor 3:0, major 7:4. */
export const VER = 0x00;
/** Capability, 64 bits. */
export const CAP = 0x08;
/** Extended capability, 64 bits. */
export const ECAP = 0x10;
/** Global command, write only. */
export const GCMD = 0x18;
/** Global status, read only. */
export const GSTS = 0x1c;
/** Root table address, 64 bits. */
export const RTADDR = 0x20;
/** Fault status. */
export const FSTS = 0x34;
/** Fault event control; data, address and upper address follow. */
export const FECTL = 0x38;
/** Fault event data. */
export const FEDATA = 0x3c;
/** Fault event address. */
export const FEADDR = 0x40;
/** Fault event upper address. */
export const FEUADDR = 0x44;
/** Context command, 64 bits. */
export const CCMD = 0x28;
/** Protected memory enable. */
export const PMEN = 0x64;
/** Protected low memory base. */
export const PLMBASE = 0x68;
/** Protected low memory limit. */
export const PLMLIMIT = 0x6c;
/** Protected high memory base, 64 bits. */
export const PHMBASE = 0x70;
/** Protected high memory limit, 64 bits. */
export const PHMLIMIT = 0x78;
/** Invalidation queue head, 64 bits, read only. */
export const IQH = 0x80;
/** Invalidation queue tail, 64 bits. */
export const IQT = 0x88;
/** Invalidation queue address, 64 bits. */
export const IQA = 0x90;
/** Invalidation completion status. */
export const ICS = 0x9c;
/** Invalidation event control; data, address and upper address follow. */
export const IECTL = 0xa0;
/** Invalidation queue error record, 64 bits, read only. */
export const IQERCD = 0xb0;
/** Page request queue head, 64 bits. */
export const PQH = 0xc0;
/** Page request queue tail, 64 bits. */
export const PQT = 0xc8;
/** Page request queue address, 64 bits. */
export const PQA = 0xd0;
/** Page request status. */
export const PRS = 0xdc;
/** Page request event control; data, address and upper address follow. */
export const PECTL = 0xe0;

/** GCMD.TE and GSTS.TES: translation. */
export const GLOBAL_TE: number = 2 ** 31;
/** GCMD.SRTP and GSTS.RTPS: the root table pointer is taken over. */
export const GLOBAL_SRTP: number = 2 ** 30;
/** GCMD.WBF and GSTS.WBFS: write-buffer flush. */
export const GLOBAL_WBF: number = 2 ** 27;
/** GCMD.QIE and GSTS.QIES: invalidation queue. */
export const GLOBAL_QIE: number = 2 ** 26;
/** GCMD.IRE and GSTS.IRES: interrupt remapping. */
export const GLOBAL_IRE: number = 2 ** 25;
/** GCMD.SIRTP and GSTS.IRTPS. */
export const GLOBAL_SIRTP: number = 2 ** 24;
/** GCMD.CFI and GSTS.CFIS. */
export const GLOBAL_CFI: number = 2 ** 23;
/** FSTS.PFO: a fault found no free record. */
export const FSTS_PFO = 1;
/** FSTS.PPF: a record is waiting. */
export const FSTS_PPF = 2;
/** FSTS.IQE: invalidation queue error. */
export const FSTS_IQE = 0x10;
/** FSTS.ICE: completion of an invalidation nobody waits for. */
export const FSTS_ICE = 0x20;
/** FSTS.ITE: a device-TLB invalidation timed out. */
export const FSTS_ITE = 0x40;

/** IM of an event control register: the event is masked. */
export const EVENT_MASK: number = 2 ** 31;
/** IP of an event control register: the event is pending. */
export const EVENT_PENDING: number = 2 ** 30;

/** PMEN.EPM: protected memory regions on. */
export const PMEN_EPM: number = 2 ** 31;
/** PMEN.PRS: protected memory regions are in force. */
export const PMEN_PRS = 1;

/** PRS.PPR: a page request is waiting. */
export const PRS_PPR = 1;
/** PRS.PRO: a page request found no room. */
export const PRS_PRO = 2;

/** TTM of RTADDR: legacy mode. */
export const TTM_LEGACY = 0;
/** TTM of RTADDR: scalable mode. */
export const TTM_SCALABLE = 1;
/** TTM of RTADDR: every request is refused. */
export const TTM_ABORT = 3;

/** SSIRWE of RTADDR. */
const SSIRWE = 0x80;

/** RTADDR. Source: VT-d 5.10 §11.4.5. */
export interface RootTableAddress {
  /** RTA, bits 63:12. */
  readonly table: number;
  /** TTM, bits 11:10. */
  readonly mode: number;
  /** SSIRWE, bit 7: second-stage entries have their rights in bits 61 and 62. Default false. */
  readonly requestRights?: boolean;
}

/** The two halves of RTADDR. */
export function encodeRootTableAddress(value: RootTableAddress): readonly [lo: number, hi: number] {
  const low = low32(value.table) | (value.mode << 10) | (value.requestRights === true ? SSIRWE : 0);
  return [low >>> 0, high32(value.table)];
}

/** Reads RTADDR. */
export function decodeRootTableAddress(lo: number, hi: number): Required<RootTableAddress> {
  return {
    table: (hi >>> 0) * 2 ** 32 + ((lo & 0xfffff000) >>> 0),
    mode: (lo >>> 10) & 3,
    requestRights: (lo & SSIRWE) !== 0,
  };
}

/** IQA. Source: VT-d 5.10 §11.4.9.3. */
export interface InvalidationQueueAddress {
  /** Bits 63:12. */
  readonly base: number;
  /** DW, bit 11: descriptors of 256 bits instead of 128. */
  readonly wide: boolean;
  /** QS, bits 2:0: the queue is 2^QS pages. */
  readonly size: number;
}

/** The two halves of IQA. */
export function encodeInvalidationQueueAddress(value: InvalidationQueueAddress): readonly [lo: number, hi: number] {
  return [(low32(value.base) | (value.wide ? 0x800 : 0) | value.size) >>> 0, high32(value.base)];
}

/** Reads IQA. */
export function decodeInvalidationQueueAddress(lo: number, hi: number): InvalidationQueueAddress {
  return { base: (hi >>> 0) * 2 ** 32 + ((lo & 0xfffff000) >>> 0), wide: (lo & 0x800) !== 0, size: lo & 7 };
}

/** What IQERCD.IQEI says. Source: VT-d 5.10 §11.4.9.9. */
export const QUEUE_ERROR: {
  /** Tail beyond the queue. */
  readonly tail: 1;
  /** The descriptor could not be read. */
  readonly fetch: 2;
  /** Unknown type, or one that this mode or unit does not have. */
  readonly type: 3;
  /** A reserved field is set. */
  readonly reserved: 4;
  /** 128-bit descriptors where 256-bit ones are needed. */
  readonly width: 5;
  /** Tail bit 4 is set with 256-bit descriptors. */
  readonly misaligned: 6;
  /** The translation table mode is invalid. */
  readonly mode: 7;
} = { tail: 1, fetch: 2, type: 3, reserved: 4, width: 5, misaligned: 6, mode: 7 };
