import type { TranslateResult } from "@iommu-lab/pci";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { type Answers, isTranslationFault } from "./answers.ts";
import { PERMIT_EXECUTE, PERMIT_READ, PERMIT_WRITE, grantedByStage1, grantedByStage2 } from "./attributes.ts";
import type { ContextEntry } from "./context-entry.ts";
import type { Control } from "./control.ts";
import type { FaultSite } from "./fault-site.ts";
import type { Request } from "./request.ts";
import type { StallEnd, Stalls } from "./stalls.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { ABORTS, BYPASSES, type StreamJudge } from "./stream-judge.ts";
import { power } from "./table-geometry.ts";
import type { Translator } from "./translator.ts";

/** What judges Untranslated requests. */
export interface UntranslatedParts {
  readonly id: Identification;
  readonly control: Control;
  readonly judge: StreamJudge;
  readonly translator: Translator;
  readonly answers: Answers;
  readonly site: FaultSite;
  readonly stalls: Stalls;
}

/**
 * Untranslated requests (AT = 00), and those that software resumes after a stall.
 *
 * Source: SMMUv3 §3.4, §3.11, §3.12, §7.3.22.
 */
export class UntranslatedRequests {
  readonly #id: Identification;
  readonly #control: Control;
  readonly #judge: StreamJudge;
  readonly #translator: Translator;
  readonly #answers: Answers;
  readonly #site: FaultSite;
  readonly #stalls: Stalls;

  constructor(parts: UntranslatedParts) {
    this.#id = parts.id;
    this.#control = parts.control;
    this.#judge = parts.judge;
    this.#translator = parts.translator;
    this.#answers = parts.answers;
    this.#site = parts.site;
    this.#stalls = parts.stalls;
  }

  /** Judges one, in the order of priority. */
  judge(request: Request): TranslateResult {
    if (!this.#control.enabled) {
      return this.#whileOff(request);
    }
    const judge = this.#judge;
    const stream = judge.stream(request);
    if (stream === ABORTS) {
      return this.#answers.silent(request, "STE.Config=abort");
    }
    if (stream !== 0) {
      return this.#answers.abort(request, stream, stream !== EVENT.C_BAD_STREAMID || this.#control.recordsBadStreamId);
    }
    const entry = judge.streamEntry;
    const substream = judge.substream(request.pasid);
    if (substream === BYPASSES) {
      return entry.stage2 ? this.#stage2Alone(request, entry) : this.#bypass(request);
    }
    const event = substream === 0 ? judge.context(request) : substream;
    if (event === 0) {
      return this.#access(request, entry, judge.contextEntry);
    }
    return this.#site.stage2
      ? this.#fault(request, event, entry, undefined)
      : this.#answers.abort(request, event, true);
  }

  /** Goes on with a stalled request as software decided. A retry is judged anew. */
  resume(request: Request, end: StallEnd): TranslateResult {
    switch (end) {
      case "retry":
        return this.judge(request);
      case "abort":
        return this.#answers.silent(request, "terminated");
      default:
        this.#answers.silent(request, "terminated");
        this.#answers.result.ignored = true;
        return this.#answers.result;
    }
  }

  /** GBPA rules. */
  #whileOff(request: Request): TranslateResult {
    this.#site.address = 0;
    if (this.#control.abortsWhenOff) {
      return this.#answers.silent(request, "GBPA.ABORT");
    }
    return this.#beyondOutput(request.page)
      ? this.#answers.silent(request, "address beyond OAS")
      : this.#answers.result.pass(request.page, true, true);
  }

  #bypass(request: Request): TranslateResult {
    return this.#beyondOutput(request.page)
      ? this.#answers.abort(request, EVENT.F_ADDR_SIZE, true)
      : this.#answers.result.pass(request.page, true, true);
  }

  /** Stage 1 is off or bypassed: an address beyond the intermediate size is a fault of stage 1. */
  #stage2Alone(request: Request, stream: StreamEntry): TranslateResult {
    if (this.#beyondOutput(request.page)) {
      return this.#answers.abort(request, EVENT.F_ADDR_SIZE, true);
    }
    request.override(stream, this.#id);
    const event = this.#translator.findStage2(stream, request.page, request.write);
    return event === 0 ? this.#permit(request, stream, undefined) : this.#fault(request, event, stream, undefined);
  }

  #access(request: Request, stream: StreamEntry, context: ContextEntry): TranslateResult {
    request.override(stream, this.#id);
    const { page, privileged, write } = request;
    const event = this.#translator.find(stream, context, page, privileged, needOf(request), true, write);
    return event === 0 ? this.#permit(request, stream, context) : this.#fault(request, event, stream, context);
  }

  /** Permissions of stage 1, then of stage 2; then the access goes on. */
  #permit(request: Request, stream: StreamEntry, context: ContextEntry | undefined): TranslateResult {
    const translator = this.#translator;
    const need = needOf(request);
    if ((grantedByStage1(translator.attributes, request.privileged) & need) === 0) {
      return this.#fault(request, EVENT.F_PERMISSION, stream, context);
    }
    if ((grantedByStage2(translator.attributes, request.privileged) & need) === 0) {
      this.#site.inStage2(EVENT_CLASS.in, translator.middle * 4096, false);
      return this.#fault(request, EVENT.F_PERMISSION, stream, context);
    }
    const event = translator.use(stream, context, request.write);
    if (event !== 0) {
      return this.#fault(request, event, stream, context);
    }
    return this.#answers.result.pass(translator.target, true, true, translator.sizeLog2);
  }

  /**
   * The stage at fault decides: it stalls (CD.S, STE.S2S), is recorded (CD.R, STE.S2R), and aborts, or (CD.A = 0) reads
   * as zero and ignores writes. An external abort of the walk is always recorded.
   */
  #fault(request: Request, event: number, stream: StreamEntry, context: ContextEntry | undefined): TranslateResult {
    if (!isTranslationFault(event)) {
      return this.#answers.abort(request, event, true);
    }
    const second = this.#site.stage2;
    const stalls = second ? stream.s2Stalls : context?.stalls === true;
    if (stalls) {
      const tag = this.#stalls.hold(request, event, this.#site);
      if (tag >= 0) {
        return this.#answers.stall(event, tag);
      }
    }
    const records = second ? stream.s2Records : (context?.records ?? true);
    const aborts = second || (context?.aborts ?? true);
    return aborts ? this.#answers.abort(request, event, records) : this.#answers.ignore(request, event, records);
  }

  #beyondOutput(page: number): boolean {
    return page >= power(this.#id.oas - 12);
  }
}

function needOf(request: Request): number {
  return request.write ? PERMIT_WRITE : request.instruction ? PERMIT_EXECUTE : PERMIT_READ;
}
