import type { TraceEvent } from "./events.ts";
import type { Trace } from "./trace.ts";

/**
 * Keeps the last `capacity` events of a trace. Recording is opt-in: without a recorder or another listener no event is
 * built at all.
 */
export class Recorder {
  readonly #ring: (TraceEvent | undefined)[];
  #count = 0;
  readonly #stop: () => void;

  /** @param capacity how many events are kept; older ones fall out. Default 65536, at least 1 */
  constructor(trace: Trace, capacity: number = 65536) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`a recorder keeps at least one event, not ${capacity}`);
    }
    this.#ring = [];
    this.#stop = trace.subscribe((event) => {
      this.#ring[this.#count % capacity] = event;
      this.#count += 1;
    });
    this.#capacity = capacity;
  }

  readonly #capacity: number;

  /** How many events fell out. */
  get dropped(): number {
    return Math.max(0, this.#count - this.#capacity);
  }

  /** The kept events, oldest first. */
  get events(): readonly TraceEvent[] {
    const start = this.#count > this.#capacity ? this.#count % this.#capacity : 0;
    const kept = [...this.#ring.slice(start), ...this.#ring.slice(0, start)];
    return kept.filter((event) => event !== undefined);
  }

  /** Stops recording; what is kept stays readable. */
  stop(): void {
    this.#stop();
  }
}
