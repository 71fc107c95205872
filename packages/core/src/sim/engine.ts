/**
 * A part of the hardware that makes progress by itself: a queue consumer, an invalidation engine, a device. A doorbell
 * only marks work; the scheduler steps the engine. One step is one architectural event.
 */
export interface Engine {
  /** Printed as the actor of what a step does. */
  readonly name: string;
  /** Whether a step would do something now. */
  ready(): boolean;
  /** Does one architectural event. */
  step(): void;
  /** The virtual time, in ns, at which it becomes ready without outside help; `Infinity` when there is none. */
  deadline(): number;
}
