import type { Basis, TraceEvent } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import type { AccessOutcome, Cell, HonestReach, HostileReach } from "../cell.ts";
import type { Scenario } from "../scenario.ts";
import type { Subject } from "../stage.ts";
import {
  cxlWrite,
  forgedWrite,
  interrupt,
  staleWrite,
  stillTrue,
  translationRequest,
  untranslatedRead,
  untranslatedWrite,
} from "./access.ts";
import { invalidationsIn } from "./invalidations.ts";
import { type StepOutcome, play, replay } from "./play.ts";
import type { Manner, Question } from "./question.ts";
import { type Snapshot, snapshot } from "./snapshot.ts";

/** What is measured of one column. */
export interface Measured {
  /** One cell per step. */
  readonly cells: readonly Cell[];
  /** Whether Linux counts the device as ATS-required (`pci_ats_required()`). */
  readonly atsRequired: boolean;
  /** What decided about ATS, PASIDs and domains, in words; each once. */
  readonly notes: readonly string[];
  /** The undisturbed play. */
  readonly events: readonly TraceEvent[];
}

/** A run without evidence of its own keeps no event. */
const unasked: Cell["honest"] = {
  untranslated: { read: "not-sent", write: "not-sent" },
  translationRequest: { completion: "not-sent", read: false, write: false },
  cxlCache: "not-sent",
};

/**
 * Plays a scenario on a subject and measures after every step. The play itself is never touched: each question is asked
 * in a fresh replay of the steps so far.
 */
export function measure(scenario: Scenario, subject: Subject): Measured {
  const snapshots: Snapshot[] = [];
  const { events, outcomes } = play(scenario, subject, (stage) => {
    snapshots.push(snapshot(stage));
  });
  const slices = sliceBySteps(events);
  const cells = scenario.steps.map((_step, index) => {
    const state = snapshots[index];
    const outcome = outcomes[index];
    if (state === undefined || outcome === undefined) {
      throw new Error("a step was not played");
    }
    return measureStep(scenario, subject, index, state, outcome, slices[index] ?? []);
  });
  return { cells, atsRequired: snapshots.some((one) => one.atsRequired), notes: notesOf(events, snapshots), events };
}

function measureStep(
  scenario: Scenario,
  subject: Subject,
  index: number,
  state: Snapshot,
  outcome: StepOutcome,
  events: readonly TraceEvent[],
): Cell {
  const step = scenario.steps[index];
  if (step === undefined) {
    throw new Error("no such step");
  }
  const asker = new Asker(scenario, subject, index);
  const na = outcome.status === "not-applicable";
  const common = {
    step: step.id,
    column: subject.id,
    status: outcome.status,
    ...(outcome.errno === undefined ? {} : { errno: outcome.errno }),
    ...(outcome.note === undefined ? {} : { note: outcome.note }),
    ...(step.via === undefined ? {} : { via: step.via }),
    domain: state.domain,
    owner: state.owner,
    pasids: state.pasids,
  };
  const hostile = na ? { ...unasked, translated: notSent } : asker.hostile(NO_PASID);
  const honest = na ? unasked : asker.honest(NO_PASID);
  const withPasid: Record<string, { honest: HonestReach; hostile: HostileReach }> = {};
  for (const pasid of na ? [] : Object.keys(state.pasids)) {
    withPasid[pasid] = { honest: asker.honest(Number(pasid)), hostile: asker.hostile(Number(pasid)) };
  }
  return {
    ...common,
    ats: {
      enabled: state.ats.enabled,
      permitted: hostile.translationRequest.completion === "success",
      stu: state.ats.stu,
    },
    pri: state.pri,
    pasid: state.pasid,
    honest,
    hostile,
    withPasid,
    atc: na
      ? []
      : state.atc.map((entry) => ({
          page: entry.page,
          host: entry.host,
          sizeLog2: entry.sizeLog2,
          ...(entry.pasid === NO_PASID ? {} : { pasid: entry.pasid }),
          read: entry.read,
          write: entry.write,
          current: asker.ask(stillTrue(entry.page, entry.host, entry.pasid)),
        })),
    invalidations: invalidationsIn(events),
    msi: na ? "not-sent" : asker.ask(interrupt),
    belief: state.belief,
    basis: weakest(events),
    evidence: [...mainEvidence(events), ...asker.evidence],
  };
}

const notSent: { readonly forged: AccessOutcome; readonly stale: AccessOutcome } = {
  forged: "not-sent",
  stale: "not-sent",
};

class Asker {
  readonly evidence: string[] = [];
  readonly #scenario: Scenario;
  readonly #subject: Subject;
  readonly #index: number;

  constructor(scenario: Scenario, subject: Subject, index: number) {
    this.#scenario = scenario;
    this.#subject = subject;
    this.#index = index;
  }

  ask<T>(question: Question<T>): T {
    const stage = replay(this.#scenario, this.#subject, this.#index);
    // Events are numbered from the question on: that is the recording which the evidence names.
    const stop = stage.platform.trace.subscribe(ignore);
    const { value, events } = question.ask(stage);
    stop();
    for (const id of events) {
      this.evidence.push(`${question.name}:${id}`);
    }
    return value;
  }

  honest(pasid: number): HonestReach {
    return this.#reach("honest", pasid);
  }

  hostile(pasid: number): HostileReach {
    return {
      ...this.#reach("hostile", pasid),
      translated: { forged: this.ask(forgedWrite(pasid)), stale: this.ask(staleWrite(pasid)) },
    };
  }

  #reach(manner: Manner, pasid: number): HonestReach {
    return {
      untranslated: {
        read: this.ask(untranslatedRead(manner, pasid)),
        write: this.ask(untranslatedWrite(manner, pasid)),
      },
      translationRequest: this.ask(translationRequest(manner, pasid)),
      cxlCache: this.ask(cxlWrite(manner, pasid)),
    };
  }
}

function ignore(): void {
  // Listening is all that is wanted.
}

/** The events between the marks of the steps. */
function sliceBySteps(events: readonly TraceEvent[]): TraceEvent[][] {
  const slices: TraceEvent[][] = [];
  for (const event of events) {
    if (event.type === "mark" && event.what.startsWith("step ")) {
      slices.push([]);
    }
    slices.at(-1)?.push(event);
  }
  return slices;
}

const sureness: readonly Basis[] = ["recorded", "source", "specified", "derived", "unconfirmed"];

/** The least sure of the decisions in a step; a step without any rests on the core's recorded flows. */
function weakest(events: readonly TraceEvent[]): Basis {
  let index = 0;
  for (const event of events) {
    if (event.type === "decision") {
      index = Math.max(index, sureness.indexOf(event.basis));
    }
  }
  return sureness[index] ?? "unconfirmed";
}

/** The events of the undisturbed play that changed what the step shows. */
function mainEvidence(events: readonly TraceEvent[]): string[] {
  return events
    .filter(({ type }) => type === "capability:enable" || type === "domain:attach" || type === "pasid:set")
    .map(({ id }) => `main:${id}`);
}

function notesOf(events: readonly TraceEvent[], snapshots: readonly Snapshot[]): string[] {
  const device = snapshots.find(({ name }) => name !== "")?.name;
  const notes = new Set<string>();
  for (const event of events) {
    if (event.type === "decision" && event.device === device && event.reason !== "") {
      notes.add(`${event.rule}: ${event.reason} (${event.source})`);
    }
  }
  return [...notes];
}
