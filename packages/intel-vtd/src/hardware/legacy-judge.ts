import type { TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { inputWidth, tableLevels } from "../layout/capabilities.ts";
import type { ContextEntry } from "../layout/context-entry.ts";
import { TT_DEVICE_TLB, TT_PASS_THROUGH } from "../layout/context-entry.ts";
import { lookUpContext } from "./context-lookup.ts";
import type { JudgeContext, Request } from "./request.ts";
import { complete, completeInterruptRange, serves } from "./request.ts";
import { LEGACY_CODES, walkSecondStage } from "./second-stage-walk.ts";

/**
 * Judges a request in legacy mode.
 *
 * Source: VT-d 5.10 §3.4.2, §4.2.
 *
 * @returns the fault code; 0 = `result` holds the answer
 */
export function judgeLegacy(context: JudgeContext, request: Request, result: TranslateResult): number {
  if (request.pasid !== NO_PASID) {
    return 0x31;
  }
  const { trail, caches } = context;
  const entry = lookUpContext(context, caches, trail, context.rootTable, request.rid);
  if (entry === undefined) {
    return trail.fault;
  }
  if (request.type !== AT_UNTRANSLATED && entry.translationType !== TT_DEVICE_TLB) {
    return 0x0d;
  }
  const beyond = request.page >= 2 ** (context.hostWidth - 12);
  if (request.type === AT_TRANSLATED) {
    return passHostAddress(request, beyond, result);
  }
  if (request.type === AT_TRANSLATION_REQUEST && request.toInterruptRange) {
    completeInterruptRange(request, result);
    return 0;
  }
  if (entry.translationType === TT_PASS_THROUGH) {
    result.pass(request.page, true, true);
    return beyond ? 0x04 : 0;
  }
  return translate(context, entry, request, result);
}

function passHostAddress(request: Request, beyond: boolean, result: TranslateResult): number {
  if (beyond) {
    return 0x04;
  }
  if (request.toInterruptRange) {
    return 0x0e;
  }
  result.pass(request.page, true, true);
  return 0;
}

function translate(context: JudgeContext, entry: ContextEntry, request: Request, result: TranslateResult): number {
  const { caches, caps, trail, walk } = context;
  const cached = caches.iotlb.lookup(request.rid, NO_PASID, request.page);
  if (cached !== undefined && serves(cached, request)) {
    return complete(request, cached, caps.nwfs, 0x0e, result);
  }
  const width = Math.min(caps.mgaw, inputWidth(entry.addressWidth));
  if (request.page >= 2 ** (width - 12)) {
    return 0x04;
  }
  const levels = tableLevels(entry.addressWidth);
  if (!walkSecondStage(context, walk, LEGACY_CODES, entry.pageTable, levels, request.page, request.need)) {
    trail.line = walk.line;
    return walk.fault;
  }
  const first = request.page - (request.page % 2 ** (walk.sizeLog2 - 12));
  const made = {
    page: first,
    sizeLog2: walk.sizeLog2,
    target: walk.target,
    read: walk.read,
    write: walk.write,
    snoop: walk.snoop,
    dirty: true,
    privileged: false,
    domainId: entry.domainId,
    translationType: 0,
    pasid: NO_PASID,
  };
  if (made.read || made.write) {
    caches.iotlb.keep(request.rid, NO_PASID, made);
  }
  return complete(request, made, caps.nwfs, 0x0e, result);
}
