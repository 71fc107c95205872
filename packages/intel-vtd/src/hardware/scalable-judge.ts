import type { TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { PGTT_PASS_THROUGH, PGTT_SECOND_STAGE } from "../layout/pasid-entry.ts";
import type { HeldScalableContext } from "./held-context.ts";
import type { HeldPasid } from "./held-pasid.ts";
import { alignDown, power } from "./page-shift.ts";
import { lookUpPasid } from "./pasid-lookup.ts";
import { judgeHostPermission } from "./host-permission-table.ts";
import type { JudgeContext, Request } from "./request.ts";
import { WALK, complete, completeInterruptRange, passThroughSize, remembered } from "./request.ts";
import { lookUpScalableContext, pasidFault } from "./scalable-lookup.ts";
import { SCALABLE_CODES } from "./second-stage-walk.ts";

const NO_WRITE = 0x85;
const NO_READ = 0x86;
const NOT_PRESENT = 0x79;
const HOST_BEYOND = 0x83;
const GUEST_BEYOND = 0x84;
const INTERRUPT_OUTPUT = 0x87;

/**
 * Judges a request in scalable mode. An Untranslated request that the IOTLB knows needs no context entry. A Translated
 * request ends at the context entry: with DTE=1 and HPTE=0 it passes, whatever the PASID entry holds.
 *
 * Source: VT-d 5.10 §3.4.3, §4.2, §6.2.5.
 *
 * @returns the fault code; 0 = `result` holds the answer
 */
export function judgeScalable(context: JudgeContext, request: Request, result: TranslateResult): number {
  if (request.type === AT_UNTRANSLATED) {
    const code = tryIoTlb(context, request, result);
    if (code !== WALK) {
      return code;
    }
  }
  const { trail, caches, caps } = context;
  const entry = lookUpScalableContext(context, caches, trail, request.rid);
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
  if (refused !== 0) {
    return refused;
  }
  if (request.type === AT_TRANSLATION_REQUEST) {
    if (request.pasid === NO_PASID && request.toInterruptRange) {
      completeInterruptRange(request, result);
      return 0;
    }
    const code = tryIoTlb(context, request, result);
    if (code !== WALK) {
      return code;
    }
  }
  return judgeByPasid(context, entry, request, result);
}

function tryIoTlb(context: JudgeContext, request: Request, result: TranslateResult): number {
  const { caches, caps, trail, translation } = context;
  if (
    request.execute ||
    !caches.iotlb.lookup(request.rid, request.pasid, request.privileged, request.page, translation)
  ) {
    return WALK;
  }
  trail.faultDisable = translation.faultDisable;
  const code = remembered(translation, request, caps.nwfs, NO_WRITE, NO_READ);
  return code === 0 ? complete(request, translation, caps.nwfs, INTERRUPT_OUTPUT, result) : code;
}

/** The part of the way behind the context entry: PASID entry and walk. */
function judgeByPasid(
  context: JudgeContext,
  entry: HeldScalableContext,
  request: Request,
  result: TranslateResult,
): number {
  const { trail, caches } = context;
  const pasid = request.pasid === NO_PASID ? entry.ridPasid : request.pasid;
  const found = lookUpPasid(context, caches, trail, entry, request.rid, pasid);
  if (found === undefined) {
    return trail.fault;
  }
  if (request.execute) {
    return 0x5c;
  }
  const privileged = request.pasid === NO_PASID ? entry.ridPrivileged : request.privileged;
  if (privileged && !found.supervisorEnable) {
    return 0x5d;
  }
  return translate(context, found, pasid, privileged, request, result);
}

function judgeTranslated(
  context: JudgeContext,
  entry: HeldScalableContext,
  request: Request,
  result: TranslateResult,
): number {
  if (request.pasid !== NO_PASID) {
    if (!context.caps.ptrs || !entry.translatedPasidEnable) {
      return 0x49;
    }
    if (request.pasid >= entry.directoryEnd) {
      return 0x46;
    }
  }
  if (request.page >= power(context.hostWidth - 12)) {
    return HOST_BEYOND;
  }
  if (request.toInterruptRange) {
    return INTERRUPT_OUTPUT;
  }
  if (entry.permissionTableEnable) {
    const fault = judgeHostPermission(context, entry, request);
    if (fault !== 0) {
      return fault;
    }
  }
  result.pass(request.page, true, true);
  return 0;
}

function translate(
  context: JudgeContext,
  found: HeldPasid,
  pasid: number,
  privileged: boolean,
  request: Request,
  result: TranslateResult,
): number {
  const { caches, caps, translation } = context;
  const fault = walk(context, found, pasid, privileged, request);
  translation.faultDisable = context.trail.faultDisable;
  translation.fault = fault;
  translation.domainId = found.domainId;
  translation.translationType = found.translationType;
  translation.pasid = pasid;
  if (fault === 0) {
    translation.snoop ||= found.pageSnoop;
    if (translation.read || translation.write) {
      caches.iotlb.keep(request.rid, request.pasid, request.privileged, request.page, translation);
    }
    return complete(request, translation, caps.nwfs, INTERRUPT_OUTPUT, result);
  }
  if (caps.cm && fault === NOT_PRESENT && found.translationType === PGTT_SECOND_STAGE) {
    translation.sizeLog2 = 12;
    caches.iotlb.keep(request.rid, request.pasid, request.privileged, request.page, translation);
  }
  return fault;
}

/** Fills the translation in hand. @returns the fault code */
function walk(context: JudgeContext, found: HeldPasid, pasid: number, privileged: boolean, request: Request): number {
  const { caps, trail, translation, secondStage, firstStage } = context;
  const { page, need } = request;
  if (found.translationType === PGTT_PASS_THROUGH) {
    return passThrough(context, page);
  }
  const marksDirty = request.marksDirty(caps.nwfs);
  const second = found.translationType === PGTT_SECOND_STAGE;
  if (second && page >= found.endPage) {
    return GUEST_BEYOND;
  }
  const reached = second
    ? secondStage.run(SCALABLE_CODES, found, page, need, marksDirty)
    : firstStage.run(found, pasid, page, need, privileged, marksDirty);
  const done = second ? secondStage : firstStage;
  if (!reached) {
    trail.line = done.line === 0 ? trail.line : done.line;
    return done.fault;
  }
  translation.sizeLog2 = done.sizeLog2;
  translation.target = done.target;
  translation.read = done.read;
  translation.write = done.write;
  translation.snoop = done.snoop;
  translation.dirty = done.dirty;
  return 0;
}

function passThrough(context: JudgeContext, page: number): number {
  const { translation } = context;
  translation.sizeLog2 = passThroughSize(context);
  translation.target = alignDown(page, translation.sizeLog2 - 12);
  translation.read = true;
  translation.write = true;
  translation.snoop = false;
  translation.dirty = true;
  return page >= power(context.hostWidth - 12) ? HOST_BEYOND : 0;
}
