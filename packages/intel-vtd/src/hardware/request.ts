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
import type { IoTlbEntry } from "./io-tlb.ts";
import type { Need } from "./second-stage-walk.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { Walk, WalkContext } from "./walk.ts";

const INTERRUPT_FIRST = 0xfee00;
const INTERRUPT_LAST = 0xfeeff;

/** What the judges of a mode work with. */
export interface JudgeContext extends WalkContext {
  readonly caches: TranslationCaches;
  readonly trail: Trail;
  readonly walk: Walk;
  /** RTA as it was latched. */
  readonly rootTable: number;
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
  }

  /** The address is in FEE0_0000 … FEEF_FFFF. */
  get toInterruptRange(): boolean {
    return inInterruptRange(this.page);
  }

  /** What it needs of the tables. */
  get need(): Need {
    if (this.type === AT_TRANSLATION_REQUEST) {
      return "none";
    }
    return this.write ? "write" : "read";
  }
}

/** Whether a page is in FEE0_0000 … FEEF_FFFF. */
function inInterruptRange(page: number): boolean {
  return page >= INTERRUPT_FIRST && page <= INTERRUPT_LAST;
}

/** Whether an IOTLB entry serves the request; if not, the tables are walked again. */
export function serves(entry: IoTlbEntry, request: Request): boolean {
  if (entry.privileged !== request.privileged) {
    return false;
  }
  if (request.need === "none") {
    return !entry.write || entry.dirty;
  }
  return request.write ? entry.write && entry.dirty : entry.read;
}

/**
 * Completes an Untranslated request or a Translation Request from a translation.
 *
 * @param interruptFault code for an output address in the interrupt range
 * @returns the fault code; 0 = `result` holds the answer
 */
export function complete(
  request: Request,
  entry: IoTlbEntry,
  noWriteHonoured: boolean,
  interruptFault: number,
  result: TranslateResult,
): number {
  const target = entry.target + (request.page - entry.page);
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
