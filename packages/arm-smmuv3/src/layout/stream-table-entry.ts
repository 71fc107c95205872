import { hex } from "@iommu-lab/core";
import type { Words } from "./words.ts";
import { encodeFields, getField } from "./words.ts";

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
  v: [0, 0, 0],
  config: [0, 3, 1],
  s1Fmt: [0, 5, 4],
  s1ContextPtr: [0, 55, 6, true],
  s1CdMax: [0, 63, 59],
  s1Dss: [1, 1, 0],
  s1Cir: [1, 3, 2],
  s1Cor: [1, 5, 4],
  s1Csh: [1, 7, 6],
  s2Hwu: [1, 11, 8],
  dre: [1, 12, 12],
  cont: [1, 16, 13],
  dcp: [1, 17, 17],
  ppar: [1, 18, 18],
  mev: [1, 19, 19],
  s1Pie: [1, 24, 24],
  s2Fwb: [1, 25, 25],
  s1Mpam: [1, 26, 26],
  s1StallD: [1, 27, 27],
  eats: [1, 29, 28],
  strw: [1, 31, 30],
  memAttr: [1, 35, 32],
  mtCfg: [1, 36, 36],
  allocCfg: [1, 40, 37],
  shCfg: [1, 45, 44],
  nsCfg: [1, 47, 46],
  privCfg: [1, 49, 48],
  instCfg: [1, 51, 50],
  s2Vmid: [2, 15, 0],
  s2T0Sz: [2, 37, 32],
  s2Sl0: [2, 39, 38],
  s2Ir0: [2, 41, 40],
  s2Or0: [2, 43, 42],
  s2Sh0: [2, 45, 44],
  s2Tg: [2, 47, 46],
  s2Ps: [2, 50, 48],
  s2Aa64: [2, 51, 51],
  s2Endi: [2, 52, 52],
  s2Affd: [2, 53, 53],
  s2Ptw: [2, 54, 54],
  s2Hd: [2, 55, 55],
  s2Ha: [2, 56, 56],
  s2S: [2, 57, 57],
  s2R: [2, 58, 58],
  s2Ttb: [3, 51, 4, true],
} as const;

/** A field of {@link STE}. */
export type SteField = keyof typeof STE;

/** STE.Config. Bit 0 turns stage 1 on, bit 1 stage 2; without bit 2 the stream aborts. */
export const STE_CONFIG = { abort: 0, bypass: 4, stage1: 5, stage2: 6, nested: 7 } as const;

/** STE.S1Fmt: how the context descriptor table is built. */
export const S1_FMT = { linear: 0, leaves4K: 1, leaves64K: 2 } as const;

/** STE.S1DSS: what requests without SubstreamID get while substreams are on. */
export const S1_DSS = { terminate: 0, bypass: 1, ssid0: 2 } as const;

/** STE.EATS: what ATS may do. */
export const EATS = { off: 0, full: 1, split: 2, dpt: 3 } as const;

/** STE.STRW: the translation regime. */
export const STRW = { nsEl1: 0, el2: 2 } as const;

/** STE.SHCFG = use the incoming shareability. */
export const SH_CFG_INCOMING = 1;

/** Builds a stream table entry. Fields left out are zero. */
export function encodeSte(fields: Readonly<Partial<Record<SteField, number>>>): Words {
  return encodeFields<SteField>(STE, STE_WORDS, fields);
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
