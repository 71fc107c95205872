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
import type { Answer, Question } from "./question.ts";
import { type Snapshot, snapshot } from "./snapshot.ts";

/**
 * What can be asked after a step, and what could be read without asking. A question is asked when its answer is first
 * read: a replay gives the same whenever it is made, and a table that shows two answers needs no more than two.
 */
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
  /** `question:event`; reading it asks all that is left. */
  readonly evidence: readonly string[];
}

const notAsked: HonestReach = {
  untranslated: { read: "not-sent", write: "not-sent" },
  translationRequest: { completion: "not-sent", read: false, write: false },
  cxlCache: "not-sent",
};
const notForged: TranslatedOutcome = { forged: "not-sent", stale: "not-sent" };

/**
 * Everything that can be asked after the step at `index`.
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
  const rid = new Requests(asker, NO_PASID);
  const live = Object.keys(state.pasids).map((key) => [key, new Requests(asker, Number(key))] as const);
  const atc = state.atc.map((entry) => {
    const own = [rid, ...live.map(([, requests]) => requests)].find(({ pasid }) => pasid === entry.pasid);
    return atcReport(entry, asker, own);
  });
  const msi = asker.question(interrupt);
  const withPasid = Object.fromEntries(live.map(([key, requests]) => [key, requests.reach]));
  return {
    outcome,
    state,
    reach: rid.reach,
    withPasid,
    atc,
    get msi() {
      return msi();
    },
    get evidence() {
      // Whatever was not asked yet is asked by reading it.
      JSON.stringify([rid.reach, withPasid, atc, msi()]);
      return asker.evidence;
    },
  };
}

function atcReport(entry: Snapshot["atc"][number], asker: Asker, own: Requests | undefined): AtcEntryReport {
  const { page, host, sizeLog2, pasid, read, write } = entry;
  const again = asker.question(stillTrue(page, host, pasid));
  return {
    page,
    host,
    sizeLog2,
    ...(pasid === NO_PASID ? {} : { pasid }),
    read,
    write,
    get current() {
      // The page that was asked for already is not asked again.
      const known = own?.translation();
      if (known?.page !== page) {
        return again();
      }
      const { outcome } = known;
      return outcome.completion === "success" && known.host === host && (outcome.read || outcome.write);
    },
  };
}

/** Asks questions in replays, each once, and remembers what showed the answers. */
class Asker {
  readonly #scenario: Scenario;
  readonly #subject: Subject;
  readonly #index: number;
  readonly #stage: Stage;
  readonly #asked: { readonly name: string; events: readonly number[] }[] = [];
  /** A replay in which a question led to nothing at all: it serves the next one. */
  #spare: Stage | undefined;

  constructor(scenario: Scenario, subject: Subject, index: number, stage: Stage) {
    this.#scenario = scenario;
    this.#subject = subject;
    this.#index = index;
    this.#stage = stage;
  }

  /** What was asked so far, in the order in which the questions were made. */
  get evidence(): string[] {
    return this.#asked.flatMap(({ name, events }) => events.map((id) => `${name}:${id}`));
  }

  /** The answer of a question, asked at the first call. */
  question<T>(question: Question<T>): () => T {
    const absent = question.absent?.(this.#stage);
    if (absent !== undefined) {
      return () => absent;
    }
    const place: { readonly name: string; events: readonly number[] } = { name: question.name, events: [] };
    this.#asked.push(place);
    let answer: Answer<T> | undefined;
    return () => {
      answer ??= this.#ask(question);
      place.events = answer.events;
      return answer.value;
    };
  }

  #ask<T>(question: Question<T>): Answer<T> {
    const twin = this.#spare ?? replay(this.#scenario, this.#subject, this.#index);
    const { trace } = twin.platform;
    // Events are numbered from the question on: that is the recording which the evidence names.
    const stop = trace.subscribe(ignore);
    const first = trace.nextId;
    const answer = question.ask(twin);
    stop();
    this.#spare = question.honest === true && trace.nextId === first ? twin : undefined;
    return answer;
  }
}

/**
 * The requests of a function with one PASID, or with none. The Enable bits decide what a device sends, not what becomes
 * of it: a request that the honest device sent is the hostile one's too, bit for bit, and is not asked again.
 */
class Requests {
  readonly pasid: number;
  readonly reach: ReachReport;
  /** The Translation Request, honest or else hostile. */
  readonly translation: () => TranslationAnswer;

  constructor(asker: Asker, pasid: number) {
    this.pasid = pasid;
    const read = asker.question(untranslatedRead("honest", pasid));
    const write = asker.question(untranslatedWrite("honest", pasid));
    const translation = asker.question(translationRequest("honest", pasid));
    const cxl = asker.question(cxlWrite("honest", pasid));
    const hostileRead = asker.question(untranslatedRead("hostile", pasid));
    const hostileWrite = asker.question(untranslatedWrite("hostile", pasid));
    const hostileTranslation = asker.question(translationRequest("hostile", pasid));
    const hostileCxl = asker.question(cxlWrite("hostile", pasid));
    const forged = asker.question(forgedWrite(pasid));
    const stale = asker.question(staleWrite(pasid));
    this.translation = () => (translation().outcome.completion === "not-sent" ? hostileTranslation() : translation());
    const honest: HonestReach = {
      untranslated: lazily({ read, write }),
      get translationRequest(): TranslationOutcome {
        return translation().outcome;
      },
      get cxlCache() {
        return cxl();
      },
    };
    const sent = this.translation;
    const hostile: HostileReach = {
      untranslated: lazily({
        read: () => (read() === "not-sent" ? hostileRead() : read()),
        write: () => (write() === "not-sent" ? hostileWrite() : write()),
      }),
      get translationRequest(): TranslationOutcome {
        return sent().outcome;
      },
      get cxlCache() {
        return hostileCxl();
      },
      translated: lazily({ forged, stale }),
    };
    this.reach = { honest, hostile };
  }
}

/** An object whose fields are computed when they are read. */
function lazily<T>(fields: { readonly [K in keyof T]: () => T[K] }): T {
  const object = {};
  for (const key of Object.keys(fields) as (keyof T & string)[]) {
    Object.defineProperty(object, key, { enumerable: true, get: fields[key] });
  }
  return object as T;
}

function ignore(): void {
  // Listening is all that is wanted.
}
