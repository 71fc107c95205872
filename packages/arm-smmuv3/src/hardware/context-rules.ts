import { HTTU, type Identification, STALL_MODEL, TT_ENDIAN } from "../layout/id-registers.ts";
import type { ContextEntry, TableRange } from "./context-entry.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { granuleSupported, power } from "./table-geometry.ts";
import { WORLD } from "./world.ts";

/** Rules that a context descriptor can break. Source: SMMUv3 §5.4.1. */
export const CD_RULE = {
  invalid: 1,
  format: 2,
  stallDisabled: 3,
  stalls: 4,
  mustStall: 5,
  mustAbort: 6,
  accessFlag: 7,
  dirty: 8,
  tableAccessFlag: 9,
  endian: 10,
  asid: 11,
  granule: 12,
  input: 13,
  table: 14,
} as const;

/** What a broken rule says, by its number. */
export const CD_RULE_TEXT: readonly string[] = [
  "",
  "V is 0",
  "AA64 is clear: 32-bit tables are not supported",
  "S is set although the stream's S1STALLD forbids it",
  "S is set, but faults always terminate here",
  "S is clear, but faults always stall here",
  "A is clear, but termination always aborts here",
  "HA asks for access flag updates that the SMMU does not make",
  "HD asks for dirty state updates that the SMMU does not make",
  "HAFT needs HA",
  "ENDI is not supported",
  "ASID has more than 8 bits",
  "a granule (TG0 or TG1) is not supported",
  "T0SZ or T1SZ is out of range",
  "TTB0 or TTB1 is beyond IPS",
];

/** The first rule that a descriptor breaks, one of {@link CD_RULE}; 0 = none. */
export function judgeContext(entry: ContextEntry, id: Identification, stream: StreamEntry): number {
  if (!entry.valid) {
    return CD_RULE.invalid;
  }
  if (!entry.aa64 || !id.aarch64) {
    return CD_RULE.format;
  }
  const rule = judgeFaults(entry, id, stream) || judgeUpdates(entry, id);
  if (rule !== 0) {
    return rule;
  }
  if (id.asidBits === 8 && entry.asid > 0xff) {
    return CD_RULE.asid;
  }
  // EL2 alone has no upper half.
  return judgeRange(entry.low, entry, id) || (stream.world === WORLD.el2 ? 0 : judgeRange(entry.high, entry, id));
}

function judgeFaults(entry: ContextEntry, id: Identification, stream: StreamEntry): number {
  if (entry.stalls && stream.stallDisabled) {
    return CD_RULE.stallDisabled;
  }
  if (entry.stalls && id.stallModel === STALL_MODEL.terminate) {
    return CD_RULE.stalls;
  }
  if (!entry.stalls && id.stallModel === STALL_MODEL.stallForced) {
    return CD_RULE.mustStall;
  }
  return !entry.aborts && id.alwaysAborts ? CD_RULE.mustAbort : 0;
}

function judgeUpdates(entry: ContextEntry, id: Identification): number {
  if (entry.setsAccessFlag && id.httu < HTTU.accessFlag) {
    return CD_RULE.accessFlag;
  }
  if (entry.hd && id.httu < HTTU.accessFlagAndDirty) {
    return CD_RULE.dirty;
  }
  if (entry.haft && !entry.setsAccessFlag) {
    return CD_RULE.tableAccessFlag;
  }
  const wanted = entry.bigEndian ? TT_ENDIAN.big : TT_ENDIAN.little;
  return id.ttEndian !== TT_ENDIAN.mixed && id.ttEndian !== wanted ? CD_RULE.endian : 0;
}

function judgeRange(range: TableRange, entry: ContextEntry, id: Identification): number {
  if (!range.enabled) {
    return 0;
  }
  if (!granuleSupported(range.granule, id)) {
    return CD_RULE.granule;
  }
  const smallest = (range.granule === 16 ? id.largeInput : range.large) ? 12 : 16;
  const largest = id.smallTables ? (range.granule === 16 ? 47 : 48) : 39;
  if (range.tSz < smallest || range.tSz > largest) {
    return CD_RULE.input;
  }
  const widest = range.large ? 52 : 48;
  return range.ttb >= power(Math.min(entry.outputBits, widest)) ? CD_RULE.table : 0;
}
