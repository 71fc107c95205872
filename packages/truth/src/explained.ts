import { JsonField } from "./json-field.ts";
import type { Difference } from "./compare.ts";

/** A difference that is understood, and why it is there. */
export interface Explanation {
  /** The recording's case. */
  readonly recording: string;
  /** The phase's name; `*` at its end stands for any rest. */
  readonly phase: string;
  /** The device's role. */
  readonly role: string;
  /** As in {@link Difference.aspect}. */
  readonly aspect: string;
  /** What the kernel did and what the model does; a difference with other values is not explained. */
  readonly recorded: string;
  readonly model: string;
  /** Why, for a reader; names a source. */
  readonly cause: string;
}

/** Where a difference was found. */
export interface DifferencePlace {
  readonly recording: string;
  readonly phase: string;
  readonly role: string;
}

/**
 * The list of understood differences.
 *
 * @throws InputError naming entry and field
 */
export function parseExplanations(text: string, file: string): readonly Explanation[] {
  return JsonField.parse(text, file)
    .at("differences")
    .items()
    .map((entry) => ({
      recording: entry.at("recording").text(),
      phase: entry.at("phase").text(),
      role: entry.at("role").text(),
      aspect: entry.at("aspect").text(),
      recorded: entry.at("recorded").text(),
      model: entry.at("model").text(),
      cause: entry.at("cause").text(),
    }));
}

/** The explanation of a difference; undefined when nothing on the list fits it exactly. */
export function explanationOf(
  list: readonly Explanation[],
  place: DifferencePlace,
  difference: Difference,
): Explanation | undefined {
  return list.find(
    (one) =>
      one.recording === place.recording &&
      one.role === place.role &&
      one.aspect === difference.aspect &&
      one.recorded === difference.recorded &&
      one.model === difference.model &&
      (one.phase.endsWith("*") ? place.phase.startsWith(one.phase.slice(0, -1)) : one.phase === place.phase),
  );
}
