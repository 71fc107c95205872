import { type Field, type Words, getField, newWords, setField } from "@iommu-lab/core";
import { EATS, S1_DSS, SH_CFG_INCOMING, STE, STE_CONFIG, STRW, encodeSte } from "../layout/stream-table-entry.ts";
import type { EntryKind } from "./entry-update.ts";

/** What of an SMMU decides about stream table entries. */
export interface SteFeatures {
  readonly attributeTypesOverride: boolean;
  readonly stalls: boolean;
  readonly e2h: boolean;
}

/** A table of context descriptors, as an STE points to it. */
export interface CdTableLocation {
  readonly address: number;
  /** One of `S1_FMT`. */
  readonly s1Fmt: number;
  readonly s1CdMax: number;
}

const WRITE_BACK = 1;
const INNER_SHAREABLE = 3;

/** Aborts everything. Source: Linux 7.2 `arm_smmu_make_abort_ste()`. */
export function makeAbortSte(): Words {
  return encodeSte({ v: 1, config: STE_CONFIG.abort });
}

/** Translates nothing. Source: Linux 7.2 `arm_smmu_make_bypass_ste()`. */
export function makeBypassSte(features: SteFeatures): Words {
  return encodeSte({
    v: 1,
    config: STE_CONFIG.bypass,
    shCfg: features.attributeTypesOverride ? SH_CFG_INCOMING : 0,
  });
}

/**
 * Translates by a table of context descriptors.
 *
 * Source: Linux 7.2 `arm_smmu_make_cdtable_ste()`.
 *
 * @param stalls the function's faults may stall
 * @param s1Dss one of `S1_DSS`: what requests without PASID get
 */
export function makeCdTableSte(
  features: SteFeatures,
  table: CdTableLocation,
  stalls: boolean,
  ats: boolean,
  s1Dss: number,
): Words {
  const incoming = features.attributeTypesOverride && s1Dss === S1_DSS.bypass;
  return encodeSte({
    v: 1,
    config: STE_CONFIG.stage1,
    s1Fmt: table.s1Fmt,
    s1ContextPtr: table.address,
    s1CdMax: table.s1CdMax,
    s1Dss,
    s1Cir: WRITE_BACK,
    s1Cor: WRITE_BACK,
    s1Csh: INNER_SHAREABLE,
    s1StallD: features.stalls && !stalls ? 1 : 0,
    eats: ats ? EATS.full : EATS.off,
    shCfg: incoming ? SH_CFG_INCOMING : 0,
    strw: features.e2h ? STRW.el2 : STRW.nsEl1,
  });
}

const ALWAYS: readonly Field[] = [STE.v];
const WHEN_VALID: readonly Field[] = [STE.config];
const STAGE1: readonly Field[] = [
  STE.s1Fmt,
  STE.s1ContextPtr,
  STE.s1CdMax,
  STE.s1Dss,
  STE.s1Cir,
  STE.s1Cor,
  STE.s1Csh,
  STE.s1StallD,
  STE.strw,
  STE.eats,
  STE.mev,
  STE.s2Vmid,
];
const STAGE2: readonly Field[] = [
  STE.s2Fwb,
  STE.eats,
  STE.shCfg,
  STE.mev,
  STE.s2Vmid,
  STE.s2T0Sz,
  STE.s2Sl0,
  STE.s2Ir0,
  STE.s2Or0,
  STE.s2Sh0,
  STE.s2Tg,
  STE.s2Ps,
  STE.s2Aa64,
  STE.s2Endi,
  STE.s2Ptw,
  STE.s2S,
  STE.s2R,
  STE.s2Ttb,
];

/** Sets all bits of fields. */
export function addMask(words: Words, fields: readonly Field[]): void {
  for (const [word, high, low] of fields) {
    setField(words, [word, high, low], 2 ** (high - low + 1) - 1);
  }
}

/** Bits that hardware looks at. Source: Linux 7.2 `arm_smmu_get_ste_used()`. */
function used(entry: Words): Words {
  const mask = newWords(8);
  addMask(mask, ALWAYS);
  if (getField(entry, STE.v) === 0) {
    return mask;
  }
  const config = getField(entry, STE.config);
  addMask(mask, WHEN_VALID);
  if ((config & 1) !== 0) {
    addMask(mask, STAGE1);
    if (getField(entry, STE.s1Dss) === S1_DSS.bypass) {
      addMask(mask, [STE.shCfg]);
    }
  }
  if ((config & 2) !== 0) {
    addMask(mask, STAGE2);
  }
  if (config === STE_CONFIG.bypass) {
    addMask(mask, [STE.shCfg]);
  }
  return mask;
}

function splitsOrStalls(entry: Words): boolean {
  return (getField(entry, STE.eats) & EATS.split) !== 0 || getField(entry, STE.s2S) === 1;
}

/**
 * MEV changes how many events there are and nothing else. Full ATS may come and go, because ATS is off at the function
 * while it does, unless split-stage ATS or stage-2 stalls are involved.
 *
 * Source: Linux 7.2 `arm_smmu_get_ste_update_safe()`.
 */
function safe(current: Words, target: Words): Words {
  const mask = newWords(8);
  addMask(mask, [STE.mev]);
  if (!splitsOrStalls(current) && !splitsOrStalls(target)) {
    setField(mask, STE.eats, EATS.full);
  }
  return mask;
}

/** How stream table entries may be rewritten. */
export const steKind: EntryKind = { used, safe };

/** The same before there were safe bits. Source: Linux 6.12 `arm_smmu_entry_qword_diff()`. */
export const steKindWithoutSafeBits: EntryKind = { used };
