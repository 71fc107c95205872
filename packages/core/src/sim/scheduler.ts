import type { Choice, Chooser } from "./chooser.ts";
import { inOrder } from "./chooser.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";
import type { LockOwner } from "./lock.ts";
import type { Condition, Op, Suspend } from "./op.ts";
import { preempt } from "./op.ts";
import type { Trace, TraceContext } from "./trace.ts";

/** An operation and the name under which its events appear. */
export interface NamedOp<T> {
  /** The actor of its events. */
  readonly name: string;
  /** The operation. */
  readonly op: Op<T>;
}

/** An operation came to its end. */
export interface Returned<T> {
  /** Tells it from {@link Thrown}. */
  readonly ok: true;
  /** What it returned. */
  readonly value: T;
}

/** An operation threw. */
export interface Thrown {
  /** Tells it from {@link Returned}. */
  readonly ok: false;
  /** What it threw. */
  readonly error: unknown;
}

/** How an operation ended. */
export type Outcome<T> = Returned<T> | Thrown;

/** An operation that a scheduler has taken in and may have halted. */
export interface StartedOp<T> {
  /** The name of its events. */
  readonly name: string;
  /** How it ended; undefined while it has not. */
  readonly outcome: Outcome<T> | undefined;
}

/** No operation can go on, no engine has work, and no deadline is left. */
export class DeadlockError extends Error {
  /** One line per operation: what it waits for and who holds it. */
  readonly waits: readonly string[];

  constructor(waits: readonly string[]) {
    super(`nothing can go on: ${waits.join("; ")}`);
    this.name = "DeadlockError";
    this.waits = waits;
  }
}

class Task implements LockOwner, TraceContext, Choice {
  readonly kind = "task";
  readonly id: number;
  readonly name: string;
  readonly actor: string;
  readonly causes: number[] = [];
  readonly op: Op<unknown>;
  waiting: Suspend = preempt;
  /** Absolute virtual time at which a wait gives up or a sleep ends. */
  until = Infinity;
  outcome: Outcome<unknown> | undefined;

  constructor(id: number, name: string, op: Op<unknown>) {
    this.id = id;
    this.name = name;
    this.actor = name;
    this.op = op;
  }
}

class EngineSlot implements Choice, TraceContext {
  readonly kind = "engine";
  readonly id: number;
  readonly name: string;
  readonly actor: string;
  readonly causes: number[] = [];
  readonly engine: Engine;

  constructor(id: number, engine: Engine) {
    this.id = id;
    this.name = engine.name;
    this.actor = engine.name;
    this.engine = engine;
  }
}

/**
 * Runs operations and hardware engines in virtual time. With one operation and no schedule, it runs to completion and
 * the hardware works only while the operation waits; with several, a {@link Chooser} decides at every point.
 */
export class Scheduler {
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #engines: EngineSlot[] = [];
  #nextId = 1;
  #running = false;

  constructor(clock: Clock, trace: Trace) {
    this.#clock = clock;
    this.#trace = trace;
  }

  /** Adds an engine; engines are stepped in the order in which they were added. @returns its removal */
  addEngine(engine: Engine): () => void {
    const slot = new EngineSlot(this.#nextId, engine);
    this.#nextId += 1;
    this.#engines.push(slot);
    return () => {
      const index = this.#engines.indexOf(slot);
      if (index >= 0) {
        this.#engines.splice(index, 1);
      }
    };
  }

  /**
   * Runs one operation to its end, then lets the hardware finish what is ready now.
   *
   * @throws whatever the operation throws; DeadlockError when it waits for what can never come
   */
  run<T>(op: Op<T>, name: string = "kernel"): T {
    const outcome = this.runAll([{ name, op }], inOrder)[0];
    if (outcome === undefined) {
      throw new Error("the operation has no outcome");
    }
    if (!outcome.ok) {
      throw outcome.error;
    }
    return outcome.value;
  }

  /**
   * Runs several operations under a schedule.
   *
   * @returns their outcomes in the given order
   * @throws DeadlockError when none can go on
   */
  runAll<T>(ops: readonly NamedOp<T>[], chooser: Chooser = inOrder): Outcome<T>[] {
    const tasks = ops.map(({ name, op }) => this.#task(name, op));
    this.#loop(tasks, chooser, undefined);
    this.settle();
    return tasks.map((task) => task.outcome as Outcome<T>);
  }

  /**
   * Takes an operation in without running it; {@link Scheduler.advance} runs it as far as wanted. It keeps its locks
   * while it is halted.
   */
  start<T>(op: Op<T>, name: string = "kernel"): StartedOp<T> {
    return this.#task(name, op) as unknown as StartedOp<T>;
  }

  /**
   * Runs a started operation until it ends or `stop` holds; `stop` is looked at wherever the operation can lose the CPU.
   * The hardware then finishes what is ready.
   *
   * @returns true when the operation has ended
   * @throws whatever the operation throws; DeadlockError
   */
  advance<T>(started: StartedOp<T>, stop?: Condition): boolean {
    const task = started as unknown as Task;
    this.#loop([task], inOrder, stop);
    this.settle();
    const { outcome } = task;
    if (outcome !== undefined && !outcome.ok) {
      throw outcome.error;
    }
    return outcome !== undefined;
  }

  #task(name: string, op: Op<unknown>): Task {
    const task = new Task(this.#nextId, name, op);
    this.#nextId += 1;
    return task;
  }

  #loop(tasks: readonly Task[], chooser: Chooser, stop: Condition | undefined): void {
    if (this.#running) {
      throw new Error("an operation is already running: use yield* inside it");
    }
    this.#running = true;
    try {
      while (tasks.some(unfinished) && stop?.holds() !== true) {
        const next = this.#next(tasks, chooser);
        if (next !== undefined) {
          this.#perform(next);
        } else if (!this.#moveClock(tasks)) {
          throw new DeadlockError(tasks.filter(unfinished).map(describeWait));
        }
      }
    } finally {
      this.#running = false;
    }
  }

  /** Lets every engine that is ready work until none is. The clock does not move. */
  settle(): void {
    for (;;) {
      const slot = this.#engines.find(({ engine }) => engine.ready());
      if (slot === undefined) {
        return;
      }
      this.#perform(slot);
    }
  }

  /** What happens next; undefined when nothing can without time. A single operation that can go on does, unasked. */
  #next(tasks: readonly Task[], chooser: Chooser): Task | EngineSlot | undefined {
    const [only] = tasks;
    if (tasks.length === 1 && only !== undefined && this.#runnable(only)) {
      return only;
    }
    const choices: (Task | EngineSlot)[] = [];
    for (const task of tasks) {
      if (unfinished(task) && this.#runnable(task)) {
        choices.push(task);
      }
    }
    for (const slot of this.#engines) {
      if (slot.engine.ready()) {
        choices.push(slot);
      }
    }
    return choices.length === 0 ? undefined : (choices[chooser.choose(choices)] ?? choices[0]);
  }

  #runnable(task: Task): boolean {
    const waiting = task.waiting;
    if (waiting.kind === "preempt") {
      return true;
    }
    if (waiting.kind === "acquire") {
      return waiting.lock.free(waiting.mode);
    }
    return this.#clock.now >= task.until || (waiting.kind === "until" && waiting.condition.holds());
  }

  #perform(choice: Task | EngineSlot): void {
    const before = this.#trace.switchTo(choice);
    try {
      if (choice.kind === "engine") {
        choice.engine.step();
      } else {
        this.#resume(choice);
      }
    } finally {
      this.#trace.switchTo(before);
      if (choice.kind === "engine") {
        // A step that threw may have left causes behind; the next step has none of them.
        choice.causes.length = 0;
      }
    }
  }

  #resume(task: Task): void {
    if (task.waiting.kind === "acquire") {
      task.waiting.lock.grant(task, task.waiting.mode);
    }
    try {
      const next = task.op.next();
      if (next.done === true) {
        task.outcome = { ok: true, value: next.value };
        return;
      }
      task.waiting = next.value;
      if (next.value.kind === "until" || next.value.kind === "sleep") {
        const wait = next.value.kind === "sleep" ? next.value.ns : next.value.timeout;
        task.until = this.#clock.now + wait;
      }
    } catch (error) {
      task.outcome = { ok: false, error };
    }
  }

  /** Moves the clock to the next deadline. @returns false when there is none ahead */
  #moveClock(tasks: readonly Task[]): boolean {
    let next = Infinity;
    for (const task of tasks) {
      if (unfinished(task) && (task.waiting.kind === "until" || task.waiting.kind === "sleep")) {
        next = Math.min(next, task.until);
      }
    }
    for (const { engine } of this.#engines) {
      const deadline = engine.deadline();
      // An engine that is late and not ready needs help from outside; waiting for it would last for ever.
      if (deadline > this.#clock.now) {
        next = Math.min(next, deadline);
      }
    }
    if (next === Infinity) {
      return false;
    }
    this.#clock.advance(next);
    return true;
  }
}

function unfinished(task: Task): boolean {
  return task.outcome === undefined;
}

function describeWait(task: Task): string {
  const waiting = task.waiting;
  if (waiting.kind === "acquire") {
    const owners = waiting.lock.owners.map((owner) => owner.name).join(", ");
    return `${task.name} waits for ${waiting.lock.name}, held by ${owners}`;
  }
  return waiting.kind === "until" ? `${task.name} waits for ${waiting.condition.name}` : `${task.name} sleeps`;
}
