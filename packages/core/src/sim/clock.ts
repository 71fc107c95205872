import type { Digest } from "./digest.ts";

/** The platform's virtual clock, in nanoseconds since power-on. Nothing in the model reads another clock. */
export class Clock {
  #now = 0;

  /** The virtual time in ns. */
  get now(): number {
    return this.#now;
  }

  /** Moves to `time`. Called by the scheduler alone; time never goes back. */
  advance(time: number): void {
    if (!(time >= this.#now) || time === Infinity) {
      throw new Error(`the clock cannot go from ${this.#now} to ${time}`);
    }
    this.#now = time;
  }

  /** Writes the time. */
  digest(into: Digest): void {
    into.number(this.#now);
  }
}
