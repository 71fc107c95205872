import type { TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { inputWidth, tableLevels } from "../layout/capabilities.ts";
import { PGTT_FIRST_STAGE, PGTT_PASS_THROUGH } from "../layout/pasid-entry.ts";
import type { ScalableContextEntry } from "../layout/scalable-context-entry.ts";
import { walkFirstStage } from "./first-stage-walk.ts";
import { lookUpPasid } from "./pasid-lookup.ts";
import type { JudgeContext, Request } from "./request.ts";
import { complete, completeInterruptRange, serves } from "./request.ts";
import { directoryEnd, lookUpScalableContext, pasidFault } from "./scalable-lookup.ts";
import { SCALABLE_CODES, walkSecondStage } from "./second-stage-walk.ts";
import type { CachedPasid } from "./translation-caches.ts";

/**
 * Judges a request in scalable mode. A Translated request ends at the context entry: with DTE=1 it passes, whatever the
 * PASID entry holds.
 *
 * Source: VT-d 5.10 §3.4.3, §4.2.
 *
 * @returns the fault code; 0 = `result` holds the answer
 */
export function judgeScalable(context: JudgeContext, request: Request, result: TranslateResult): number {
  const { trail, caches, caps } = context;
  const entry = lookUpScalableContext(context, caches, trail, context.rootTable, request.rid);
  if (entry === undefined) {
    return trail.fault;
  }
  if (request.type !== AT_UNTRANSLATED && !entry.deviceTlbEnable) {
    return 0x44;
  }
  if (request.type === AT_TRANSLATED) {
    return judgeTranslated(context, entry, request, result);
  }
  const refused = pasidFault(caps, entry, request.pasid);
  return refused === 0 ? judgeByPasid(context, entry, request, result) : refused;
}

/** The part of the way behind the context entry: IOTLB, else PASID entry and walk. */
function judgeByPasid(
  context: JudgeContext,
  entry: ScalableContextEntry,
  request: Request,
  result: TranslateResult,
): number {
  const { trail, caches, caps } = context;
  if (request.type === AT_TRANSLATION_REQUEST && request.pasid === NO_PASID && request.toInterruptRange) {
    completeInterruptRange(request, result);
    return 0;
  }
  const cached = caches.iotlb.lookup(request.rid, request.pasid, request.page);
  if (cached !== undefined && !request.execute && serves(cached, request)) {
    return complete(request, cached, caps.nwfs, 0x87, result);
  }
  const pasid = request.pasid === NO_PASID ? entry.ridPasid : request.pasid;
  const found = lookUpPasid(context, caches, trail, entry.pasidDirectory, request.rid, pasid);
  if (found === undefined) {
    return trail.fault;
  }
  if (request.execute) {
    return 0x5c;
  }
  if (request.privileged && !found.entry.supervisorEnable) {
    return 0x5d;
  }
  return translate(context, found, request, result);
}

function judgeTranslated(
  context: JudgeContext,
  entry: ScalableContextEntry,
  request: Request,
  result: TranslateResult,
): number {
  if (request.pasid !== NO_PASID) {
    if (!context.caps.ptrs || !entry.translatedPasidEnable) {
      return 0x49;
    }
    if (request.pasid >= directoryEnd(entry)) {
      return 0x46;
    }
  }
  if (request.page >= 2 ** (context.hostWidth - 12)) {
    return 0x83;
  }
  if (request.toInterruptRange) {
    return 0x87;
  }
  result.pass(request.page, true, true);
  return 0;
}

function translate(context: JudgeContext, found: CachedPasid, request: Request, result: TranslateResult): number {
  const { caches, caps, trail, walk } = context;
  const { entry } = found;
  const fault = walkByType(context, found, request);
  if (fault !== 0) {
    trail.line = walk.line === 0 ? trail.line : walk.line;
    return fault;
  }
  const first = request.page - (request.page % 2 ** (walk.sizeLog2 - 12));
  const made = {
    page: first,
    sizeLog2: walk.sizeLog2,
    target: walk.target,
    read: walk.read,
    write: walk.write,
    snoop: entry.pageSnoop || walk.snoop,
    dirty: walk.dirty,
    privileged: request.privileged,
    domainId: entry.domainId,
    translationType: entry.translationType,
    pasid: found.pasid,
  };
  if (made.read || made.write) {
    caches.iotlb.keep(request.rid, request.pasid, made);
  }
  return complete(request, made, caps.nwfs, 0x87, result);
}

function walkByType(context: JudgeContext, { entry }: CachedPasid, request: Request): number {
  const { caps, walk } = context;
  const { page, need } = request;
  if (entry.translationType === PGTT_PASS_THROUGH) {
    walk.start();
    walk.sizeLog2 = passThroughSize(context);
    walk.target = page - (page % 2 ** (walk.sizeLog2 - 12));
    return page >= 2 ** (context.hostWidth - 12) ? 0x83 : 0;
  }
  if (entry.translationType === PGTT_FIRST_STAGE) {
    const mode = {
      levels: entry.firstStageMode === 1 ? 5 : 4,
      privileged: request.privileged,
      writeProtect: entry.writeProtect,
      marksDirty: need === "write" || (need === "none" && !(request.noWrite && caps.nwfs)),
    };
    walkFirstStage(context, walk, mode, entry.firstStageTable, page, need);
    return walk.fault;
  }
  const width = Math.min(caps.mgaw, inputWidth(entry.addressWidth));
  if (page >= 2 ** (width - 12)) {
    walk.start();
    return 0x84;
  }
  walkSecondStage(context, walk, SCALABLE_CODES, entry.secondStageTable, tableLevels(entry.addressWidth), page, need);
  return walk.fault;
}

/** A pass-through translation is as large as the largest page the unit has. */
function passThroughSize({ caps }: JudgeContext): number {
  if ((caps.sslps & 2) !== 0 || caps.fs1gp) {
    return 30;
  }
  return (caps.sslps & 1) !== 0 || caps.fsts ? 21 : 12;
}
