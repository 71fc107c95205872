import { type Words, getBit, getBits, newWords, setBit, setBits } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";

/** Bytes of a fault recording register. */
export const FAULT_RECORD_BYTES = 16;

/** What kind of access met the fault, as {T1, T2} code it. */
export type FaultAccess = "write" | "page-request" | "read" | "atomic";

/** A fault recording register (FRCD). Source: VT-d 5.10 §11.4.7.7. */
export interface FaultRecord {
  /** F, bit 127: the record is in use. */
  readonly valid: boolean;
  /** FI, bits 63:12: page number of the request. */
  readonly page: number;
  /** SID, bits 79:64. */
  readonly sourceId: number;
  /** FR, bits 103:96. */
  readonly reason: number;
  /** PV, bits 123:104; NO_PASID when PP (bit 95) is 0. */
  readonly pasid: number;
  /** PRIV, bit 93. */
  readonly privileged: boolean;
  /** EXE, bit 94. */
  readonly execute: boolean;
  /** AT, bits 125:124. */
  readonly addressType: number;
  /** T1, bit 126, and T2, bit 92. */
  readonly access: FaultAccess;
}

const accesses: readonly FaultAccess[] = ["write", "page-request", "read", "atomic"];

/** The words of a fault record. */
export function encodeFaultRecord(record: FaultRecord): Words {
  const words = newWords(2);
  const type = accesses.indexOf(record.access);
  setBits(words, 63, 12, record.page);
  setBits(words, 79, 64, record.sourceId);
  setBit(words, 92, (type & 1) === 1);
  setBit(words, 93, record.privileged);
  setBit(words, 94, record.execute);
  setBit(words, 95, record.pasid !== NO_PASID);
  setBits(words, 103, 96, record.reason);
  setBits(words, 123, 104, record.pasid === NO_PASID ? 0 : record.pasid);
  setBits(words, 125, 124, record.addressType);
  setBit(words, 126, (type & 2) === 2);
  setBit(words, 127, record.valid);
  return words;
}

/** Reads a fault record. */
export function decodeFaultRecord(words: ArrayLike<number>): FaultRecord {
  const type = (getBit(words, 126) ? 2 : 0) + (getBit(words, 92) ? 1 : 0);
  return {
    valid: getBit(words, 127),
    page: getBits(words, 63, 12),
    sourceId: getBits(words, 79, 64),
    reason: getBits(words, 103, 96),
    pasid: getBit(words, 95) ? getBits(words, 123, 104) : NO_PASID,
    privileged: getBit(words, 93),
    execute: getBit(words, 94),
    addressType: getBits(words, 125, 124),
    access: accesses[type] ?? "write",
  };
}
