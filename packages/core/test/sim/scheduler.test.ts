import type { Condition, Engine, Op } from "@iommu-lab/core";
import {
  Clock,
  DeadlockError,
  KernelError,
  KernelOops,
  Lock,
  Scheduler,
  Trace,
  preempt,
  schedule,
  sleep,
  waitUntil,
  withLock,
} from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

function simulator() {
  const clock = new Clock();
  const trace = new Trace(clock);
  return { clock, trace, scheduler: new Scheduler(clock, trace) };
}

/** Consumes one unit of work per step; more arrives at `at`. */
class Worker implements Engine {
  readonly name: string;
  work = 0;
  done = 0;
  readonly #clock: Clock;
  readonly #at: number;

  constructor(name: string, clock: Clock, at = Infinity) {
    this.name = name;
    this.#clock = clock;
    this.#at = at;
  }

  ready(): boolean {
    return this.work > 0 || (this.#clock.now >= this.#at && this.done === 0);
  }

  step(): void {
    this.work = Math.max(0, this.work - 1);
    this.done += 1;
  }

  deadline(): number {
    return this.done === 0 ? this.#at : Infinity;
  }
}

const never: Condition = { name: "what never comes", holds: () => false };

function* trail(log: string[], name: string, steps: number): Op<string> {
  for (let step = 1; step <= steps; step += 1) {
    log.push(`${name}${step}`);
    yield preempt;
  }
  return name;
}

describe("one operation", () => {
  it("runs to its end and returns its value", () => {
    const log: string[] = [];
    expect(simulator().scheduler.run(trail(log, "a", 3))).toBe("a");
    expect(log).toEqual(["a1", "a2", "a3"]);
  });

  it("lets engines work only while it waits, in the order they were added, and settles them at the end", () => {
    const { clock, scheduler } = simulator();
    const first = new Worker("first", clock);
    const second = new Worker("second", clock);
    scheduler.addEngine(first);
    scheduler.addEngine(second);
    function* op(): Op<number> {
      first.work = 2;
      second.work = 1;
      yield preempt;
      expect([first.done, second.done]).toEqual([0, 0]);
      yield* waitUntil({ name: "two steps", holds: () => first.done === 2 });
      return second.done;
    }
    expect(scheduler.run(op())).toBe(0);
    expect(second.done).toBe(1);
  });

  it("moves the clock to the next deadline only when nothing is ready", () => {
    const { clock, scheduler } = simulator();
    const late = new Worker("late", clock, 500);
    scheduler.addEngine(late);
    function* op(): Op<number> {
      expect(yield* waitUntil(never, 100)).toBe(false);
      expect(clock.now).toBe(100);
      yield* waitUntil({ name: "late", holds: () => late.done === 1 });
      const at = clock.now;
      yield* sleep(50);
      return clock.now - at;
    }
    expect(scheduler.run(op())).toBe(50);
    expect(clock.now).toBe(550);
  });

  it("reports what can never come", () => {
    const { scheduler } = simulator();
    function* op(): Op<void> {
      yield* waitUntil(never);
    }
    expect(() => scheduler.run(op(), "attach")).toThrow(new DeadlockError(["attach waits for what never comes"]));
  });

  it("does not wait for an engine that is late and not ready", () => {
    const { scheduler } = simulator();
    scheduler.addEngine({ name: "stuck", ready: () => false, step: () => undefined, deadline: () => 0 });
    function* op(): Op<void> {
      yield* waitUntil(never);
    }
    expect(() => scheduler.run(op(), "attach")).toThrow(DeadlockError);
  });

  it("is asked nothing while it alone can go on", () => {
    const { clock, scheduler } = simulator();
    const worker = new Worker("worker", clock);
    scheduler.addEngine(worker);
    const asked: string[][] = [];
    function* op(): Op<void> {
      yield preempt;
      worker.work = 1;
      yield preempt;
      yield* waitUntil({ name: "done", holds: () => worker.done === 1 });
    }
    const chooser = {
      choose(choices: readonly { readonly name: string }[]): number {
        asked.push(choices.map(({ name }) => name));
        return 0;
      },
    };
    scheduler.runAll([{ name: "a", op: op() }], chooser);
    expect(asked).toEqual([["worker"]]);
  });

  it("cannot be nested", () => {
    const { scheduler } = simulator();
    // eslint-disable-next-line require-yield
    function* outer(): Op<void> {
      scheduler.run(trail([], "inner", 1));
    }
    expect(() => scheduler.run(outer())).toThrow(/already running/);
  });
});

describe("several operations", () => {
  it("follow the given schedule", () => {
    const { scheduler } = simulator();
    const log: string[] = [];
    scheduler.runAll(
      [
        { name: "a", op: trail(log, "a", 2) },
        { name: "b", op: trail(log, "b", 2) },
      ],
      schedule([1, 0, 1, 0]),
    );
    expect(log).toEqual(["b1", "a1", "b2", "a2"]);
  });

  it("any list of numbers is a schedule, and the same list gives the same run", () => {
    const play = (indices: number[]): string[] => {
      const log: string[] = [];
      const { scheduler } = simulator();
      scheduler.runAll(
        ["a", "b", "c"].map((name) => ({ name, op: trail(log, name, 3) })),
        schedule(indices),
      );
      return log;
    };
    fc.assert(
      fc.property(fc.array(fc.integer()), (indices) => {
        const log = play(indices);
        expect(log.toSorted()).toEqual(["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"]);
        expect(play(indices)).toEqual(log);
      }),
    );
  });

  it("a lock is held across preemption; readers share it", () => {
    const { scheduler } = simulator();
    const lock = new Lock("mutex");
    const log: string[] = [];
    const section = (name: string, mode: "exclusive" | "shared") => ({
      name,
      op: withLock(lock, () => trail(log, name, 2), mode),
    });
    scheduler.runAll([section("a", "exclusive"), section("b", "exclusive")], schedule([0, 1, 0]));
    expect(log).toEqual(["a1", "a2", "b1", "b2"]);
    log.length = 0;
    scheduler.runAll([section("r", "shared"), section("s", "shared")], schedule([0, 1, 0, 1]));
    expect(log).toEqual(["r1", "s1", "r2", "s2"]);
    expect(lock.held).toBe(false);
  });

  it("a lock is given back only by who holds it", () => {
    const lock = new Lock("mutex");
    const owner = { id: 1, name: "a" };
    lock.grant(owner, "exclusive");
    expect(() => lock.release({ id: 2, name: "b" })).toThrow("mutex is released by b, who does not hold it");
    expect(lock.owners).toEqual([owner]);
  });

  it("names the cycle of a deadlock", () => {
    const { scheduler } = simulator();
    const first = new Lock("first");
    const second = new Lock("second");
    const both = (outer: Lock, inner: Lock): Op<string> =>
      withLock(outer, function* () {
        yield preempt;
        return yield* withLock(inner, () => trail([], "x", 1));
      });
    const attempt = (): unknown =>
      scheduler.runAll(
        [
          { name: "a", op: both(first, second) },
          { name: "b", op: both(second, first) },
        ],
        schedule([0, 1, 0, 1, 0, 1]),
      );
    expect(attempt).toThrow("a waits for second, held by b; b waits for first, held by a");
  });

  it("an error ends one operation and releases its lock; an oops keeps it", () => {
    const { scheduler } = simulator();
    const lock = new Lock("mutex");
    // eslint-disable-next-line require-yield
    function* failing(error: Error): Op<void> {
      throw error;
    }
    expect(() => scheduler.run(withLock(lock, () => failing(new KernelError("EIO", "x"))))).toThrow("EIO");
    expect(lock.held).toBe(false);
    const [outcome] = scheduler.runAll([{ name: "a", op: withLock(lock, () => failing(new KernelOops("NULL"))) }]);
    expect(outcome?.ok).toBe(false);
    expect(lock.owners.map(({ name }) => name)).toEqual(["a"]);
    expect(() =>
      scheduler.run(
        withLock(lock, () => trail([], "b", 1)),
        "b",
      ),
    ).toThrow("b waits for mutex, held by a");
  });
});

describe("a started operation", () => {
  it("halts where the condition holds and goes on later", () => {
    const { scheduler } = simulator();
    const log: string[] = [];
    const started = scheduler.start(trail(log, "a", 3));
    expect(log).toEqual([]);
    expect(scheduler.advance(started, { name: "two", holds: () => log.length === 2 })).toBe(false);
    expect(log).toEqual(["a1", "a2"]);
    expect(scheduler.advance(started)).toBe(true);
    expect(started.outcome).toEqual({ ok: true, value: "a" });
  });
});

describe("the trace", () => {
  it("a step that throws leaves no cause behind, and neither does another platform", () => {
    const { trace, scheduler } = simulator();
    const causes: number[] = [];
    trace.subscribe((event) => causes.push(event.cause));
    let steps = 2;
    scheduler.addEngine({
      name: "engine",
      ready: () => steps > 0,
      step() {
        steps -= 1;
        trace.enter(trace.emit("mark", { what: "step" }));
        throw new Error("broken");
      },
      deadline: () => Infinity,
    });
    expect(() => scheduler.settle()).toThrow("broken");
    expect(() => scheduler.settle()).toThrow("broken");
    expect(causes).toEqual([0, 0]);
    trace.enter(5);
    const other = simulator().trace;
    other.subscribe((event) => causes.push(event.cause));
    other.emit("mark", { what: "elsewhere" });
    expect(causes.at(-1)).toBe(0);
  });

  it("gives events the actor and the cause of the running operation", () => {
    const { trace, scheduler } = simulator();
    const seen: string[] = [];
    const stop = trace.subscribe((event) => seen.push(`${event.id} ${event.actor} <- ${event.cause}`));
    function* op(): Op<void> {
      const id = trace.emit("mark", { what: "outer" });
      trace.enter(id);
      yield preempt;
      trace.emit("mark", { what: "inner" });
      trace.leave();
      trace.emit("mark", { what: "after" });
    }
    scheduler.runAll(
      [
        { name: "a", op: op() },
        { name: "b", op: op() },
      ],
      schedule([0, 1, 0, 1]),
    );
    expect(seen).toEqual(["1 a <- 0", "2 b <- 0", "3 a <- 1", "4 a <- 0", "5 b <- 2", "6 b <- 0"]);
    stop();
    expect(trace.active).toBe(false);
    expect(trace.emit("mark", { what: "unheard" })).toBe(0);
  });
});
