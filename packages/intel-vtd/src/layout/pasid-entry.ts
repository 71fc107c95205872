import { type Words, getBit, getBits, hex, newWords, setBit, setBits } from "@iommu-lab/core";

/** Bytes of a PASID directory entry; it covers 64 PASIDs. */
const PASID_DIRECTORY_ENTRY_BYTES = 8;
/** Bytes of a PASID table entry; a table holds 64 of them. */
export const PASID_ENTRY_BYTES = 64;

/** PGTT: first stage alone. */
export const PGTT_FIRST_STAGE = 1;
/** PGTT: second stage alone. */
export const PGTT_SECOND_STAGE = 2;
/** PGTT: first stage nested on the second. */
export const PGTT_NESTED = 3;
/** PGTT: the address passes unchanged. */
export const PGTT_PASS_THROUGH = 4;

/** A scalable-mode PASID directory entry. Source: VT-d 5.10 §9.5. */
export interface PasidDirectoryEntry {
  /** P, bit 0. */
  readonly present: boolean;
  /** FPD, bit 1. */
  readonly faultDisable: boolean;
  /** SMPTBLPTR, bits 63:12: the PASID table. */
  readonly table: number;
}

/** The words of a PASID directory entry. */
export function encodePasidDirectoryEntry(entry: PasidDirectoryEntry): Words {
  const words = newWords(1);
  setBit(words, 0, entry.present);
  setBit(words, 1, entry.faultDisable);
  setBits(words, 63, 12, entry.table / 4096);
  return words;
}

/** Reads a PASID directory entry. */
export function decodePasidDirectoryEntry(words: ArrayLike<number>): PasidDirectoryEntry {
  return { present: getBit(words, 0), faultDisable: getBit(words, 1), table: getBits(words, 63, 12) * 4096 };
}

/** Byte offset of a PASID's entry in the directory: PASID bits 19:6. */
export function pasidDirectoryOffset(pasid: number): number {
  return (pasid >>> 6) * PASID_DIRECTORY_ENTRY_BYTES;
}

/** Byte offset of a PASID's entry in its table: PASID bits 5:0. */
export function pasidEntryOffset(pasid: number): number {
  return (pasid & 0x3f) * PASID_ENTRY_BYTES;
}

/** A scalable-mode PASID table entry. Source: VT-d 5.10 §9.6. */
export interface PasidEntry {
  /** P, bit 0. */
  readonly present: boolean;
  /** FPD, bit 1; honoured even when P=0. */
  readonly faultDisable: boolean;
  /** AW, bits 4:2: width of the second stage, coded as in a context entry. */
  readonly addressWidth: number;
  /** PGTT, bits 8:6. */
  readonly translationType: number;
  /** SSADE, bit 9. */
  readonly secondStageAccessDirty: boolean;
  /** SSPTPTR, bits 63:12. */
  readonly secondStageTable: number;
  /** DID, bits 79:64. */
  readonly domainId: number;
  /** PWSNP, bit 87: page walks are snooped. */
  readonly pageWalkSnoop: boolean;
  /** PGSNP, bit 88: accesses are snooped whatever No Snoop says. */
  readonly pageSnoop: boolean;
  /** SRE, bit 128: privileged requests are served. */
  readonly supervisorEnable: boolean;
  /** FSPM, bits 131:130: 0 = 4 levels, 1 = 5 levels. */
  readonly firstStageMode: number;
  /** WPE, bit 132: privileged writes honour R/W=0. */
  readonly writeProtect: boolean;
  /** EAFE, bit 135. */
  readonly extendedAccess: boolean;
  /** FSPTPTR, bits 191:140. */
  readonly firstStageTable: number;
  /** CD, bit 89 (units with memory types). */
  readonly cacheDisable: boolean;
  /** EMTE, bit 90 (units with memory types). */
  readonly memoryTypes: boolean;
  /** PAT, bits 127:96: eight memory types of 4 bits. */
  readonly pat: number;
  /** HPTSZ, bits 257:256: the host permission table covers 2^(49+HPTSZ) bytes. */
  readonly permissionTableSize: number;
  /** HPTPFD, bit 258: faults of the host permission table are not recorded. */
  readonly permissionFaultDisable: boolean;
  /** HPTPTR, bits 319:268. */
  readonly permissionTable: number;
  /** HPTDID, bits 335:320. */
  readonly permissionDomainId: number;
}

/** A PASID entry in which nothing is set. */
export const EMPTY_PASID_ENTRY: PasidEntry = {
  present: false,
  faultDisable: false,
  addressWidth: 0,
  translationType: 0,
  secondStageAccessDirty: false,
  secondStageTable: 0,
  domainId: 0,
  pageWalkSnoop: false,
  pageSnoop: false,
  supervisorEnable: false,
  firstStageMode: 0,
  writeProtect: false,
  extendedAccess: false,
  firstStageTable: 0,
  cacheDisable: false,
  memoryTypes: false,
  pat: 0,
  permissionTableSize: 0,
  permissionFaultDisable: false,
  permissionTable: 0,
  permissionDomainId: 0,
};

/** The 8 qwords of a PASID table entry. */
export function encodePasidEntry(entry: PasidEntry): Words {
  const words = newWords(8);
  setBit(words, 0, entry.present);
  setBit(words, 1, entry.faultDisable);
  setBits(words, 4, 2, entry.addressWidth);
  setBits(words, 8, 6, entry.translationType);
  setBit(words, 9, entry.secondStageAccessDirty);
  setBits(words, 63, 12, entry.secondStageTable / 4096);
  setBits(words, 79, 64, entry.domainId);
  setBit(words, 87, entry.pageWalkSnoop);
  setBit(words, 88, entry.pageSnoop);
  setBit(words, 128, entry.supervisorEnable);
  setBits(words, 131, 130, entry.firstStageMode);
  setBit(words, 132, entry.writeProtect);
  setBit(words, 135, entry.extendedAccess);
  setBits(words, 191, 140, entry.firstStageTable / 4096);
  setBit(words, 89, entry.cacheDisable);
  setBit(words, 90, entry.memoryTypes);
  setBits(words, 127, 96, entry.pat);
  setBits(words, 257, 256, entry.permissionTableSize);
  setBit(words, 258, entry.permissionFaultDisable);
  setBits(words, 319, 268, entry.permissionTable / 4096);
  setBits(words, 335, 320, entry.permissionDomainId);
  return words;
}

/** Reads a PASID table entry. */
export function decodePasidEntry(words: ArrayLike<number>): PasidEntry {
  return {
    present: getBit(words, 0),
    faultDisable: getBit(words, 1),
    addressWidth: getBits(words, 4, 2),
    translationType: getBits(words, 8, 6),
    secondStageAccessDirty: getBit(words, 9),
    secondStageTable: getBits(words, 63, 12) * 4096,
    domainId: getBits(words, 79, 64),
    pageWalkSnoop: getBit(words, 87),
    pageSnoop: getBit(words, 88),
    supervisorEnable: getBit(words, 128),
    firstStageMode: getBits(words, 131, 130),
    writeProtect: getBit(words, 132),
    extendedAccess: getBit(words, 135),
    firstStageTable: getBits(words, 191, 140) * 4096,
    cacheDisable: getBit(words, 89),
    memoryTypes: getBit(words, 90),
    pat: getBits(words, 127, 96),
    permissionTableSize: getBits(words, 257, 256),
    permissionFaultDisable: getBit(words, 258),
    permissionTable: getBits(words, 319, 268) * 4096,
    permissionDomainId: getBits(words, 335, 320),
  };
}

const translationTypes = ["reserved", "first stage", "second stage", "nested", "pass-through"];

/** A PASID table entry in words. */
export function describePasidEntry(words: ArrayLike<number>): string {
  const entry = decodePasidEntry(words);
  const fpd = entry.faultDisable ? ", FPD" : "";
  if (!entry.present) {
    const left = getBits(words, 63, 2) !== 0;
    return `not present${fpd}${left ? `, PGTT=${entry.translationType}, DID ${entry.domainId} left behind` : ""}`;
  }
  const type = translationTypes[entry.translationType] ?? "reserved";
  const first =
    entry.translationType === PGTT_FIRST_STAGE || entry.translationType === PGTT_NESTED
      ? `, FSPTPTR ${hex(entry.firstStageTable)}`
      : "";
  const second =
    entry.translationType === PGTT_SECOND_STAGE || entry.translationType === PGTT_NESTED
      ? `, SSPTPTR ${hex(entry.secondStageTable)}`
      : "";
  const snoop = `${entry.pageWalkSnoop ? ", PWSNP" : ""}${entry.pageSnoop ? ", PGSNP" : ""}`;
  return `P${fpd}, PGTT=${entry.translationType} (${type})${first}${second}, AW=${entry.addressWidth}, DID ${entry.domainId}${snoop}`;
}

/** A PASID directory entry in words. */
export function describePasidDirectoryEntry(words: ArrayLike<number>): string {
  const entry = decodePasidDirectoryEntry(words);
  const fpd = entry.faultDisable ? ", FPD" : "";
  return entry.present ? `P${fpd}, PASID table ${hex(entry.table)}` : `not present${fpd}`;
}
