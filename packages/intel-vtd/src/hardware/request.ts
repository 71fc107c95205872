import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import type { TranslateResult } from "@iommu-lab/pci";
import { PGTT_PASS_THROUGH } from "../layout/pasid-entry.ts";
import type { FirstStageWalk } from "./first-stage-walk.ts";
import type { Translation } from "./io-tlb.ts";
import { alignDown } from "./page-shift.ts";
import type { SecondStageWalk } from "./second-stage-walk.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { Need, WalkContext } from "./walk.ts";

const INTERRUPT_FIRST = 0xfee00;
const INTERRUPT_LAST = 0xfeeff;

/** What the judges of a mode work with. */
export interface JudgeContext extends WalkContext {
  readonly caches: TranslationCaches;
  readonly trail: Trail;
  readonly firstStage: FirstStageWalk;
  readonly secondStage: SecondStageWalk;
  /** The translation in hand: from the IOTLB, or just made. */
  readonly translation: Translation;
}

/** One memory request, taken apart. One object per unit, reused. */
export class Request {
  rid = 0;
  /** NO_PASID when it carries none. */
  pasid: number = NO_PASID;
  page = 0;
  /** AT. */
  type = 0;
  write = false;
  /** NW of a Translation Request. */
  noWrite = false;
  privileged = false;
  execute = false;
  /** The address is in FEE0_0000 … FEEF_FFFF. */
  toInterruptRange = false;
  /** What it needs of the tables. */
  need: Need = "read";

  /** Takes a request apart. */
  set(rid: number, pasid: number, page: number, flags: number): void {
    this.rid = rid;
    this.pasid = pasid;
    this.page = page;
    this.type = flags & AT_MASK;
    this.write = (flags & REQUEST_WRITE) !== 0;
    this.noWrite = (flags & REQUEST_NO_WRITE) !== 0;
    this.privileged = pasid !== NO_PASID && (flags & REQUEST_PRIVILEGED) !== 0;
    this.execute = pasid !== NO_PASID && (flags & REQUEST_EXECUTE) !== 0;
    this.toInterruptRange = inInterruptRange(page);
    this.need = this.type === AT_TRANSLATION_REQUEST ? "none" : this.write ? "write" : "read";
  }

  /** The access counts as a write, so a writable leaf becomes dirty. Without NWFS a Translation Request always does. */
  marksDirty(noWriteHonoured: boolean): boolean {
    return this.type === AT_TRANSLATION_REQUEST ? !(this.noWrite && noWriteHonoured) : this.write;
  }
}

/** Whether a page is in FEE0_0000 … FEEF_FFFF. */
function inInterruptRange(page: number): boolean {
  return page >= INTERRUPT_FIRST && page <= INTERRUPT_LAST;
}

/** How an IOTLB entry serves a request: not at all, which asks for a walk, or with this fault code (0 = it permits). */
export const WALK: number = -1;

/**
 * Judges a request by a remembered translation. Rights that the tables got since are not seen: that is what an
 * invalidation is for. A dirty bit that must be set first asks for a walk.
 *
 * Source: VT-d 5.10 §6.2.5.
 *
 * @param write code for a missing write permission
 * @param read code for a missing read permission
 * @returns the fault code, 0, or {@link WALK}
 */
export function remembered(
  entry: Translation,
  request: Request,
  noWriteHonoured: boolean,
  write: number,
  read: number,
): number {
  if (entry.fault !== 0) {
    return entry.fault;
  }
  if (request.need === "write" && !entry.write) {
    return write;
  }
  if (request.need === "read" && !entry.read) {
    return read;
  }
  return entry.write && !entry.dirty && request.marksDirty(noWriteHonoured) ? WALK : 0;
}

/**
 * Completes an Untranslated request or a Translation Request from a translation.
 *
 * @param interruptFault code for an output address in the interrupt range
 * @returns the fault code; 0 = `result` holds the answer
 */
export function complete(
  request: Request,
  entry: Translation,
  noWriteHonoured: boolean,
  interruptFault: number,
  result: TranslateResult,
): number {
  const target = entry.target + (request.page - alignDown(request.page, entry.sizeLog2 - 12));
  const translationRequest = request.type === AT_TRANSLATION_REQUEST;
  if (inInterruptRange(target) && !(translationRequest && entry.translationType === PGTT_PASS_THROUGH)) {
    return interruptFault;
  }
  result.pass(target, entry.read, entry.write, entry.sizeLog2);
  if (translationRequest) {
    result.noSnoop = entry.snoop;
    result.privileged = request.privileged;
    result.write = entry.write && !(request.noWrite && noWriteHonoured);
  }
  return 0;
}

/**
 * A Translation Request without PASID into the interrupt range: only Untranslated writes may go there.
 *
 * Source: VT-d 5.10 §3.14, conditions S.1 and S.2.
 */
export function completeInterruptRange(request: Request, result: TranslateResult): void {
  result.pass(request.page, false, !request.noWrite);
  result.untranslatedOnly = !request.noWrite;
}

/** The largest page a unit has, as log2: how large a pass-through translation is. */
export function passThroughSize({ caps }: WalkContext): number {
  if ((caps.sslps & 2) !== 0 || caps.fs1gp) {
    return 30;
  }
  return (caps.sslps & 1) !== 0 || caps.fsts ? 21 : 12;
}
