import type { Stage } from "./stage.ts";

/** One step of a scenario. */
export interface Step {
  /** Stable identifier, such as `pasid-first`. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
  /** `core` when the step uses the core's own attach because no user interface leads there. */
  readonly via?: "core";
  /** Why the step does not exist on this stage; undefined = it does. */
  notApplicable?(stage: Stage): string | undefined;
  /**
   * Does the step. A KernelError means that the kernel refused it; the scenario goes on from where that left things.
   */
  run(stage: Stage): void;
}

/** What happens to one device, step by step; deterministic. */
export interface Scenario {
  /** Stable identifier, such as `ats-lifecycle`. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
  /** The question it answers. */
  readonly question: string;
  /** Kernel command line that it needs. */
  readonly cmdline: string;
  /** In order. */
  readonly steps: readonly Step[];
}
