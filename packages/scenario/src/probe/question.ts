import type { Stage } from "../stage.ts";

/** Who is asked: a device that keeps the rules, or one that ignores all its Enable bits. */
export type Manner = "honest" | "hostile";

/**
 * One thing that is asked of a stage. It may disturb what it measures (fill an ATC, write memory): it is asked in a
 * fresh replay and nowhere else.
 */
export interface Question<T> {
  /** Names the replay in evidence, such as `hostile.translated.forged` or `pasid1.honest.untranslated.read`. */
  readonly name: string;
  /** Asks it of a stage that is thrown away afterwards. */
  ask(stage: Stage): Answer<T>;
  /** Asked of a device that keeps the rules: where it sends nothing, the replay stays as fresh as it was. */
  readonly honest?: boolean;
  /** The answer where the device or the platform has nothing that could be asked; looks, and changes nothing. */
  absent?(stage: Stage): T | undefined;
}

/** What came of it, and the trace events that show it. */
export interface Answer<T> {
  /** The answer. */
  readonly value: T;
  /** Event ids of the replay, in order; none when nothing was sent. */
  readonly events: readonly number[];
}

/** From now on the device ignores every Enable bit and keeps what it was told to forget. */
export function makeHostile(stage: Stage): void {
  const { obeys } = stage.endpoint;
  obeys.enable = false;
  obeys.busMaster = false;
  obeys.pasidEnable = false;
  obeys.priEnable = false;
  obeys.untranslatedOnly = false;
  obeys.invalidations = false;
}
