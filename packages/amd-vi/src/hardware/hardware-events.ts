import type { Digest, Digestible, Words } from "@iommu-lab/core";
import { EVENT } from "../layout/event.ts";

const VALID = 1;
const OVERFLOWED = 2;

const HARDWARE_ERRORS: ReadonlySet<number> = new Set([
  EVENT.DEV_TAB_HARDWARE_ERROR,
  EVENT.PAGE_TAB_HARDWARE_ERROR,
  EVENT.COMMAND_HARDWARE_ERROR,
  EVENT.RMP_HARDWARE_ERROR,
]);

/**
 * The Hardware Event registers: a copy of the first hardware error since software cleared V, so that it is known even when the
 * event log cannot be written.
 *
 * Source: AMD IOMMU specification §3.4.6-§3.4.8 (HESup).
 */
export class HardwareEvents implements Digestible {
  readonly #present: boolean;
  #upper: readonly [number, number] = [0, 0];
  #lower: readonly [number, number] = [0, 0];
  #status = 0;

  /** @param present HESup */
  constructor(present: boolean) {
    this.#present = present;
  }

  /** First quadword of the event, as halves. */
  get upper(): readonly [lo: number, hi: number] {
    return this.#upper;
  }

  /** Second quadword of the event, as halves. */
  get lower(): readonly [lo: number, hi: number] {
    return this.#lower;
  }

  /** V bit 0, O bit 1. */
  get status(): number {
    return this.#status;
  }

  /** Software writes the status: zeros clear. */
  writeStatus(value: number): void {
    this.#status &= value;
  }

  /** An event is due. */
  note(words: Words): void {
    if (!this.#present || !HARDWARE_ERRORS.has((words[1] ?? 0) >>> 28)) {
      return;
    }
    if ((this.#status & VALID) !== 0) {
      this.#status |= OVERFLOWED;
      return;
    }
    this.#upper = [words[0] ?? 0, words[1] ?? 0];
    this.#lower = [words[2] ?? 0, words[3] ?? 0];
    this.#status = VALID;
  }

  digest(into: Digest): void {
    for (const value of [...this.#upper, ...this.#lower, this.#status]) {
      into.number(value);
    }
  }
}
