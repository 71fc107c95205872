import type { Words } from "@iommu-lab/core";
import { PhysicalMemory, hex } from "@iommu-lab/core";
import type { FaultReason } from "../layout/fault-reason.ts";
import { faultReason } from "../layout/fault-reason.ts";
import type { Capabilities } from "../layout/capabilities.ts";
import { decodeCapabilities } from "../layout/capabilities.ts";
import { lookUpContext } from "../hardware/context-lookup.ts";
import type { HeldContext, HeldScalableContext } from "../hardware/held-context.ts";
import { HeldScalableContext as ScalableOwner } from "../hardware/held-context.ts";
import type { HeldPasid } from "../hardware/held-pasid.ts";
import { LatchedRoot } from "../hardware/latched-root.ts";
import { lookUpPasid } from "../hardware/pasid-lookup.ts";
import { lookUpScalableContext } from "../hardware/scalable-lookup.ts";
import { Trail } from "../hardware/trail.ts";
import { TranslationCaches } from "../hardware/translation-caches.ts";
import type { WalkContext } from "../hardware/walk.ts";

/** A unit with every feature: both stages of all widths, nested, ATS, PASIDs, page requests, snooped walks. */
export const FULL_CAPABILITIES: Capabilities = decodeCapabilities(0xdf380e06, 0x91d3ff8c, 0xa6f00fdf, 0x03b3ef9e);

/** An entry that hardware takes, or the fault that every request meets. */
export type Judged<T> = { readonly entry: T; readonly fault?: never } | { readonly fault: FaultReason };

/** Tables around one entry, small enough to be made for it. */
const ROOT = 0x1000;
const TABLE = 0x2000;
const ENTRIES = 0x3000;

/** What a walk needs, over memory that holds these words at an address. */
export function contextOver(address: number, words: Words): WalkContext {
  const memory = new PhysicalMemory({ base: 0, size: 0x10000 });
  const root = new LatchedRoot();
  root.table = ROOT;
  for (const [index, word] of words.entries()) {
    memory.store32(address + index * 4, word);
  }
  return { memory, caps: FULL_CAPABILITIES, hostWidth: 52, root };
}

function judged<T>(entry: T | undefined, trail: Trail): Judged<T> {
  return entry === undefined ? { fault: faultReason(trail.fault) } : { entry };
}

/** What the hardware makes of a legacy context entry. */
export function judgeContextEntry(words: Words): Judged<HeldContext> {
  const context = contextOver(TABLE, words);
  context.memory.store32(ROOT, TABLE | 1);
  const trail = new Trail();
  return judged(lookUpContext(context, new TranslationCaches("none"), trail, 0), trail);
}

/** What the hardware makes of a scalable context entry. */
export function judgeScalableContextEntry(words: Words): Judged<HeldScalableContext> {
  const context = contextOver(TABLE, words);
  context.memory.store32(ROOT, TABLE | 1);
  const trail = new Trail();
  return judged(lookUpScalableContext(context, new TranslationCaches("none"), trail, 0), trail);
}

/** What the hardware makes of a PASID directory entry, with a sound PASID entry behind it. */
export function judgePasidDirectoryEntry(words: Words): FaultReason | undefined {
  const trail = new Trail();
  const owner = new ScalableOwner();
  owner.directory = TABLE;
  lookUpPasid(contextOver(TABLE, words), new TranslationCaches("none"), trail, owner, 0, 0);
  return trail.fault === 0x51 || trail.fault === 0x52 ? faultReason(trail.fault) : undefined;
}

/** What the hardware makes of a PASID entry. */
export function judgePasidEntry(words: Words): Judged<HeldPasid> {
  const context = contextOver(ENTRIES, words);
  context.memory.store32(TABLE, ENTRIES | 1);
  const trail = new Trail();
  const owner = new ScalableOwner();
  owner.directory = TABLE;
  return judged(lookUpPasid(context, new TranslationCaches("none"), trail, owner, 0, 0), trail);
}

/** A fault as a sentence: who gets what, and whether it is recorded. */
export function faultSentence(who: string, reason: FaultReason, faultDisable: boolean): string {
  const silent = faultDisable && reason.qualified ? "; nothing is recorded (FPD)" : "";
  return `${who}: ${reason.untranslated} for Untranslated requests, ${answer(reason)} for Translation Requests; fault ${hex(reason.code)} ${reason.condition}, ${reason.meaning}${silent}.`;
}

function answer(reason: FaultReason): string {
  return reason.translationRequest === "S0" ? "Success without permissions" : reason.translationRequest;
}
