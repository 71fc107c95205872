import { NO_PASID } from "@iommu-lab/pci";
import type {
  AtcEntryReport,
  Cell,
  HonestReach,
  HostileReach,
  MsiOutcome,
  ReachReport,
  TranslatedOutcome,
  TranslationOutcome,
} from "../cell.ts";
import type { Scenario } from "../scenario.ts";
import type { Stage, Subject } from "../stage.ts";
import {
  type TranslationAnswer,
  cxlWrite,
  forgedWrite,
  interrupt,
  staleWrite,
  stillTrue,
  translationRequest,
  untranslatedRead,
  untranslatedWrite,
} from "./access.ts";
import { type StepOutcome, replay } from "./play.ts";
import type { Manner, Question } from "./question.ts";
import { type Snapshot, snapshot } from "./snapshot.ts";

/** What was asked after a step, and what could be read without asking. */
export interface Answers {
  /** How the step ended. */
  readonly outcome: StepOutcome;
  /** What could be read. */
  readonly state: Snapshot;
  /** Reach without PASID. */
  readonly reach: ReachReport;
  /** Reach with each live PASID. */
  readonly withPasid: Cell["withPasid"];
  /** The ATC, each entry held against what the IOMMU would answer now. */
  readonly atc: readonly AtcEntryReport[];
  /** The interrupt. */
  readonly msi: MsiOutcome;
  /** `question:event`. */
  readonly evidence: readonly string[];
}

const notAsked: HonestReach = {
  untranslated: { read: "not-sent", write: "not-sent" },
  translationRequest: { completion: "not-sent", read: false, write: false },
  cxlCache: "not-sent",
};
const notForged: TranslatedOutcome = { forged: "not-sent", stale: "not-sent" };

/**
 * Asks everything after the step at `index`.
 *
 * @param stage the undisturbed play at that point; it is looked at, never touched
 */
export function answersAt(
  scenario: Scenario,
  subject: Subject,
  index: number,
  stage: Stage,
  outcome: StepOutcome,
): Answers {
  const state = snapshot(stage);
  if (outcome.status === "not-applicable") {
    const reach = { honest: notAsked, hostile: { ...notAsked, translated: notForged } };
    return { outcome, state, reach, withPasid: {}, atc: [], msi: "not-applicable", evidence: [] };
  }
  const asker = new Asker(scenario, subject, index, stage);
  const reach = asker.reach(NO_PASID);
  const withPasid = Object.fromEntries(Object.keys(state.pasids).map((key) => [key, asker.reach(Number(key))]));
  const atc = state.atc.map(({ page, host, sizeLog2, pasid, read, write }) => ({
    page,
    host,
    sizeLog2,
    ...(pasid === NO_PASID ? {} : { pasid }),
    read,
    write,
    current: asker.current(page, host, pasid),
  }));
  return { outcome, state, reach, withPasid, atc, msi: asker.ask(interrupt), evidence: asker.evidence };
}

class Asker {
  readonly evidence: string[] = [];
  readonly #scenario: Scenario;
  readonly #subject: Subject;
  readonly #index: number;
  readonly #stage: Stage;
  /** A replay in which a question found nothing to send: it serves the next one. */
  #spare: Stage | undefined;
  /** The hostile device's Translation Requests so far, by PASID. */
  readonly #translations = new Map<number, TranslationAnswer>();

  constructor(scenario: Scenario, subject: Subject, index: number, stage: Stage) {
    this.#scenario = scenario;
    this.#subject = subject;
    this.#index = index;
    this.#stage = stage;
  }

  ask<T>(question: Question<T>): T {
    const absent = question.absent?.(this.#stage);
    if (absent !== undefined) {
      return absent;
    }
    const twin = this.#spare ?? replay(this.#scenario, this.#subject, this.#index);
    // Events are numbered from the question on: that is the recording which the evidence names.
    const stop = twin.platform.trace.subscribe(ignore);
    const { value, events } = question.ask(twin);
    stop();
    this.#spare = question.honest === true && events.length === 0 ? twin : undefined;
    for (const id of events) {
      this.evidence.push(`${question.name}:${id}`);
    }
    return value;
  }

  reach(pasid: number): ReachReport {
    const honest = this.#honest(pasid);
    return { honest, hostile: this.#hostile(pasid, honest) };
  }

  /** Whether the IOMMU would give an ATC entry's translation now; the page asked for already is not asked again. */
  current(page: number, host: number, pasid: number): boolean {
    const known = this.#translations.get(pasid);
    if (known?.page !== page) {
      return this.ask(stillTrue(page, host, pasid));
    }
    const { completion, read, write } = known.outcome;
    return completion === "success" && known.host === host && (read || write);
  }

  #translation(manner: Manner, pasid: number): TranslationOutcome {
    const answer = this.ask(translationRequest(manner, pasid));
    this.#translations.set(pasid, answer);
    return answer.outcome;
  }

  #honest(pasid: number): HonestReach {
    return {
      untranslated: {
        read: this.ask(untranslatedRead("honest", pasid)),
        write: this.ask(untranslatedWrite("honest", pasid)),
      },
      translationRequest: this.#translation("honest", pasid),
      cxlCache: this.ask(cxlWrite("honest", pasid)),
    };
  }

  /**
   * The Enable bits decide what a device sends, not what becomes of it: a request that the honest device sent is the
   * hostile one's too, bit for bit, and is not asked again.
   */
  #hostile(pasid: number, honest: HonestReach): HostileReach {
    const { untranslated, translationRequest: translation } = honest;
    return {
      untranslated: {
        read: untranslated.read === "not-sent" ? this.ask(untranslatedRead("hostile", pasid)) : untranslated.read,
        write: untranslated.write === "not-sent" ? this.ask(untranslatedWrite("hostile", pasid)) : untranslated.write,
      },
      translationRequest: translation.completion === "not-sent" ? this.#translation("hostile", pasid) : translation,
      cxlCache: this.ask(cxlWrite("hostile", pasid)),
      translated: { forged: this.ask(forgedWrite(pasid)), stale: this.ask(staleWrite(pasid)) },
    };
  }
}

function ignore(): void {
  // Listening is all that is wanted.
}
