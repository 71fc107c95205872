import type { TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { TT_DEVICE_TLB, TT_PASS_THROUGH } from "../layout/context-entry.ts";
import { lookUpContext } from "./context-lookup.ts";
import type { HeldContext } from "./held-context.ts";
import { alignDown, power } from "./page-shift.ts";
import type { JudgeContext, Request } from "./request.ts";
import { WALK, complete, completeInterruptRange, passThroughSize, remembered } from "./request.ts";
import { LEGACY_CODES } from "./second-stage-walk.ts";

const NO_WRITE = 0x05;
const NO_READ = 0x06;
const BEYOND = 0x04;
const INTERRUPT_OUTPUT = 0x0e;

/**
 * Judges a request in legacy mode. An Untranslated request that the IOTLB knows needs no context entry.
 *
 * Source: VT-d 5.10 §3.4.2, §4.2, §6.2.5.
 *
 * @returns the fault code; 0 = `result` holds the answer
 */
export function judgeLegacy(context: JudgeContext, request: Request, result: TranslateResult): number {
  if (request.pasid !== NO_PASID) {
    return 0x31;
  }
  if (request.type === AT_UNTRANSLATED) {
    const code = tryIoTlb(context, request, result);
    if (code !== WALK) {
      return code;
    }
  }
  const entry = lookUpContext(context, context.caches, context.trail, request.rid);
  if (entry === undefined) {
    return context.trail.fault;
  }
  if (request.type !== AT_UNTRANSLATED) {
    if (entry.translationType !== TT_DEVICE_TLB) {
      return 0x0d;
    }
    if (request.type === AT_TRANSLATED) {
      return passHostAddress(context, request, result);
    }
    if (request.toInterruptRange) {
      completeInterruptRange(request, result);
      return 0;
    }
    const code = tryIoTlb(context, request, result);
    if (code !== WALK) {
      return code;
    }
  }
  return translate(context, entry, request, result);
}

function tryIoTlb(context: JudgeContext, request: Request, result: TranslateResult): number {
  const { caches, caps, trail, translation } = context;
  if (!caches.iotlb.lookup(request.rid, NO_PASID, false, request.page, translation)) {
    return WALK;
  }
  trail.faultDisable = translation.faultDisable;
  const code = remembered(translation, request, caps.nwfs, NO_WRITE, NO_READ);
  return code === 0 ? complete(request, translation, caps.nwfs, INTERRUPT_OUTPUT, result) : code;
}

function passHostAddress(context: JudgeContext, request: Request, result: TranslateResult): number {
  if (request.page >= power(context.hostWidth - 12)) {
    return BEYOND;
  }
  if (request.toInterruptRange) {
    return INTERRUPT_OUTPUT;
  }
  result.pass(request.page, true, true);
  return 0;
}

function translate(context: JudgeContext, entry: HeldContext, request: Request, result: TranslateResult): number {
  const { caches, caps, translation } = context;
  const fault =
    entry.translationType === TT_PASS_THROUGH ? passThrough(context, request) : walk(context, entry, request);
  translation.faultDisable = entry.faultDisable;
  translation.fault = fault;
  translation.domainId = entry.domainId;
  translation.translationType = 0;
  translation.pasid = NO_PASID;
  if (fault === 0) {
    if (translation.read || translation.write) {
      caches.iotlb.keep(request.rid, NO_PASID, false, request.page, translation);
    }
    return complete(request, translation, caps.nwfs, INTERRUPT_OUTPUT, result);
  }
  if (caps.cm && (fault === NO_WRITE || fault === NO_READ) && context.secondStage.empty) {
    translation.sizeLog2 = 12;
    caches.iotlb.keep(request.rid, NO_PASID, false, request.page, translation);
  }
  return fault;
}

/** An address passes unchanged, in pieces of the largest page size. */
function passThrough(context: JudgeContext, request: Request): number {
  const { translation } = context;
  translation.sizeLog2 = passThroughSize(context);
  translation.target = alignDown(request.page, translation.sizeLog2 - 12);
  translation.read = true;
  translation.write = true;
  translation.snoop = false;
  translation.dirty = true;
  return request.page >= power(context.hostWidth - 12) ? BEYOND : 0;
}

function walk(context: JudgeContext, entry: HeldContext, request: Request): number {
  const { secondStage, trail, translation } = context;
  if (request.page >= entry.endPage) {
    secondStage.empty = false;
    return BEYOND;
  }
  if (!secondStage.run(LEGACY_CODES, entry, request.page, request.need, false)) {
    trail.line = secondStage.line;
    return secondStage.fault;
  }
  translation.sizeLog2 = secondStage.sizeLog2;
  translation.target = secondStage.target;
  translation.read = secondStage.read;
  translation.write = secondStage.write;
  translation.snoop = secondStage.snoop;
  translation.dirty = true;
  return 0;
}
