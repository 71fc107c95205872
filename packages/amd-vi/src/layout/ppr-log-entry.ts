import { type Words, getBits, setBits } from "@iommu-lab/core";

const CODE_PAGE_SERVICE = 1;
const FLAG_READ = 0x004;
const FLAG_WRITE = 0x020;
const FLAG_USER = 0x040;
const FLAG_GN = 0x100;

/** A page request as the unit writes it down. */
export interface PprLogEntry {
  /** DeviceID. */
  readonly deviceId: number;
  /** The PASID; undefined = the request had none (GN=0). */
  readonly pasid?: number;
  /** PRG index, 0 … 511. */
  readonly groupIndex: number;
  /** Last request of its group: bit 9 of the tag. */
  readonly last: boolean;
  /** Read permission is asked for. */
  readonly read: boolean;
  /** Write permission is asked for. */
  readonly write: boolean;
  /** Page number. */
  readonly page: number;
}

/** The words of a PPR log entry. Source: AMD IOMMU specification §2.6. */
export function encodePprEntry(entry: PprLogEntry): Words {
  const words = new Uint32Array(4);
  const pasid = entry.pasid ?? 0;
  const flags =
    (entry.read ? FLAG_READ : 0) |
    (entry.write ? FLAG_WRITE : 0) |
    FLAG_USER |
    (entry.pasid === undefined ? 0 : FLAG_GN);
  setBits(words, 15, 0, entry.deviceId);
  setBits(words, 31, 16, pasid);
  setBits(words, 41, 32, entry.groupIndex + (entry.last ? 0x200 : 0));
  setBits(words, 45, 42, pasid >>> 16);
  setBits(words, 59, 48, flags);
  setBits(words, 63, 60, CODE_PAGE_SERVICE);
  setBits(words, 95, 76, entry.page % 2 ** 20);
  words[3] = Math.floor(entry.page / 2 ** 20);
  return words;
}

/** Reads a PPR log entry. */
export function decodePprEntry(words: ArrayLike<number>): PprLogEntry {
  const flags = getBits(words, 59, 48);
  const tag = getBits(words, 41, 32);
  const pasid = getBits(words, 45, 42) * 0x10000 + getBits(words, 31, 16);
  return {
    deviceId: getBits(words, 15, 0),
    ...((flags & FLAG_GN) === 0 ? {} : { pasid }),
    groupIndex: tag & 0x1ff,
    last: (tag & 0x200) !== 0,
    read: (flags & FLAG_READ) !== 0,
    write: (flags & FLAG_WRITE) !== 0,
    page: getBits(words, 127, 76),
  };
}
