import { type Words, decodeFields, encodeFields, getField, hex } from "@iommu-lab/core";

/** Size of a stream table entry in bytes. */
export const STE_BYTES = 64;
/** The same in 64-bit words. */
export const STE_WORDS = 8;

/**
 * Stream table entry. Names are those of the specification.
 *
 * Source: SMMUv3 §5.2.
 */
export const STE = {
  /** The entry is valid. */
  v: [0, 0, 0],
  /** One of {@link STE_CONFIG}. */
  config: [0, 3, 1],
  /** One of {@link S1_FMT}. */
  s1Fmt: [0, 5, 4],
  /** The context descriptor, or the table of them, in bytes. */
  s1ContextPtr: [0, 55, 6, true],
  /** log2 of the number of context descriptors; 0 = one, and substreams are off. */
  s1CdMax: [0, 63, 59],
  /** One of {@link S1_DSS}. */
  s1Dss: [1, 1, 0],
  /** Inner cacheability of fetching context descriptors. */
  s1Cir: [1, 3, 2],
  /** Outer cacheability of the same. */
  s1Cor: [1, 5, 4],
  /** Shareability of the same. */
  s1Csh: [1, 7, 6],
  /** Page bits 62:59 of stage 2 that hardware may use. */
  s2Hwu: [1, 11, 8],
  /** Destructive reads are allowed. */
  dre: [1, 12, 12],
  /** log2 of how many neighbouring entries are alike. */
  cont: [1, 16, 13],
  /** Directed cache prefetches are allowed. */
  dcp: [1, 17, 17],
  /** Automatic page responses carry the PASID. */
  ppar: [1, 18, 18],
  /** Events of this stream may be merged. */
  mev: [1, 19, 19],
  /** Stage 1 uses permission indirection. */
  s1Pie: [1, 24, 24],
  /** Stage 2 forces write-back. */
  s2Fwb: [1, 25, 25],
  /** Stage 1 has its own MPAM partition. */
  s1Mpam: [1, 26, 26],
  /** Faults of stage 1 terminate, never stall. */
  s1StallD: [1, 27, 27],
  /** One of {@link EATS}. */
  eats: [1, 29, 28],
  /** One of {@link STRW}. */
  strw: [1, 31, 30],
  /** Memory type that replaces the incoming one, with MTCFG. */
  memAttr: [1, 35, 32],
  /** MemAttr counts. */
  mtCfg: [1, 36, 36],
  /** Allocation hints that replace the incoming ones. */
  allocCfg: [1, 40, 37],
  /** Shareability; {@link SH_CFG_INCOMING} = as it comes. */
  shCfg: [1, 45, 44],
  /** Security state that replaces the incoming one. */
  nsCfg: [1, 47, 46],
  /** Privilege that replaces the incoming one. */
  privCfg: [1, 49, 48],
  /** Instruction or data that replaces the incoming one. */
  instCfg: [1, 51, 50],
  /** Virtual machine of stage 2. */
  s2Vmid: [2, 15, 0],
  /** 64 minus the input address bits of stage 2. */
  s2T0Sz: [2, 37, 32],
  /** First level of the walk of stage 2. */
  s2Sl0: [2, 39, 38],
  /** Inner cacheability of its walks. */
  s2Ir0: [2, 41, 40],
  /** Outer cacheability of its walks. */
  s2Or0: [2, 43, 42],
  /** Shareability of its walks. */
  s2Sh0: [2, 45, 44],
  /** Granule of stage 2. */
  s2Tg: [2, 47, 46],
  /** Output address size of stage 2. */
  s2Ps: [2, 50, 48],
  /** Stage 2 has 64-bit tables. */
  s2Aa64: [2, 51, 51],
  /** Its tables are big-endian. */
  s2Endi: [2, 52, 52],
  /** Its access flag makes no faults. */
  s2Affd: [2, 53, 53],
  /** Walks of stage 1 may not reach device memory. */
  s2Ptw: [2, 54, 54],
  /** Hardware sets its dirty state. */
  s2Hd: [2, 55, 55],
  /** Hardware sets its access flag. */
  s2Ha: [2, 56, 56],
  /** Its faults stall. */
  s2S: [2, 57, 57],
  /** Its faults are recorded. */
  s2R: [2, 58, 58],
  /** Hardware sets the access flag of its tables. */
  s2Haft: [2, 59, 59],
  /** Stage 2 uses permission indirection. */
  s2Pie: [2, 60, 60],
  /** Stage 2 uses permission overlays. */
  s2Poe: [2, 61, 61],
  /** How requests match the VMIDs of a device permission table. */
  dptVmatch: [2, 63, 62],
  /** Security state of the walks of stage 2, for Secure streams. */
  s2Nsw: [3, 0, 0],
  /** Security state of its output, for Secure streams. */
  s2Nsa: [3, 1, 1],
  /** Bit 2 of S2SL0, with S2DS. */
  s2Sl0Bit2: [3, 2, 2],
  /** Its descriptors hold 52-bit addresses (4 and 16 KiB granules). */
  s2Ds: [3, 3, 3],
  /** Its table, in bytes. */
  s2Ttb: [3, 51, 4, true],
  /** Levels that the walk of stage 2 skips, with 128-bit descriptors. */
  s2Skl: [3, 62, 61],
  /** MPAM partition. */
  partId: [4, 31, 16],
  /** Memory encryption context. */
  mecId: [4, 63, 48],
  /** MPAM performance group. */
  pmg: [5, 7, 0],
  /** MPAM partition space. */
  mpamNs: [5, 8, 8],
  /** Stage 2 assures that its tables are not written. */
  assuredOnly: [5, 9, 9],
  /** Walks from table 0 need assured tables. */
  tl0: [5, 10, 10],
  /** Walks from table 1 need assured tables. */
  tl1: [5, 11, 11],
  /** The virtual machine structure, in bytes. */
  vmsPtr: [5, 55, 12, true],
} as const;

/** A field of {@link STE}. */
export type SteField = keyof typeof STE;

/** STE.Config. Bit 0 turns stage 1 on, bit 1 stage 2; without bit 2 the stream aborts. */
export const STE_CONFIG = {
  /** Transactions are terminated; nothing is recorded. */
  abort: 0,
  /** Untranslated. */
  bypass: 4,
  /** Stage 1. */
  stage1: 5,
  /** Stage 2. */
  stage2: 6,
  /** Both. */
  nested: 7,
} as const;

/** STE.S1Fmt: how the context descriptor table is built. */
export const S1_FMT = {
  /** One array. */
  linear: 0,
  /** Two levels, 64 descriptors a leaf. */
  leaves4K: 1,
  /** Two levels, 1024 descriptors a leaf. */
  leaves64K: 2,
} as const;

/** STE.S1DSS: what requests without SubstreamID get while substreams are on. */
export const S1_DSS = {
  /** An abort and F_STREAM_DISABLED. */
  terminate: 0,
  /** No stage 1. */
  bypass: 1,
  /** Context descriptor 0; requests with SubstreamID 0 are then refused. */
  ssid0: 2,
} as const;

/** STE.EATS: what ATS may do. */
export const EATS = {
  /** Translation Requests and Translated requests are refused. */
  off: 0,
  /** Answers are physical addresses. */
  full: 1,
  /** Answers of stage 1; Translated requests pass stage 2. */
  split: 2,
  /** As full, and Translated requests are checked against the device permission table. */
  dpt: 3,
} as const;

/** STE.STRW: the translation regime. */
export const STRW = {
  /** EL1 and EL0. */
  nsEl1: 0,
  /** EL2, or EL2 and EL0 with CR2.E2H. */
  el2: 2,
} as const;

/** STE.S2TG: granule of stage 2. */
export const S2_TG = {
  /** 4 KiB. */
  granule4K: 0,
  /** 64 KiB. */
  granule64K: 1,
  /** 16 KiB. */
  granule16K: 2,
} as const;

/** STE.SHCFG = use the incoming shareability. */
export const SH_CFG_INCOMING = 1;

/** Builds a stream table entry. Fields left out are zero. */
export function encodeSte(fields: Readonly<Partial<Record<SteField, number>>>): Words {
  return encodeFields<SteField>(STE, STE_WORDS, fields);
}

/** All fields of a stream table entry. */
export function decodeSte(words: ArrayLike<number>): Record<SteField, number> {
  return decodeFields<SteField>(STE, words);
}

const CONFIG_NAMES: Readonly<Record<number, string>> = {
  [STE_CONFIG.bypass]: "bypass",
  [STE_CONFIG.stage1]: "S1",
  [STE_CONFIG.stage2]: "S2",
  [STE_CONFIG.nested]: "S1+S2",
};
const DSS_NAMES = ["terminate", "bypass", "SSID0", "terminate"];
const FMT_NAMES = ["linear", "4K leaves", "64K leaves", "linear"];
const EATS_NAMES = ["off", "full", "split", "full+DPT"];

/** The entry in a reader's words, such as `V=1 Config=S1 S1DSS=SSID0 EATS=full …`. */
export function describeSte(words: ArrayLike<number>): string {
  if (getField(words, STE.v) === 0) {
    return "V=0";
  }
  const config = getField(words, STE.config);
  const parts = ["V=1", `Config=${CONFIG_NAMES[config] ?? "abort"}`];
  const stage1 = config >= STE_CONFIG.bypass && (config & 1) !== 0;
  const stage2 = config >= STE_CONFIG.bypass && (config & 2) !== 0;
  if (stage1) {
    const cdMax = getField(words, STE.s1CdMax);
    parts.push(`S1ContextPtr=${hex(getField(words, STE.s1ContextPtr))}`, `S1CDMax=${cdMax}`);
    if (cdMax > 0) {
      parts.push(`S1Fmt=${FMT_NAMES[getField(words, STE.s1Fmt)]}`, `S1DSS=${DSS_NAMES[getField(words, STE.s1Dss)]}`);
    }
  }
  if (stage2) {
    parts.push(`S2TTB=${hex(getField(words, STE.s2Ttb))}`, `S2VMID=${getField(words, STE.s2Vmid)}`);
  }
  if (stage1 || stage2) {
    parts.push(`EATS=${EATS_NAMES[getField(words, STE.eats)]}`);
  }
  if (stage1 && getField(words, STE.strw) !== 0) {
    parts.push(`STRW=${getField(words, STE.strw) === STRW.el2 ? "EL2" : "illegal"}`);
  }
  return parts.join(" ");
}
