import { type Words, getBit, getBits, hex, newWords, setBit, setBits } from "@iommu-lab/core";

/** Bytes of a scalable-mode context entry; a table holds 128 of them, indexed by the low 7 bits of device and function. */
export const SCALABLE_CONTEXT_BYTES = 32;

/** A scalable-mode context entry. Source: VT-d 5.10 §9.4. */
export interface ScalableContextEntry {
  /** P, bit 0. */
  readonly present: boolean;
  /** FPD, bit 1: qualified faults are not recorded; honoured even when P=0. */
  readonly faultDisable: boolean;
  /** DTE, bit 2: Translation Requests and Translated requests are served. */
  readonly deviceTlbEnable: boolean;
  /** PASIDE, bit 3: requests may carry a PASID. */
  readonly pasidEnable: boolean;
  /** PRE, bit 4: Page Requests are accepted. */
  readonly pageRequestEnable: boolean;
  /** HPTE, bit 5: Translated requests need a host permission. Default false. */
  readonly permissionTableEnable?: boolean;
  /** EPTR, bit 6: Translated requests may carry a PASID. */
  readonly translatedPasidEnable: boolean;
  /** PDTS, bits 11:9: the PASID directory has 2^(PDTS+7) entries. */
  readonly directorySize: number;
  /** PASIDDIRPTR, bits 63:12. */
  readonly pasidDirectory: number;
  /** RID_PASID, bits 83:64: the PASID used for requests without one. */
  readonly ridPasid: number;
  /** RID_PRIV, bit 84. */
  readonly ridPrivileged: boolean;
}

/** The words of a scalable-mode context entry. */
export function encodeScalableContext(entry: ScalableContextEntry): Words {
  const words = newWords(4);
  setBit(words, 0, entry.present);
  setBit(words, 1, entry.faultDisable);
  setBit(words, 2, entry.deviceTlbEnable);
  setBit(words, 3, entry.pasidEnable);
  setBit(words, 4, entry.pageRequestEnable);
  setBit(words, 5, entry.permissionTableEnable ?? false);
  setBit(words, 6, entry.translatedPasidEnable);
  setBits(words, 11, 9, entry.directorySize);
  setBits(words, 63, 12, entry.pasidDirectory / 4096);
  setBits(words, 83, 64, entry.ridPasid);
  setBit(words, 84, entry.ridPrivileged);
  return words;
}

/** Reads a scalable-mode context entry. */
export function decodeScalableContext(words: ArrayLike<number>): Required<ScalableContextEntry> {
  return {
    present: getBit(words, 0),
    faultDisable: getBit(words, 1),
    deviceTlbEnable: getBit(words, 2),
    pasidEnable: getBit(words, 3),
    pageRequestEnable: getBit(words, 4),
    permissionTableEnable: getBit(words, 5),
    translatedPasidEnable: getBit(words, 6),
    directorySize: getBits(words, 11, 9),
    pasidDirectory: getBits(words, 63, 12) * 4096,
    ridPasid: getBits(words, 83, 64),
    ridPrivileged: getBit(words, 84),
  };
}

/** A scalable-mode context entry in words. */
export function describeScalableContext(words: ArrayLike<number>): string {
  const entry = decodeScalableContext(words);
  const flags = [
    entry.present ? "P" : "not present",
    entry.faultDisable ? "FPD" : "",
    `DTE=${entry.deviceTlbEnable ? 1 : 0}`,
    `PASIDE=${entry.pasidEnable ? 1 : 0}`,
    `PRE=${entry.pageRequestEnable ? 1 : 0}`,
    `PDTS=${entry.directorySize}`,
    `PASID directory ${hex(entry.pasidDirectory)}`,
    `RID_PASID=${entry.ridPasid}`,
  ];
  if (!entry.present && entry.pasidDirectory === 0) {
    return entry.faultDisable ? "not present, FPD" : "not present";
  }
  return flags.filter((flag) => flag !== "").join(", ");
}
