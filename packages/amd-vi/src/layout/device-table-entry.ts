import { type Words, getBit, getBits, hex, setBit, setBits } from "@iommu-lab/core";

/** Bytes of a device table entry. */
export const DTE_BYTES = 32;

/** IntCtl: unmapped interrupts are aborted. */
export const INT_CTL_ABORT = 0;

/**
 * A device table entry (DTE), 256 bits that hardware reads at once. Bit numbers count from bit 0 of the first quadword.
 *
 * Source: AMD IOMMU specification §2.2.2.1.
 */
export interface DeviceTableEntry {
  /** V, bit 0: the other bits of the lower half are valid. */
  readonly valid: boolean;
  /** TV, bit 1: the translation fields are valid. */
  readonly translationValid: boolean;
  /** HAD, bits 8:7: 0 none, 1 accessed, 3 accessed and dirty. */
  readonly accessDirty: number;
  /** Mode, bits 11:9: levels of the host table, 0 = identity. */
  readonly mode: number;
  /** Host page-table root, bits 51:12. */
  readonly hostRoot: number;
  /** PPR, bit 52: page requests are taken. */
  readonly pageRequests: boolean;
  /** GPRP, bit 53: page responses carry the PASID. */
  readonly responsePasid: boolean;
  /** GIoV, bit 54: requests without PASID use guest translation with PASID 0. */
  readonly guestIo: boolean;
  /** GV, bit 55: guest translation is valid. */
  readonly guestValid: boolean;
  /** GLX, bits 57:56: levels of the GCR3 table minus 1. */
  readonly glx: number;
  /** GCR3 table root, bits 51:12 of it spread over 60:58, 95:80 and 127:107. */
  readonly gcr3Root: number;
  /** IR, bit 61. */
  readonly read: boolean;
  /** IW, bit 62. */
  readonly write: boolean;
  /** DomainID, bits 79:64. */
  readonly domainId: number;
  /** I, bit 96: Translation Requests and Translated requests are taken. */
  readonly iotlb: boolean;
  /** SE, bit 97: only the first IO_PAGE_FAULT is reported. */
  readonly suppressFurther: boolean;
  /** SA, bit 98: no IO_PAGE_FAULT is reported. */
  readonly suppressAll: boolean;
  /** IoCtl, bits 100:99. */
  readonly ioControl: number;
  /** Cache, bit 101: an IOTLB hint. */
  readonly cache: boolean;
  /** SD, bit 102: snooping is off. */
  readonly snoopDisable: boolean;
  /** EX, bit 103: the exclusion range applies. */
  readonly exclusion: boolean;
  /** SysMgt, bits 105:104. */
  readonly systemManagement: number;
  /** SATS, bit 106. */
  readonly secureAts: boolean;
  /** IV, bit 128: the interrupt fields are valid. */
  readonly interruptValid: boolean;
  /** IntTabLen, bits 132:129: the table has 2^n entries. */
  readonly interruptTableLength: number;
  /** IG, bit 133: unmapped interrupts raise no event. */
  readonly ignoreUnmapped: boolean;
  /** Interrupt table root, bits 179:134. */
  readonly interruptTable: number;
  /** GuestPagingMode, bits 183:182: 0 = 4 levels, 1 = 5 levels. */
  readonly guestPagingMode: number;
  /** INITPass, EIntPass, NMIPass, bits 186:184. */
  readonly passInterrupts: number;
  /** HPTMode, bit 187. */
  readonly hostTableMode: boolean;
  /** IntCtl, bits 189:188: 0 abort, 1 pass unmapped, 2 remap. */
  readonly interruptControl: number;
  /** Lint0Pass and Lint1Pass, bits 191:190. */
  readonly passLint: number;
  /** vImuEn, bit 207. */
  readonly virtualized: boolean;
  /** GDeviceID, bits 223:208. */
  readonly guestDeviceId: number;
  /** GuestID, bits 239:224. */
  readonly guestId: number;
  /** AttrV, bit 246: the two attributes below are valid. */
  readonly attributeValid: boolean;
  /** Mode0FC, bit 247: stands for FC of a page-table entry when Mode is 0. */
  readonly mode0ForceCoherent: boolean;
  /** SnoopAttribute, bits 255:248. */
  readonly snoopAttribute: number;
}

/** A DTE in which nothing is set: the device passes untranslated. */
export const EMPTY_DTE: DeviceTableEntry = {
  valid: false,
  translationValid: false,
  accessDirty: 0,
  mode: 0,
  hostRoot: 0,
  pageRequests: false,
  responsePasid: false,
  guestIo: false,
  guestValid: false,
  glx: 0,
  gcr3Root: 0,
  read: false,
  write: false,
  domainId: 0,
  iotlb: false,
  suppressFurther: false,
  suppressAll: false,
  ioControl: 0,
  cache: false,
  snoopDisable: false,
  exclusion: false,
  systemManagement: 0,
  secureAts: false,
  interruptValid: false,
  interruptTableLength: 0,
  ignoreUnmapped: false,
  interruptTable: 0,
  guestPagingMode: 0,
  passInterrupts: 0,
  hostTableMode: false,
  interruptControl: INT_CTL_ABORT,
  passLint: 0,
  virtualized: false,
  guestDeviceId: 0,
  guestId: 0,
  attributeValid: false,
  mode0ForceCoherent: false,
  snoopAttribute: 0,
};

type FieldName = keyof DeviceTableEntry;

/** Fields that are one run of bits: name, high, low. The address fields are handled apart. */
const FIELDS: readonly (readonly [FieldName, number, number])[] = [
  ["accessDirty", 8, 7],
  ["mode", 11, 9],
  ["glx", 57, 56],
  ["domainId", 79, 64],
  ["ioControl", 100, 99],
  ["systemManagement", 105, 104],
  ["interruptTableLength", 132, 129],
  ["guestPagingMode", 183, 182],
  ["passInterrupts", 186, 184],
  ["interruptControl", 189, 188],
  ["passLint", 191, 190],
  ["guestDeviceId", 223, 208],
  ["guestId", 239, 224],
  ["snoopAttribute", 255, 248],
];

/** Fields of one bit. */
const FLAGS: readonly (readonly [FieldName, number])[] = [
  ["valid", 0],
  ["translationValid", 1],
  ["pageRequests", 52],
  ["responsePasid", 53],
  ["guestIo", 54],
  ["guestValid", 55],
  ["read", 61],
  ["write", 62],
  ["iotlb", 96],
  ["suppressFurther", 97],
  ["suppressAll", 98],
  ["cache", 101],
  ["snoopDisable", 102],
  ["exclusion", 103],
  ["secureAts", 106],
  ["interruptValid", 128],
  ["ignoreUnmapped", 133],
  ["hostTableMode", 187],
  ["virtualized", 207],
  ["attributeValid", 246],
  ["mode0ForceCoherent", 247],
];

/** The 8 words of a DTE. */
export function encodeDte(entry: DeviceTableEntry): Words {
  const words = new Uint32Array(8);
  for (const [name, high, low] of FIELDS) {
    setBits(words, high, low, Number(entry[name]));
  }
  for (const [name, bit] of FLAGS) {
    setBit(words, bit, entry[name] === true);
  }
  setBits(words, 51, 12, entry.hostRoot / 4096);
  setBits(words, 179, 134, entry.interruptTable / 64);
  const root = entry.gcr3Root / 4096;
  setBits(words, 60, 58, root % 8);
  setBits(words, 95, 80, Math.floor(root / 8) % 2 ** 16);
  setBits(words, 127, 107, Math.floor(root / 2 ** 19));
  return words;
}

/** Reads a DTE. */
export function decodeDte(words: ArrayLike<number>): DeviceTableEntry {
  const entry: Record<string, number | boolean> = {};
  for (const [name, high, low] of FIELDS) {
    entry[name] = getBits(words, high, low);
  }
  for (const [name, bit] of FLAGS) {
    entry[name] = getBit(words, bit);
  }
  const root = getBits(words, 60, 58) + getBits(words, 95, 80) * 8 + getBits(words, 127, 107) * 2 ** 19;
  return {
    ...EMPTY_DTE,
    ...entry,
    hostRoot: getBits(words, 51, 12) * 4096,
    interruptTable: getBits(words, 179, 134) * 64,
    gcr3Root: root * 4096,
  };
}

function translation(entry: DeviceTableEntry): string {
  const host = entry.mode === 0 ? "" : `, ${entry.mode}-level host table ${hex(entry.hostRoot)}`;
  if (entry.guestValid) {
    const levels = entry.guestPagingMode === 0 ? 4 : 5;
    const plain = entry.guestIo ? "" : entry.mode === 0 ? ", identity without PASID" : "";
    return `GV, GCR3 table ${hex(entry.gcr3Root)} of ${entry.glx + 1} levels, ${levels}-level guest tables${
      entry.guestIo ? ", GIoV" : ""
    }${plain}${host}`;
  }
  return entry.mode === 0 ? "identity" : host.slice(2);
}

/** A DTE in words. */
export function describeDte(words: ArrayLike<number>): string {
  const entry = decodeDte(words);
  if (!entry.valid) {
    return "V=0: passes untranslated";
  }
  const ats = entry.iotlb ? "I=1" : "I=0";
  if (!entry.translationValid) {
    return `V, TV=0: blocked, ${ats}`;
  }
  const permission = `${entry.read ? "IR" : ""}${entry.write ? "IW" : ""}` || "no permission";
  const ppr = entry.pageRequests ? ", PPR" : "";
  return `V, TV, ${translation(entry)}, ${permission}, DomainID ${hex(entry.domainId)}, ${ats}${ppr}`;
}
