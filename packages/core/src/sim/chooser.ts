/** One thing that could happen next: an operation continues, or an engine makes a step. */
export interface Choice {
  /** An operation or an engine. */
  readonly kind: "task" | "engine";
  /** Number on this scheduler; operations and engines share the count. */
  readonly id: number;
  /** For printing. */
  readonly name: string;
}

/** Decides what happens next. Every choice of a platform goes through one chooser, so a schedule can be replayed. */
export interface Chooser {
  /** The index of the chosen element; `choices` has at least one, tasks first, then engines, each in id order. */
  choose(choices: readonly Choice[]): number;
}

/** Operations first, in the order they were given, then engines in id order: the schedule of a machine with one CPU. */
export const inOrder: Chooser = {
  choose: () => 0,
};

/**
 * Follows a list of indices, one for each point at which more than one thing could happen; after its end goes on with
 * index 0. An index beyond the number of choices counts from the start again, so any list of numbers is a schedule.
 */
export function schedule(indices: readonly number[]): Chooser {
  let at = 0;
  return {
    choose(choices) {
      if (choices.length === 1) {
        return 0;
      }
      const index = indices[at] ?? 0;
      at += 1;
      return Math.abs(Math.trunc(index)) % choices.length;
    },
  };
}
