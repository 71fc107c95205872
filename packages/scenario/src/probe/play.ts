import type { TraceEvent } from "@iommu-lab/core";
import { DeadlockError, KernelError, KernelOops, Recorder } from "@iommu-lab/core";
import type { Scenario, Step } from "../scenario.ts";
import { Stage, type Subject } from "../stage.ts";

/** How a step ended. */
export interface StepOutcome {
  /**
   * `measured`: it was done; `refused`: the kernel said no; `not-applicable`: there is no such step here; `unknown`: the
   * kernel never came back, as after an oops that left a lock held.
   */
  readonly status: "measured" | "refused" | "not-applicable" | "unknown";
  /** What the kernel returned; only when refused. */
  readonly errno?: string;
  /** Why; absent when it was done. */
  readonly note?: string;
}

/** Takes one step and says how it ended. A bug of the model goes through. */
export function take(stage: Stage, step: Step): StepOutcome {
  const { trace } = stage.platform;
  if (trace.active) {
    trace.emit("mark", { what: `step ${step.id}` });
  }
  try {
    const reason = step.notApplicable?.(stage);
    if (reason !== undefined) {
      return { status: "not-applicable", note: reason };
    }
    step.run(stage);
    return { status: "measured" };
  } catch (error) {
    if (error instanceof KernelError) {
      return { status: "refused", errno: error.errno, note: error.message };
    }
    if (error instanceof KernelOops) {
      return { status: "refused", errno: "oops", note: `${error.message} (derived, not executed)` };
    }
    if (error instanceof DeadlockError) {
      return { status: "unknown", note: error.message };
    }
    throw error;
  }
}

/** Plays a scenario up to and with the step at `last`, on a fresh platform. */
export function replay(scenario: Scenario, subject: Subject, last: number): Stage {
  const stage = new Stage(subject, scenario.cmdline);
  for (const step of scenario.steps.slice(0, last + 1)) {
    take(stage, step);
  }
  return stage;
}

/** A play with everything that happened. */
export interface Played {
  /** The whole trace. */
  readonly events: readonly TraceEvent[];
  /** How each step ended. */
  readonly outcomes: readonly StepOutcome[];
}

/** Plays a scenario once and records it; `between` looks at the stage after each step and must not change it. */
export function play(
  scenario: Scenario,
  subject: Subject,
  between?: (stage: Stage, index: number, outcome: StepOutcome) => void,
): Played {
  const stage = new Stage(subject, scenario.cmdline);
  const recorder = new Recorder(stage.platform.trace);
  const outcomes = scenario.steps.map((step, index) => {
    const outcome = take(stage, step);
    between?.(stage, index, outcome);
    return outcome;
  });
  recorder.stop();
  return { events: recorder.events, outcomes };
}
