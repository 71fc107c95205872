import type { Capabilities } from "../layout/capabilities.ts";
import type { PasidEntry } from "../layout/pasid-entry.ts";
import {
  PASID_ENTRY_BYTES,
  PGTT_FIRST_STAGE,
  PGTT_PASS_THROUGH,
  PGTT_SECOND_STAGE,
  decodePasidEntry,
  pasidDirectoryOffset,
  pasidEntryOffset,
} from "../layout/pasid-entry.ts";
import type { Trail } from "./trail.ts";
import type { CachedPasid, TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost } from "./walk.ts";

/**
 * Finds the PASID entry of a requester: from the cache, else directory entry, then table entry, each checked for present,
 * reserved bits and invalid programming in that order. FPD counts at each level, also in an entry that is not present.
 *
 * Source: VT-d 5.10 §3.4.3, §9.5, §9.6.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpPasid(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  directory: number,
  rid: number,
  pasid: number,
): CachedPasid | undefined {
  const cached = caches.pasid(rid, pasid);
  if (cached !== undefined) {
    trail.faultDisable ||= cached.faultDisable;
    return cached;
  }
  const table = pasidTable(context, trail, directory, pasid);
  if (table === undefined) {
    return undefined;
  }
  const { memory } = context;
  trail.line = table + pasidEntryOffset(pasid);
  if (!memory.exists(trail.line)) {
    return trail.fail(0x58);
  }
  const words: number[] = [];
  for (let offset = 0; offset < PASID_ENTRY_BYTES; offset += 4) {
    words.push(memory.load32(trail.line + offset));
  }
  const entry = decodePasidEntry(words);
  trail.faultDisable ||= entry.faultDisable;
  if (!entry.present) {
    return trail.fail(0x59);
  }
  if (reserved(context, entry, words)) {
    return trail.fail(0x5a);
  }
  if (!programmed(context.caps, entry)) {
    return trail.fail(0x5b);
  }
  const found: CachedPasid = { rid, pasid, entry, faultDisable: trail.faultDisable };
  caches.keepPasid(found);
  return found;
}

function pasidTable(context: WalkContext, trail: Trail, directory: number, pasid: number): number | undefined {
  const { memory } = context;
  trail.line = directory + pasidDirectoryOffset(pasid);
  if (!memory.load64(trail.line)) {
    return trail.fail(0x50);
  }
  const { lo, hi } = memory;
  trail.faultDisable ||= (lo & 2) !== 0;
  if ((lo & 1) === 0) {
    return trail.fail(0x51);
  }
  if ((lo & 0xffc) !== 0 || pointerBeyondHost(hi, context.hostWidth)) {
    return trail.fail(0x52);
  }
  return hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

/**
 * Bits that must be 0. The fields of a stage that the entry does not use are not looked at: Linux writes the width of the
 * second stage into every entry, also on units without one.
 */
function reserved(context: WalkContext, entry: PasidEntry, words: readonly number[]): boolean {
  const { caps, hostWidth } = context;
  const word = (index: number): number => words[index] ?? 0;
  const first = (word(0) & 0xc20) | (caps.ssads ? 0 : word(0) & 0x200);
  const second =
    (word(2) & 0xf87f0000) |
    (caps.smpwcs ? 0 : word(2) & (1 << 23)) |
    (caps.sc ? 0 : word(2) & (1 << 24)) |
    (caps.mts ? 0 : (word(2) & 0x06000000) | word(3));
  const third = (word(4) & 0xf02) | (caps.srs ? 0 : word(4) & 1) | (caps.eafs ? 0 : word(4) & 0x80);
  const pointer =
    (entry.translationType === PGTT_SECOND_STAGE && pointerBeyondHost(word(1), hostWidth)) ||
    (entry.translationType === PGTT_FIRST_STAGE && pointerBeyondHost(word(5), hostWidth));
  return first !== 0 || second !== 0 || third !== 0 || pointer || words.slice(6).some((one) => one !== 0);
}

/** Whether the translation type is one the unit has, with a width it has. */
function programmed(caps: Capabilities, entry: PasidEntry): boolean {
  switch (entry.translationType) {
    case PGTT_FIRST_STAGE:
      return caps.fsts && (entry.firstStageMode === 0 || (entry.firstStageMode === 1 && caps.fs5lp));
    case PGTT_SECOND_STAGE: {
      const width = entry.addressWidth;
      return caps.ssts && width >= 1 && width <= 3 && (caps.sagaw & (1 << width)) !== 0;
    }
    case PGTT_PASS_THROUGH:
      return caps.pt;
    default:
      return false;
  }
}
