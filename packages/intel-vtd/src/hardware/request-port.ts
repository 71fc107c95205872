import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, TranslateResult } from "@iommu-lab/pci";
import type { FaultAnswer, FaultReason } from "../layout/fault-reason.ts";
import { faultReason } from "../layout/fault-reason.ts";
import { TTM_ABORT, TTM_LEGACY, TTM_SCALABLE } from "../layout/registers.ts";
import type { FaultReporterParts } from "./fault-reporter.ts";
import { FaultReporter, faultName } from "./fault-reporter.ts";
import { FirstStageWalk } from "./first-stage-walk.ts";
import type { GlobalCommand } from "./global-command.ts";
import { Translation } from "./io-tlb.ts";
import { judgeLegacy } from "./legacy-judge.ts";
import type { ProtectedMemory } from "./protected-memory.ts";
import type { JudgeContext } from "./request.ts";
import { Request } from "./request.ts";
import { judgeScalable } from "./scalable-judge.ts";
import { SecondStageWalk } from "./second-stage-walk.ts";
import { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";

/** The parts of a unit that judge requests. */
export interface PortParts extends FaultReporterParts {
  readonly caches: TranslationCaches;
  readonly command: GlobalCommand;
  readonly protectedMemory: ProtectedMemory;
  /** Major version of the architecture. */
  readonly majorVersion: number;
}

/** From this version on the whole unit refuses execute requests; before, the PASID entry does. */
const NO_EXECUTE_VERSION = 8;
/** From this version on protected regions count whether translation is on or not. */
const ALWAYS_PROTECTED_VERSION = 2;

/**
 * Takes memory requests and answers them.
 *
 * Source: VT-d 5.10 §3.4, §3.14, §4.2, §7.1.
 */
export class RequestPort {
  readonly #parts: PortParts;
  readonly #reporter: FaultReporter;
  readonly #request = new Request();
  readonly #result = new TranslateResult();
  readonly #trail = new Trail();
  readonly #context: JudgeContext;

  constructor(parts: PortParts) {
    const { context, caches } = parts;
    const secondStage = new SecondStageWalk(context, caches.paging);
    this.#parts = parts;
    this.#reporter = new FaultReporter(parts);
    this.#context = {
      memory: context.memory,
      caps: context.caps,
      hostWidth: context.hostWidth,
      root: context.root,
      caches,
      trail: this.#trail,
      translation: new Translation(),
      secondStage,
      firstStage: new FirstStageWalk(context, caches.paging, secondStage),
    };
  }

  /** Judges one request; see the port's contract in `pci`. */
  translate(rid: number, pasid: number, page: number, _offset: number, flags: number): TranslateResult {
    const request = this.#request;
    const result = this.#result;
    request.set(rid, pasid, page, flags);
    if (request.type === 3 || (request.type === AT_TRANSLATION_REQUEST && request.write)) {
      return result.refuse("UR", "malformed request", false);
    }
    if (!this.#parts.command.translating) {
      return request.type === AT_UNTRANSLATED
        ? this.#guarded(result.pass(page, true, true))
        : result.refuse("UR", "translation is off", false);
    }
    this.#trail.start();
    const code = this.#judge();
    if (code !== 0) {
      return this.#fault(faultReason(code));
    }
    return this.#parts.majorVersion >= ALWAYS_PROTECTED_VERSION ? this.#guarded(result) : result;
  }

  #judge(): number {
    const { context, majorVersion } = this.#parts;
    const request = this.#request;
    const { mode, requestRights } = context.root;
    if (mode === TTM_ABORT) {
      return context.caps.adms ? 0x33 : 0x30;
    }
    if (mode === TTM_LEGACY ? requestRights : !(mode === TTM_SCALABLE && context.caps.smts)) {
      return 0x30;
    }
    if (request.execute && majorVersion >= NO_EXECUTE_VERSION) {
      return 0x34;
    }
    if (request.type === AT_UNTRANSLATED && request.pasid === NO_PASID && request.toInterruptRange) {
      this.#result.pass(request.page, false, true);
      return request.write ? 0 : 0x29;
    }
    return mode === TTM_LEGACY
      ? judgeLegacy(this.#context, request, this.#result)
      : judgeScalable(this.#context, request, this.#result);
  }

  /** Protected memory is not reached, and nothing is recorded. */
  #guarded(result: TranslateResult): TranslateResult {
    const { protectedMemory } = this.#parts;
    const access = this.#request.type !== AT_TRANSLATION_REQUEST;
    if (protectedMemory.on && access && protectedMemory.covers(result.page)) {
      return result.refuse("UR", "protected memory region", false);
    }
    return result;
  }

  #fault(reason: FaultReason): TranslateResult {
    const request = this.#request;
    const answer = answerTo(reason, request.type);
    if (answer === "S0") {
      return this.#result.reset();
    }
    const access = request.write ? "write" : "read";
    const recorded = this.#reporter.report(reason, request, access, this.#trail);
    return this.#result.refuse(answer, faultName(reason), recorded);
  }
}

function answerTo(reason: FaultReason, type: number): FaultAnswer {
  if (type === AT_TRANSLATED) {
    return reason.translated;
  }
  return type === AT_UNTRANSLATED ? reason.untranslated : reason.translationRequest;
}
