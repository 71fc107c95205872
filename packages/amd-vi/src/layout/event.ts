import { type Words, getBits, setBits } from "@iommu-lab/core";

/** Bytes of an event. */
export const EVENT_BYTES = 16;

/** Event codes, bits 63:60. Source: AMD IOMMU specification §2.5. */
export const EVENT = {
  /** A DTE has a reserved bit, a reserved value, or a feature the unit lacks. */
  ILLEGAL_DEV_TABLE_ENTRY: 1,
  /** No translation, or no permission. */
  IO_PAGE_FAULT: 2,
  /** A DTE could not be read. */
  DEV_TAB_HARDWARE_ERROR: 3,
  /** A page-table entry could not be read. */
  PAGE_TAB_HARDWARE_ERROR: 4,
  /** A command is unknown or has a reserved bit. */
  ILLEGAL_COMMAND_ERROR: 5,
  /** A command could not be read, or its store went nowhere. */
  COMMAND_HARDWARE_ERROR: 6,
  /** A device did not complete an invalidation. */
  IOTLB_INV_TIMEOUT: 7,
  /** A request of a class or to a range that the DTE does not allow. */
  INVALID_DEVICE_REQUEST: 8,
  /** A page request that the DTE does not allow. */
  INVALID_PPR_REQUEST: 9,
  /** A performance counter reached zero. */
  EVENT_COUNTER_ZERO: 10,
  /** A guest's event could not be delivered. */
  GUEST_EVENT_FAULT: 11,
  /** An error of the virtualised unit. */
  VIOMMU_HARDWARE_ERROR: 12,
  /** The reverse map table (SNP) forbids an access. */
  RMP_PAGE_FAULT: 13,
  /** An entry of the reverse map table could not be read. */
  RMP_HARDWARE_ERROR: 14,
} as const;

/** A flag of word 1: the PASID is valid. */
export const EVENT_GN: number = 1 << 16;
/** A flag of word 1: instruction fetch. */
export const EVENT_NX: number = 1 << 17;
/** A flag of word 1: user access. */
export const EVENT_US: number = 1 << 18;
/** A flag of word 1: interrupt request. */
export const EVENT_I: number = 1 << 19;
/** A flag of word 1: the translation was present. */
export const EVENT_PR: number = 1 << 20;
/** A flag of word 1: write. */
export const EVENT_RW: number = 1 << 21;
/** A flag of word 1: permission missing. */
export const EVENT_PE: number = 1 << 22;
/** A flag of word 1: reserved bit set, or an illegal encoding. */
export const EVENT_RZ: number = 1 << 23;
/** A flag of word 1: the request was a Translation Request. */
export const EVENT_TR: number = 1 << 24;

/** The type field of hardware errors (bits 26:25) and INVALID_DEVICE_REQUEST (27:25) in word 1. */
export function eventType(type: number): number {
  return type << 25;
}

/** Type of a hardware error: nothing answered at the address. */
export const ERROR_MASTER_ABORT = 1;
/** Type of INVALID_DEVICE_REQUEST: a read in the interrupt range. */
export const INVALID_INTERRUPT_READ = 0;
/** Type of INVALID_DEVICE_REQUEST: a Translated request while I=0 or V=0. */
export const INVALID_TRANSLATED = 1;
/** Type of INVALID_DEVICE_REQUEST: port I/O while IoCtl=0. */
export const INVALID_PORT_IO = 2;
/** Type of INVALID_DEVICE_REQUEST: a posted write that SysMgt or HtAtsResv forbids. */
export const INVALID_MANAGEMENT_WRITE = 3;
/** Type of INVALID_DEVICE_REQUEST: any other request that SysMgt or HtAtsResv forbids. */
export const INVALID_MANAGEMENT_READ = 4;
/** Type of INVALID_DEVICE_REQUEST: an interrupt while IntCtl=0. */
export const INVALID_INTERRUPT = 5;
/** Type of INVALID_DEVICE_REQUEST: a posted write to the reserved part of the interrupt range. */
export const INVALID_RESERVED_INTERRUPT = 6;
/** Type of INVALID_DEVICE_REQUEST: SysMgt=3 or IoCtl=2 wants a translation while TV=0. */
export const INVALID_UNTRANSLATABLE = 7;
/** Type of INVALID_DEVICE_REQUEST with TR: a Translation Request while I=0, V=0 or TV=0. */
export const INVALID_TRANSLATION_REQUEST = 0;
/** Type of INVALID_DEVICE_REQUEST with TR: a Translation Request into the interrupt range. */
export const INVALID_TRANSLATION_RANGE = 1;

/** An event, taken apart. */
export interface LogEvent {
  /** One of {@link EVENT}. */
  readonly code: number;
  /** DeviceID. */
  readonly deviceId: number;
  /** DomainID; 0 where the event has none. */
  readonly domainId?: number;
  /** The PASID of the request; undefined = none, or the event does not tell. */
  readonly pasid?: number;
  /** Flags and type of word 1, without {@link EVENT_GN}. */
  readonly flags?: number;
  /** Bits 31:0 of the address. */
  readonly lo: number;
  /** Bits 63:32 of the address. */
  readonly hi: number;
}

/** The words of an event. Source: §2.5.2-§2.5.11. */
export function encodeEvent(event: LogEvent): Words {
  const words = new Uint32Array(4);
  const { pasid } = event;
  setBits(words, 15, 0, event.deviceId);
  words[1] = (event.code << 28) | (event.flags ?? 0);
  if (pasid === undefined) {
    setBits(words, 47, 32, event.domainId ?? 0);
  } else {
    setBits(words, 19, 16, pasid >>> 16);
    setBits(words, 47, 32, pasid);
    words[1] = (words[1] ?? 0) | EVENT_GN;
  }
  words[2] = event.lo;
  words[3] = event.hi;
  return words;
}

/** INVALID_PPR_REQUEST, which has a layout of its own. Source: §2.5.12. */
export function encodeInvalidPprRequest(
  deviceId: number,
  pasid: number | undefined,
  tag: number,
  lo: number,
  hi: number,
): Words {
  const words = new Uint32Array(4);
  setBits(words, 15, 0, deviceId);
  setBits(words, 31, 16, pasid ?? 0);
  setBits(words, 41, 32, tag);
  setBits(words, 45, 42, (pasid ?? 0) >>> 16);
  words[1] = ((words[1] ?? 0) | (EVENT.INVALID_PPR_REQUEST << 28) | (pasid === undefined ? 0 : 1 << 24)) >>> 0;
  words[2] = lo;
  words[3] = hi;
  return words;
}

/** Reads an event of any code but INVALID_PPR_REQUEST. */
export function decodeEvent(words: ArrayLike<number>): LogEvent {
  const second = words[1] ?? 0;
  const guest = (second & EVENT_GN) !== 0;
  const id = getBits(words, 47, 32);
  return {
    code: second >>> 28,
    deviceId: getBits(words, 15, 0),
    ...(guest ? { pasid: getBits(words, 19, 16) * 0x10000 + id } : { domainId: id }),
    flags: second & 0x0ffe0000,
    lo: words[2] ?? 0,
    hi: words[3] ?? 0,
  };
}
