import { address52, bits32, high32, low32 } from "@iommu-lab/core";

/** Device Table Base: Size in bits 8:0, base in 51:12. Offsets are those of AMD IOMMU specification §3.4. */
export const DEVICE_TABLE_BASE = 0x0000;
/** Command Buffer Base: base in bits 51:12, log2 of the entries in 59:56. */
export const COMMAND_BASE = 0x0008;
/** Event Log Base, laid out as {@link COMMAND_BASE}. */
export const EVENT_BASE = 0x0010;
/** IOMMU Control. */
export const CONTROL = 0x0018;
/** Exclusion Base: ExEn bit 0, Allow bit 1, base 51:12. */
export const EXCLUSION_BASE = 0x0020;
/** Exclusion Limit: last page in bits 51:12. */
export const EXCLUSION_LIMIT = 0x0028;
/** Extended Feature (EFR). */
export const EXTENDED_FEATURE = 0x0030;
/** PPR Log Base, laid out as {@link COMMAND_BASE}. */
export const PPR_BASE = 0x0038;
/** Hardware Event Upper: low word of the first quadword of the last hardware error. */
export const HARDWARE_EVENT_UPPER = 0x0040;
/** Hardware Event Lower. */
export const HARDWARE_EVENT_LOWER = 0x0048;
/** Hardware Event Status: V bit 0, O bit 1. */
export const HARDWARE_EVENT_STATUS = 0x0050;
/** SMI Filter 0; 16 registers. */
export const SMI_FILTER = 0x0060;
/** Guest Virtual APIC Log Base. */
export const GA_LOG_BASE = 0x00e0;
/** Guest Virtual APIC Log Tail Address. */
export const GA_LOG_TAIL_ADDRESS = 0x00e8;
/** PPR Log B Base. */
export const PPR_B_BASE = 0x00f0;
/** Event Log B Base. */
export const EVENT_B_BASE = 0x00f8;
/** Device Table Segment 1 Base; 7 registers, laid out as {@link DEVICE_TABLE_BASE}. */
export const DEVICE_TABLE_SEGMENT = 0x0100;
/** Device-Specific Feature Extension, Control Extension and Status Extension: three registers. */
export const DEVICE_SPECIFIC = 0x0138;
/** MSI vectors, mirror of the MSI capability, performance optimisation: 0150 … 016F. */
export const MSI_MIRROR = 0x0150;
/** Interrupt control of the general, PPR and GA interrupt: three registers. */
export const XT_INTERRUPT = 0x0170;
/** Memory access routing apertures: 0200 … 025F. */
export const MARC = 0x0200;
/** Extended Feature 2 (EFR2). */
export const EXTENDED_FEATURE_2 = 0x01a0;
/** Command Buffer Head: byte offset in bits 18:4. */
export const COMMAND_HEAD = 0x2000;
/** Command Buffer Tail. */
export const COMMAND_TAIL = 0x2008;
/** Event Log Head. */
export const EVENT_HEAD = 0x2010;
/** Event Log Tail. */
export const EVENT_TAIL = 0x2018;
/** IOMMU Status. */
export const STATUS = 0x2020;
/** PPR Log Head. */
export const PPR_HEAD = 0x2030;
/** PPR Log Tail. */
export const PPR_TAIL = 0x2038;
/** Guest Virtual APIC Log Head. */
export const GA_LOG_HEAD = 0x2040;
/** Guest Virtual APIC Log Tail. */
export const GA_LOG_TAIL = 0x2048;
/** PPR Log B Head. */
export const PPR_B_HEAD = 0x2050;
/** PPR Log B Tail. */
export const PPR_B_TAIL = 0x2058;
/** Event Log B Head. */
export const EVENT_B_HEAD = 0x2070;
/** Event Log B Tail. */
export const EVENT_B_TAIL = 0x2078;
/** PPR Auto Response: code in bits 3:0. */
export const PPR_AUTO_RESPONSE = 0x2080;
/** PPR Overflow Early Indicator, of log A and of log B. */
export const PPR_OVERFLOW_EARLY = 0x2088;

/** Bytes of the register window without performance counters. */
export const WINDOW_BYTES = 0x4000;
/** Bytes of the register window with performance counters. */
export const WINDOW_BYTES_COUNTERS = 0x80000;

/** Bit numbers of the Control register. Source: §3.4.2. */
export const CONTROL_BIT = {
  IommuEn: 0,
  HtTunEn: 1,
  EventLogEn: 2,
  EventIntEn: 3,
  ComWaitIntEn: 4,
  InvTimeOut: 5,
  PassPW: 8,
  ResPassPW: 9,
  Coherent: 10,
  Isoc: 11,
  CmdBufEn: 12,
  PPRLogEn: 13,
  PPRIntEn: 14,
  PPREn: 15,
  GTEn: 16,
  GAEn: 17,
  CRW: 18,
  SmiFEn: 22,
  SlfWBDis: 23,
  SmiFLogEn: 24,
  GAMEn: 25,
  GALogEn: 28,
  GAIntEn: 29,
  DualPprLogEn: 30,
  DualEventLogEn: 32,
  DevTblSegEn: 34,
  PrivAbrtEn: 37,
  PprAutoRspEn: 39,
  MarcEn: 40,
  BlkStopMrkEn: 41,
  PprAutoRspAlwaysOn: 42,
  NumIntRemapMode: 43,
  EPHEn: 45,
  HADUpdate: 46,
  GDUpdateDis: 48,
  XTEn: 50,
  IntCapXTEn: 51,
  vCmdEn: 52,
  vIommuEn: 53,
  GAUpdateDis: 54,
  GAPPIEn: 55,
  GCR3TRPMode: 58,
  IRTCacheDis: 59,
  SNPAVICEn: 61,
} as const;

/** A bit number of the Control register. */
export type ControlBit = (typeof CONTROL_BIT)[keyof typeof CONTROL_BIT];

/** InvTimeOut: 1 s. */
export const INV_TIMEOUT_1S = 4;

const MS = 1_000_000;
const INV_TIMEOUTS: readonly number[] = [Infinity, MS, 10 * MS, 100 * MS, 1000 * MS, 10_000 * MS, 100_000 * MS];

/** What InvTimeOut (Control bits 7:5) means in ns; `Infinity` = none. The reserved value counts as none. */
export function invalidationTimeout(controlLo: number): number {
  return INV_TIMEOUTS[bits32(controlLo, 7, 5)] ?? Infinity;
}

/** Bits of the Status register. Source: §3.4.13. */
export const STATUS_EVENT_OVERFLOW = 0x1;
/** An event was logged. */
export const STATUS_EVENT_INT = 0x2;
/** A COMPLETION_WAIT with I completed. */
export const STATUS_COM_WAIT_INT = 0x4;
/** Events are logged. */
export const STATUS_EVENT_RUN = 0x8;
/** Commands are fetched. */
export const STATUS_COMMAND_RUN = 0x10;
/** The PPR log overflowed. */
export const STATUS_PPR_OVERFLOW = 0x20;
/** A page request was logged. */
export const STATUS_PPR_INT = 0x40;
/** Page requests are logged. */
export const STATUS_PPR_RUN = 0x80;
/** The guest virtual APIC log runs. */
export const STATUS_GA_LOG_RUN = 0x100;

/** IotlbSup of the capability header at +0, bit 24: device IOTLBs (ATS) are supported. */
export const CAP_IOTLB_SUP: number = 1 << 24;
/** NpCache of the capability header, bit 26: entries that are not present may be cached. */
export const CAP_NP_CACHE: number = 1 << 26;
/** EFRSup of the capability header, bit 27. */
export const CAP_EFR_SUP: number = 1 << 27;

/** A region of memory as a base register describes it. */
export interface RegisterRegion {
  /** Physical address. */
  readonly address: number;
  /** Length in bytes. */
  readonly bytes: number;
}

/** Device Table Base for a table of `bytes`, a multiple of 4096, at most 2 MiB. */
export function encodeDeviceTableBase(address: number, bytes: number): readonly [lo: number, hi: number] {
  return [(low32(address) | (bytes / 4096 - 1)) >>> 0, high32(address)];
}

/** Reads Device Table Base. */
export function decodeDeviceTableBase(lo: number, hi: number): RegisterRegion {
  return { address: address52(lo, hi), bytes: (bits32(lo, 8, 0) + 1) * 4096 };
}

/** Base of a command buffer or log with 2^`lengthLog2` entries of 16 bytes, 8 … 15. */
export function encodeBufferBase(address: number, lengthLog2: number): readonly [lo: number, hi: number] {
  return [low32(address), ((high32(address) & 0xfffff) | (lengthLog2 << 24)) >>> 0];
}

/** Reads such a base: lengths below 8 are reserved and count as 8. */
export function decodeBufferBase(lo: number, hi: number): RegisterRegion {
  return { address: address52(lo, hi), bytes: 16 * 2 ** Math.max(8, bits32(hi, 27, 24)) };
}
