import type { Basis, TraceEvent } from "@iommu-lab/core";
import type { Cell } from "../cell.ts";
import type { Scenario, Step } from "../scenario.ts";
import type { Subject } from "../stage.ts";
import { type Answers, answersAt } from "./answers.ts";
import { invalidationsIn } from "./invalidations.ts";
import { play } from "./play.ts";

/** What is measured of one column. */
export interface Measured {
  /** One cell per step. */
  readonly cells: readonly Cell[];
  /** Whether Linux counts the device as ATS-required (`pci_ats_required()`). */
  readonly atsRequired: boolean;
  /** What decided about ATS, PASIDs and domains of the function under test, in words; each once. */
  readonly notes: readonly string[];
  /** The undisturbed play. */
  readonly events: readonly TraceEvent[];
}

/**
 * Plays a scenario on a subject and measures after every step. The play itself is never touched: each question is asked
 * in a fresh replay of the steps so far, when its answer is first read. `JSON.stringify` reads all.
 */
export function measure(scenario: Scenario, subject: Subject): Measured {
  const answers: Answers[] = [];
  const { events } = play(scenario, subject, (stage, index, outcome) => {
    answers.push(answersAt(scenario, subject, index, stage, outcome));
  });
  const slices = sliceBySteps(events);
  const cells = scenario.steps.flatMap((step, index) => {
    const given = answers[index];
    return given === undefined ? [] : [cellOf(step, subject.id, given, slices[index] ?? [])];
  });
  return {
    cells,
    atsRequired: answers.some(({ state }) => state.atsRequired),
    notes: notesOf(events, answers),
    events,
  };
}

function cellOf(step: Step, column: string, given: Answers, events: readonly TraceEvent[]): Cell {
  const { outcome, state, reach } = given;
  return {
    step: step.id,
    column,
    status: outcome.status,
    ...(outcome.errno === undefined ? {} : { errno: outcome.errno }),
    ...(outcome.note === undefined ? {} : { note: outcome.note }),
    ...(step.via === undefined ? {} : { via: step.via }),
    domain: state.domain,
    owner: state.owner,
    pasids: state.pasids,
    ats: {
      enabled: state.ats.enabled,
      get permitted() {
        const { translated, translationRequest } = reach.hostile;
        return translated.forged === "ok" || translationRequest.completion === "success";
      },
      stu: state.ats.stu,
    },
    pri: state.pri,
    pasid: state.pasid,
    honest: reach.honest,
    hostile: reach.hostile,
    withPasid: given.withPasid,
    atc: given.atc,
    invalidations: invalidationsIn(events),
    get msi() {
      return given.msi;
    },
    belief: state.belief,
    basis: weakest(events),
    get evidence() {
      return [...mainEvidence(events), ...given.evidence];
    },
  };
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

function notesOf(events: readonly TraceEvent[], answers: readonly Answers[]): string[] {
  const device = answers.find(({ state }) => state.name !== "")?.state.name;
  const notes = new Set<string>();
  for (const event of events) {
    if (event.type === "decision" && event.device === device && event.reason !== "") {
      notes.add(`${event.rule}: ${event.reason} (${event.source})`);
    }
  }
  return [...notes];
}
