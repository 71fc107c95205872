import type { TranslateResult } from "@iommu-lab/pci";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { EATS, STE_CONFIG } from "../layout/stream-table-entry.ts";
import { type Answers, isTranslationFault } from "./answers.ts";
import {
  ANY_CLEAN,
  PERMIT_EXECUTE,
  PERMIT_READ,
  PERMIT_WRITE,
  grantedByStage1,
  grantedByStage2,
  isCoherent,
} from "./attributes.ts";
import type { ContextEntry } from "./context-entry.ts";
import type { Control } from "./control.ts";
import type { FaultSite } from "./fault-site.ts";
import type { Request } from "./request.ts";
import { type StreamEntry, effectiveEats } from "./stream-entry.ts";
import { ABORTS, BYPASSES, type StreamJudge } from "./stream-judge.ts";
import { power } from "./table-geometry.ts";
import type { Translator } from "./translator.ts";

/** What judges ATS traffic. */
export interface AtsParts {
  readonly id: Identification;
  readonly control: Control;
  readonly judge: StreamJudge;
  readonly translator: Translator;
  readonly answers: Answers;
  readonly site: FaultSite;
}

const READ_WRITE = PERMIT_READ | PERMIT_WRITE;

/**
 * Translation Requests (AT = 01) and Translated requests (AT = 10). Neither ever stalls.
 *
 * Source: SMMUv3 §3.9, §13.6, §13.7.
 */
export class AtsRequests {
  readonly #id: Identification;
  readonly #control: Control;
  readonly #judge: StreamJudge;
  readonly #translator: Translator;
  readonly #answers: Answers;
  readonly #site: FaultSite;
  /** log2 of the smallest granule: the smallest translation unit. */
  readonly #unit: number;

  constructor(parts: AtsParts) {
    this.#id = parts.id;
    this.#control = parts.control;
    this.#judge = parts.judge;
    this.#translator = parts.translator;
    this.#answers = parts.answers;
    this.#site = parts.site;
    this.#unit = parts.id.granule4K ? 12 : parts.id.granule16K ? 14 : 16;
  }

  /** Source: SMMUv3 §3.9.1, §13.6, §13.7. */
  translationRequest(request: Request): TranslateResult {
    const { recordsBadStreamId, recordsAtsErrors, checksTranslated, enabled } = this.#control;
    if (!enabled) {
      this.#site.address = 0;
      return this.#answers.abort(request, EVENT.F_BAD_ATS_TREQ, true);
    }
    const judge = this.#judge;
    const stream = judge.stream(request);
    if (stream === ABORTS) {
      return this.#answers.silent(request, "STE.Config=abort");
    }
    if (stream !== 0) {
      const wanted = stream !== EVENT.C_BAD_STREAMID || recordsBadStreamId;
      return this.#answers.completerAbort(request, stream, wanted && recordsAtsErrors);
    }
    const entry = judge.streamEntry;
    const eats = effectiveEats(entry, this.#id, checksTranslated);
    if (eats === EATS.off) {
      return this.#answers.abort(request, EVENT.F_BAD_ATS_TREQ, true);
    }
    const substream = judge.substream(request.pasid);
    if (substream === BYPASSES) {
      return entry.stage2 ? this.#stage2Alone(request, entry, eats) : this.#identity(request);
    }
    const event = substream === 0 ? judge.context(request) : substream;
    if (event !== 0) {
      return this.#failed(request, event);
    }
    request.override(entry, this.#id);
    const { page, privileged, noWrite } = request;
    const found = this.#translator.find(entry, judge.contextEntry, page, privileged, READ_WRITE, false, !noWrite);
    return found === 0 ? this.#complete(request, entry, judge.contextEntry, eats) : this.#failed(request, found);
  }

  /** Full ATS that skips stage 1 where there is no other: an identity translation. Source: SMMUv3 §13.6.4. */
  #identity(request: Request): TranslateResult {
    return this.#beyondOutput(request.page)
      ? this.#nothing(request)
      : this.#answers.result.pass(request.page, true, true, this.#unit);
  }

  /** Stage 1 is off or skipped: the intermediate address is the one that came. Source: SMMUv3 §13.6.4, §13.6.5. */
  #stage2Alone(request: Request, entry: StreamEntry, eats: number): TranslateResult {
    if (this.#beyondOutput(request.page)) {
      return this.#nothing(request);
    }
    request.override(entry, this.#id);
    const event = this.#translator.findStage2(entry, request.page, !request.noWrite);
    return event === 0 ? this.#complete(request, entry, undefined, eats) : this.#failed(request, event);
  }

  /** Faults of the translation are a Success without permissions, all others CA. */
  #failed(request: Request, event: number): TranslateResult {
    return isTranslationFault(event)
      ? this.#nothing(request)
      : this.#answers.completerAbort(request, event, this.#control.recordsAtsErrors);
  }

  #nothing(request: Request): TranslateResult {
    const result = this.#answers.result.reset();
    result.sizeLog2 = this.#unit;
    result.privileged = request.privRequested;
    return result;
  }

  /** A Success, with what both stages grant. Source: SMMUv3 §13.7.1. */
  #complete(request: Request, entry: StreamEntry, context: ContextEntry | undefined, eats: number): TranslateResult {
    const translator = this.#translator;
    const { privileged, noWrite } = request;
    const { attributes } = translator;
    const granted = grantedByStage1(attributes, privileged) & grantedByStage2(attributes, privileged);
    if ((granted & READ_WRITE) === 0) {
      return this.#nothing(request);
    }
    const writable = (granted & PERMIT_WRITE) !== 0;
    const event = translator.use(entry, context, !noWrite && writable);
    if (event !== 0) {
      return this.#failed(request, event);
    }
    const split = eats === EATS.split;
    const result = this.#answers.result.pass(
      split ? translator.middle : translator.target,
      (granted & PERMIT_READ) !== 0,
      writable && (translator.attributes & ANY_CLEAN) === 0,
      translator.sizeLog2,
    );
    result.execute = request.execRequested && (granted & PERMIT_EXECUTE) !== 0 && result.read;
    result.cxlIo = request.sourceCxl && (split || !isCoherent(translator.attributes));
    result.privileged = request.privRequested;
    return result;
  }

  /** Source: SMMUv3 §3.9.1.3. */
  translated(request: Request): TranslateResult {
    const { enabled, checksTranslated, recordsAtsErrors } = this.#control;
    if (!enabled) {
      this.#site.address = 0;
      return this.#answers.abort(request, EVENT.F_TRANSL_FORBIDDEN, true);
    }
    if (!checksTranslated) {
      return this.#asPhysical(request);
    }
    const stream = this.#judge.stream(request);
    if (stream === ABORTS) {
      return this.#answers.silent(request, "STE.Config=abort");
    }
    const event = stream === 0 ? this.#forbids(request) : stream;
    if (event !== 0) {
      return this.#answers.abort(request, event, event === EVENT.F_TRANSL_FORBIDDEN || recordsAtsErrors);
    }
    const entry = this.#judge.streamEntry;
    return entry.eats === EATS.split ? this.#asIntermediate(request, entry) : this.#asPhysical(request);
  }

  /** Beyond the output size an implementation may abort or truncate; this one aborts. */
  #asPhysical(request: Request): TranslateResult {
    return this.#beyondOutput(request.page)
      ? this.#answers.silent(request, "address beyond OAS")
      : this.#answers.result.pass(request.page, true, true);
  }

  /** Split-stage ATS: stage 2 translates. Source: SMMUv3 §13.6.5. */
  #asIntermediate(request: Request, entry: StreamEntry): TranslateResult {
    if (this.#beyondOutput(request.page)) {
      return this.#answers.abort(request, EVENT.F_ADDR_SIZE, true);
    }
    const translator = this.#translator;
    const event = translator.findStage2(entry, request.page, request.write);
    if (event !== 0) {
      return this.#answers.abort(request, event, entry.s2Records || !isTranslationFault(event));
    }
    const need = request.write ? PERMIT_WRITE : PERMIT_READ;
    if ((grantedByStage2(translator.attributes, false) & need) === 0) {
      this.#site.inStage2(EVENT_CLASS.in, request.page * 4096, false);
      return this.#answers.abort(request, EVENT.F_PERMISSION, entry.s2Records);
    }
    translator.use(entry, undefined, request.write);
    return this.#answers.result.pass(translator.target, true, true, translator.sizeLog2);
  }

  /** What a valid stream says against a Translated request. The PASID counts with PASIDTT alone. @returns 0 or an event */
  #forbids(request: Request): number {
    const entry = this.#judge.streamEntry;
    if (entry.config === STE_CONFIG.bypass || effectiveEats(entry, this.#id, true) === EATS.off) {
      return EVENT.F_TRANSL_FORBIDDEN;
    }
    if (!this.#id.pasidOnTranslated) {
      return 0;
    }
    const event = this.#judge.substream(request.pasid);
    return event === BYPASSES ? 0 : event;
  }

  #beyondOutput(page: number): boolean {
    return page >= power(this.#id.oas - 12);
  }
}
