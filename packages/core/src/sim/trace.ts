import { EventEmitter } from "eventemitter3";
import type { Clock } from "./clock.ts";
import type { TraceEvent, TraceEventName, TraceEvents } from "./events.ts";

/** The actor and the stack of causes that an event gets when it names none itself. */
export interface TraceContext {
  /** Name of the operation or engine. */
  readonly actor: string;
  /** Event ids, innermost last. */
  readonly causes: number[];
}

/**
 * The one ordered stream of what happens on a platform. Nothing is built when nobody listens: ask {@link Trace.active}
 * before building an event.
 *
 * @example
 * ```ts
 * const stop = platform.trace.subscribe((event) => seen.push(event));
 * platform.run(work());
 * stop();
 * ```
 */
export class Trace {
  readonly #clock: Clock;
  readonly #events = new EventEmitter<{ event: [TraceEvent] }>();
  #context: TraceContext = { actor: "platform", causes: [] };
  #next = 1;
  #listeners = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether anybody listens. */
  get active(): boolean {
    return this.#listeners > 0;
  }

  /** The id that the next event will get. */
  get nextId(): number {
    return this.#next;
  }

  /** Calls `listener` for every event from now on. @returns the undo function */
  subscribe(listener: (event: TraceEvent) => void): () => void {
    this.#events.on("event", listener);
    this.#listeners += 1;
    let subscribed = true;
    return () => {
      if (subscribed) {
        subscribed = false;
        this.#events.off("event", listener);
        this.#listeners -= 1;
      }
    };
  }

  /**
   * Adds an event. Actor and cause come from the running operation or engine unless given.
   *
   * @returns the event's id, or 0 when nobody listens
   */
  emit<K extends TraceEventName>(type: K, fields: TraceEvents[K], cause?: number): number {
    if (this.#listeners === 0) {
      return 0;
    }
    const id = this.#next;
    this.#next += 1;
    const event = {
      id,
      time: this.#clock.now,
      actor: this.#context.actor,
      cause: cause ?? this.#context.causes.at(-1) ?? 0,
      type,
      ...fields,
    };
    this.#events.emit("event", event as unknown as TraceEvent);
    return id;
  }

  /** What follows is caused by the event `id`, until {@link Trace.leave}. */
  enter(id: number): void {
    this.#context.causes.push(id);
  }

  /** Ends the innermost {@link Trace.enter}. */
  leave(): void {
    this.#context.causes.pop();
  }

  /** Called by the scheduler alone: whose events follow. @returns the context before */
  switchTo(context: TraceContext): TraceContext {
    const before = this.#context;
    this.#context = context;
    return before;
  }

  /** Runs `body` as another actor, such as a device that sends a request inside a step of the fabric. */
  as<T>(actor: string, cause: number, body: () => T): T {
    const before = this.switchTo({ actor, causes: [cause] });
    try {
      return body();
    } finally {
      this.switchTo(before);
    }
  }
}
