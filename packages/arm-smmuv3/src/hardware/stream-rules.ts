import { type Identification, HTTU, STALL_MODEL, TT_ENDIAN } from "../layout/id-registers.ts";
import { EATS, S1_FMT, STE_CONFIG } from "../layout/stream-table-entry.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { granuleSupported, levelShift, power } from "./table-geometry.ts";

/** Rules that an STE can break. Source: SMMUv3 §5.2.2. */
export const STE_RULE = {
  invalid: 1,
  noStage1: 2,
  noStage2: 3,
  strw: 4,
  stallDisabled: 5,
  substreams: 6,
  twoLevels: 7,
  contextTable: 8,
  eatsFullStalls: 9,
  eatsSplit: 10,
  stage2Stalls: 11,
  stage2MustStall: 12,
  stage2Format: 13,
  stage2Httu: 14,
  stage2Granule: 15,
  stage2Table: 16,
  stage2Input: 17,
  stage2Start: 18,
  stage2Endian: 19,
  vmid: 20,
} as const;

/** What a broken rule says, by its number. */
export const STE_RULE_TEXT: readonly string[] = [
  "",
  "V is 0",
  "Config turns on a stage 1 that the SMMU lacks",
  "Config turns on a stage 2 that the SMMU lacks",
  "STRW is reserved",
  "S1STALLD is set, but stalling is not a choice here",
  "S1CDMax is above SSIDSIZE",
  "S1Fmt is two-level, but two-level tables of context descriptors are not supported",
  "S1ContextPtr is beyond the address size",
  "EATS is full while stage-2 faults stall (S2S)",
  "EATS is split-stage, which needs Config S1+S2, S2S 0 and an SMMU with split-stage ATS",
  "S2S is set, but faults always terminate here",
  "S2S is clear, but faults always stall here",
  "S2AA64 is clear: 32-bit tables are not supported",
  "S2HA or S2HD asks for updates that the SMMU does not make",
  "S2TG names a granule that is not supported",
  "S2TTB is beyond the output size",
  "S2T0SZ is out of range",
  "S2SL0 does not fit S2T0SZ and S2TG",
  "S2ENDI is not supported",
  "S2VMID has more than 8 bits",
];

/** The first rule that an entry breaks, one of {@link STE_RULE}; 0 = none. */
export function judgeStream(entry: StreamEntry, id: Identification): number {
  if (!entry.valid) {
    return STE_RULE.invalid;
  }
  if (entry.config <= STE_CONFIG.bypass) {
    return 0;
  }
  if (entry.stage1 && !id.stage1) {
    return STE_RULE.noStage1;
  }
  if (entry.stage2 && !id.stage2) {
    return STE_RULE.noStage2;
  }
  const first = entry.stage1 ? judgeStage1(entry, id) : 0;
  const second = first === 0 && entry.stage2 ? judgeStage2(entry, id) : first;
  if (second !== 0) {
    return second;
  }
  if (id.vmidBits === 8 && entry.vmid > 0xff) {
    return STE_RULE.vmid;
  }
  return id.ats ? judgeEats(entry, id) : 0;
}

function judgeStage1(entry: StreamEntry, id: Identification): number {
  if (id.hyp && entry.config === STE_CONFIG.stage1 && (entry.strw & 1) !== 0) {
    return STE_RULE.strw;
  }
  if (entry.stallDisabled && id.stallModel !== STALL_MODEL.stallOrTerminate) {
    return STE_RULE.stallDisabled;
  }
  if (entry.s1CdMax > id.substreamIdBits) {
    return STE_RULE.substreams;
  }
  if (entry.s1Fmt !== S1_FMT.linear && !id.twoLevelCd) {
    return STE_RULE.twoLevels;
  }
  return entry.contextTable >= power(id.oas) ? STE_RULE.contextTable : 0;
}

/** EATS = 3 without device permission tables counts as 0. */
function judgeEats(entry: StreamEntry, id: Identification): number {
  const stalls = entry.stage2 && entry.s2Stalls;
  if (entry.eats === EATS.full && stalls) {
    return STE_RULE.eatsFullStalls;
  }
  const splits = entry.config === STE_CONFIG.nested && !stalls && id.splitStageAts;
  return entry.eats === EATS.split && !splits ? STE_RULE.eatsSplit : 0;
}

function judgeStage2(entry: StreamEntry, id: Identification): number {
  if (entry.s2Stalls && id.stallModel === STALL_MODEL.terminate) {
    return STE_RULE.stage2Stalls;
  }
  if (!entry.s2Stalls && id.stallModel === STALL_MODEL.stallForced) {
    return STE_RULE.stage2MustStall;
  }
  if (!entry.s2Aa64 || !id.aarch64) {
    return STE_RULE.stage2Format;
  }
  if (
    (entry.s2SetsAccessFlag && id.httu < HTTU.accessFlag) ||
    (entry.s2SetsDirty && id.httu < HTTU.accessFlagAndDirty)
  ) {
    return STE_RULE.stage2Httu;
  }
  const wanted = entry.s2BigEndian ? TT_ENDIAN.big : TT_ENDIAN.little;
  if (id.ttEndian !== TT_ENDIAN.mixed && id.ttEndian !== wanted) {
    return STE_RULE.stage2Endian;
  }
  return judgeStage2Table(entry, id);
}

function judgeStage2Table(entry: StreamEntry, id: Identification): number {
  const { s2Granule: granule, s2T0Sz: t0Sz, s2Ds: ds } = entry;
  if (!granuleSupported(granule, id)) {
    return STE_RULE.stage2Granule;
  }
  const widest = ds || (granule === 16 && id.oas === 52) ? 52 : 48;
  const largest = id.smallTables ? (granule === 16 ? 47 : 48) : 39;
  if (t0Sz < Math.max(64 - widest, 64 - id.oas) || t0Sz > largest) {
    return STE_RULE.stage2Input;
  }
  if (!startFits(entry, id)) {
    return STE_RULE.stage2Start;
  }
  return entry.s2Ttb >= power(Math.min(entry.s2OutputBits, widest)) ? STE_RULE.stage2Table : 0;
}

/** Up to 16 first tables may be concatenated; small output sizes must start lower. Source: Arm ARM D8.2.8. */
function startFits(entry: StreamEntry, id: Identification): boolean {
  const { s2Granule: granule, s2StartLevel: level } = entry;
  if (level > 3 || (level === 3 && granule === 12 && !id.smallTables)) {
    return false;
  }
  if (level < 0 || (granule === 14 && level === 0)) {
    return entry.s2Ds && 64 - entry.s2T0Sz > levelShift(granule, level);
  }
  const indexBits = 64 - entry.s2T0Sz - levelShift(granule, level);
  return id.oas >= smallestOutput(granule, level) && indexBits >= 1 && indexBits <= granule - 3 + 4;
}

/** Output bits that an SMMU needs before a walk may start at a level. Source: Arm ARM D8.2.8. */
function smallestOutput(granule: number, level: number): number {
  if (granule === 14) {
    return level === 1 ? 42 : 0;
  }
  return level === (granule === 12 ? 0 : 1) ? 44 : 0;
}
