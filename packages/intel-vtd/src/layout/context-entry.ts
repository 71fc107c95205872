import { type Words, getBit, getBits, hex, newWords, setBit, setBits } from "@iommu-lab/core";

/** Bytes of a legacy-mode context entry; a table holds 256 of them, indexed by device and function. */
export const CONTEXT_ENTRY_BYTES = 16;

/** TT: Untranslated requests walk the second stage, everything else is refused. */
export const TT_UNTRANSLATED_ONLY = 0;
/** TT: Translation Requests and Translated requests are served too. */
export const TT_DEVICE_TLB = 1;
/** TT: Untranslated requests pass unchanged, everything else is refused. */
export const TT_PASS_THROUGH = 2;

/** A legacy-mode context entry. Source: VT-d 5.10 §9.3. */
export interface ContextEntry {
  /** P, bit 0. */
  readonly present: boolean;
  /** FPD, bit 1: qualified faults are not recorded; honoured even when P=0. */
  readonly faultDisable: boolean;
  /** TT, bits 3:2. */
  readonly translationType: number;
  /** SSPTPTR, bits 63:12: the top second-stage table. */
  readonly pageTable: number;
  /** AW, bits 66:64: 1 = 39 bits, 2 = 48 bits, 3 = 57 bits. */
  readonly addressWidth: number;
  /** DID, bits 87:72. */
  readonly domainId: number;
}

/** The words of a legacy-mode context entry. */
export function encodeContextEntry(entry: ContextEntry): Words {
  const words = newWords(2);
  setBit(words, 0, entry.present);
  setBit(words, 1, entry.faultDisable);
  setBits(words, 3, 2, entry.translationType);
  setBits(words, 63, 12, entry.pageTable / 4096);
  setBits(words, 66, 64, entry.addressWidth);
  setBits(words, 87, 72, entry.domainId);
  return words;
}

/** Reads a legacy-mode context entry. */
export function decodeContextEntry(words: ArrayLike<number>): ContextEntry {
  return {
    present: getBit(words, 0),
    faultDisable: getBit(words, 1),
    translationType: getBits(words, 3, 2),
    pageTable: getBits(words, 63, 12) * 4096,
    addressWidth: getBits(words, 66, 64),
    domainId: getBits(words, 87, 72),
  };
}

const translationTypes = ["second stage", "second stage + device-TLB", "pass-through", "reserved"];

/** A legacy-mode context entry in words. */
export function describeContextEntry(words: ArrayLike<number>): string {
  const entry = decodeContextEntry(words);
  const fpd = entry.faultDisable ? ", FPD" : "";
  if (!entry.present) {
    return `not present${fpd}`;
  }
  const type = translationTypes[entry.translationType] ?? "";
  const table = entry.translationType === TT_PASS_THROUGH ? "" : `, SSPTPTR ${hex(entry.pageTable)}`;
  return `P${fpd}, TT=${entry.translationType} (${type})${table}, AW=${entry.addressWidth}, DID ${entry.domainId}`;
}
