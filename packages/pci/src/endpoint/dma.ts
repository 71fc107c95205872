import { DmaResult, type TranslationResult } from "../fabric/outcome.ts";
import {
  AT_TRANSLATED,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "../fabric/request.ts";
import type { Atc, AtcHit } from "./atc.ts";
import type { Choices } from "./choices.ts";
import type { Gate } from "./gate.ts";
import type { Obeys } from "./obeys.ts";
import type { PageRequestOptions } from "./page-requests.ts";
import type { Sender } from "./sender.ts";
import type { Translator } from "./translator.ts";

/** How an access reaches memory, as an honest function decides it. One object per function, reused. */
export interface AccessPlan {
  /** AT=10 or AT=00. */
  translated: boolean;
  /** Page number that goes into the request. */
  page: number;
  /** PASID that goes into it: a Translated request has none. */
  pasid: number;
}

/** Asks for a page by PRI. */
export type AskForPage = (page: number, pasid: number, options: PageRequestOptions) => void;

/** Memory accesses as an honest function does them: by ATC where it can, else by asking, else Untranslated. */
export class Dma {
  readonly #sender: Sender;
  readonly #translator: Translator;
  readonly #atc: Atc;
  readonly #gate: Gate;
  readonly #obeys: Obeys;
  readonly #choices: Choices;
  readonly #askForPage: AskForPage;
  readonly #result = new DmaResult();
  readonly #plan: AccessPlan = { translated: false, page: 0, pasid: NO_PASID };

  constructor(
    sender: Sender,
    translator: Translator,
    atc: Atc,
    gate: Gate,
    rules: { readonly obeys: Obeys; readonly choices: Choices },
    askForPage: AskForPage,
  ) {
    this.#sender = sender;
    this.#translator = translator;
    this.#atc = atc;
    this.#gate = gate;
    this.#obeys = rules.obeys;
    this.#choices = rules.choices;
    this.#askForPage = askForPage;
  }

  /** Sends one request as it is. @returns a reused object */
  send(page: number, offset: number, flags: number, value: number, pasid: number): DmaResult {
    return this.#sender.memory(page, offset, flags, value, pasid, this.#result);
  }

  /**
   * Reads or writes 4 bytes. A translation without the permission is followed by an Untranslated request or by a Page
   * Request: the rules leave that to the function.
   *
   * @param flags `REQUEST_WRITE`, `REQUEST_EXECUTE`, `REQUEST_PRIVILEGED`
   * @returns a reused object
   */
  access(page: number, offset: number, flags: number, value: number, pasid: number): DmaResult {
    const plan = this.plan(page, flags, pasid);
    if (plan === undefined) {
      return this.#result;
    }
    const type = plan.translated ? AT_TRANSLATED : AT_UNTRANSLATED;
    const kept = plan.translated ? flags & REQUEST_WRITE : flags;
    return this.#sender.memory(plan.page, offset, type | kept, value, plan.pasid, this.#result);
  }

  /**
   * Decides how to reach a page, with a Translation Request where that is needed.
   *
   * @returns a reused object; undefined when the access ends here: the result of {@link Dma.access} says why
   */
  plan(page: number, flags: number, pasid: number): AccessPlan | undefined {
    if (this.#gate.ats() !== "") {
      return this.#planned(false, page, pasid);
    }
    const privileged = pasid !== NO_PASID && (flags & REQUEST_PRIVILEGED) !== 0;
    let hit = this.#atc.lookup(page, pasid, privileged);
    if (hit === undefined || !permits(hit, flags)) {
      if (!this.#obtains(page, flags, pasid)) {
        return undefined;
      }
      hit = this.#atc.lookup(page, pasid, privileged);
    }
    if (hit === undefined || !permits(hit, flags) || (hit.untranslatedOnly && this.#obeys.untranslatedOnly)) {
      return this.#planned(false, page, pasid);
    }
    return this.#planned(true, hit.host, NO_PASID);
  }

  /** Asks for a translation. @returns whether the access goes on, with the translation or without */
  #obtains(page: number, flags: number, pasid: number): boolean {
    const isWrite = (flags & REQUEST_WRITE) !== 0;
    const asked = isWrite ? flags & ~REQUEST_WRITE : flags | REQUEST_NO_WRITE;
    const answer = this.#translator.request(page, pasid, asked);
    if (!answer.sent) {
      this.#result.withhold(answer.reason);
      return false;
    }
    if (answer.status === "UR") {
      return true;
    }
    if (answer.status !== "success") {
      this.#failed(answer);
      return false;
    }
    return (isWrite ? answer.write : answer.read) || !this.#asks(page, flags, pasid);
  }

  #planned(translated: boolean, page: number, pasid: number): AccessPlan {
    const plan = this.#plan;
    plan.translated = translated;
    plan.page = page;
    plan.pasid = pasid;
    return plan;
  }

  /** Whether it asks for the page by PRI instead of trying without a translation. */
  #asks(page: number, flags: number, pasid: number): boolean {
    if (this.#choices.onDenied !== "page-request") {
      return false;
    }
    const write = (flags & REQUEST_WRITE) !== 0;
    this.#askForPage(page, pasid, {
      read: !write,
      write,
      last: true,
      groupIndex: 0,
      execute: (flags & REQUEST_EXECUTE) !== 0,
      privileged: (flags & REQUEST_PRIVILEGED) !== 0,
    });
    this.#result.withhold("the page is asked for");
    return true;
  }

  #failed(answer: TranslationResult): void {
    const result = this.#result.reset();
    result.status = answer.status;
    result.fault = answer.fault;
    result.recorded = answer.recorded;
    result.event = answer.event;
  }
}

function permits(hit: AtcHit, flags: number): boolean {
  if ((flags & REQUEST_WRITE) !== 0) {
    return hit.write;
  }
  return hit.read && ((flags & REQUEST_EXECUTE) === 0 || hit.execute);
}
