import { bits32 } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import type { Capabilities } from "../layout/capabilities.ts";
import { ROOT_ENTRY_BYTES } from "../layout/root-entry.ts";
import type { ScalableContextEntry } from "../layout/scalable-context-entry.ts";
import { SCALABLE_CONTEXT_BYTES, decodeScalableContext } from "../layout/scalable-context-entry.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost } from "./walk.ts";

/** PASIDs below this number have an entry in the directory of a context entry. */
export function directoryEnd(entry: ScalableContextEntry): number {
  return 2 ** (entry.directorySize + 13);
}

/**
 * Checks a PASID against unit and context entry.
 *
 * @param pasid NO_PASID for a request without
 * @returns the fault code, 0 = none
 */
export function pasidFault(caps: Capabilities, entry: ScalableContextEntry, pasid: number): number {
  if (pasid === NO_PASID) {
    return 0;
  }
  if (!entry.pasidEnable) {
    return 0x45;
  }
  if (pasid >= 2 ** caps.pasidBits) {
    return 0x89;
  }
  if (pasid >= directoryEnd(entry)) {
    return 0x46;
  }
  return pasid === entry.ridPasid ? 0x48 : 0;
}

/**
 * Finds the scalable context entry of a requester: from the cache, else half of a root entry, then context entry, each
 * checked for present, reserved bits and invalid programming in that order.
 *
 * Source: VT-d 5.10 §3.4.3, §9.2, §9.4.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpScalableContext(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  rootTable: number,
  rid: number,
): ScalableContextEntry | undefined {
  const cached = caches.scalableContext(rid);
  if (cached !== undefined) {
    trail.faultDisable = cached.faultDisable;
    return cached;
  }
  const table = contextTable(context, trail, rootTable, rid);
  if (table === undefined) {
    return undefined;
  }
  const { memory } = context;
  trail.line = table + (rid & 0x7f) * SCALABLE_CONTEXT_BYTES;
  if (!memory.exists(trail.line)) {
    return trail.fail(0x40);
  }
  const words: number[] = [];
  for (let offset = 0; offset < SCALABLE_CONTEXT_BYTES; offset += 4) {
    words.push(memory.load32(trail.line + offset));
  }
  const read = decodeScalableContext(words);
  trail.faultDisable = read.faultDisable;
  if (!read.present) {
    return trail.fail(0x41);
  }
  if (reserved(context, words)) {
    return trail.fail(0x42);
  }
  const entry = context.caps.rps ? read : { ...read, ridPasid: 0 };
  if (!programmed(entry)) {
    return trail.fail(0x43);
  }
  caches.keepScalableContext(rid, entry);
  return entry;
}

function contextTable(context: WalkContext, trail: Trail, rootTable: number, rid: number): number | undefined {
  const { memory } = context;
  const half = (rid & 0x80) === 0 ? 0 : 8;
  trail.line = rootTable + (rid >>> 8) * ROOT_ENTRY_BYTES + half;
  if (!memory.load64(trail.line)) {
    return trail.fail(0x38);
  }
  const { lo, hi } = memory;
  if ((lo & 1) === 0) {
    return trail.fail(0x39);
  }
  if (bits32(lo, 11, 1) !== 0 || pointerBeyondHost(hi, context.hostWidth)) {
    return trail.fail(0x3a);
  }
  return hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

/**
 * Bits that must be 0. A unit without RPS takes RID_PASID as 0 whatever it holds.
 *
 * Source: VT-d 5.10 §9.4; an emulated unit for the RID_PASID reading.
 */
function reserved(context: WalkContext, words: readonly number[]): boolean {
  const { caps } = context;
  const [low = 0, high = 0, rid = 0, ...rest] = words;
  const features = featureBits(caps);
  if ((low & 0x1ff & ~features) !== 0 || pointerBeyondHost(high, context.hostWidth)) {
    return true;
  }
  const spare = rid & (caps.rprivs ? 0xffe00000 : 0xfff00000);
  return spare !== 0 || rest.some((word) => word !== 0);
}

/** Which of bits 8:0 mean something on this unit. */
function featureBits(caps: Capabilities): number {
  return 0b11 | (caps.dt ? 4 : 0) | (caps.pasid ? 8 : 0) | (caps.prs ? 0x10 : 0) | (caps.ptrs ? 0x40 : 0);
}

function programmed(entry: ScalableContextEntry): boolean {
  return (
    (!entry.pageRequestEnable || entry.deviceTlbEnable) &&
    entry.ridPasid < directoryEnd(entry) &&
    (!entry.translatedPasidEnable || entry.pasidEnable)
  );
}
