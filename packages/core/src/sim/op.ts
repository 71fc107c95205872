import type { Lock, LockMode } from "./lock.ts";

/** The operation may lose the CPU here: another operation, the hardware or a device may act. */
export interface Preempt {
  /** Tells it from the other ways to give up the CPU. */
  readonly kind: "preempt";
}

/** The operation waits for a lock. */
export interface Acquire {
  /** Tells it from the other ways to give up the CPU. */
  readonly kind: "acquire";
  /** The lock. */
  readonly lock: Lock;
  /** How it is wanted. */
  readonly mode: LockMode;
}

/** Something an operation can wait for. An object and not a closure, so that its state can be digested. */
export interface Condition {
  /** What is waited for, as it is printed in traces and deadlock reports. */
  readonly name: string;
  /** Pure: true once the wait is over. */
  holds(): boolean;
}

/** The operation waits for a condition, at most `timeout` ns of virtual time (`Infinity` = for ever). */
export interface Until {
  /** Tells it from the other ways to give up the CPU. */
  readonly kind: "until";
  /** What is waited for. */
  readonly condition: Condition;
  /** Longest wait in ns. */
  readonly timeout: number;
}

/** The operation sleeps for `ns` of virtual time. */
export interface Sleep {
  /** Tells it from the other ways to give up the CPU. */
  readonly kind: "sleep";
  /** How long, in ns. */
  readonly ns: number;
}

/** What an operation tells the scheduler when it gives up the CPU. */
export type Suspend = Preempt | Acquire | Until | Sleep;

/**
 * A kernel operation. Each yield is a preemption point, or a wait for a condition or for virtual time. Run one and it
 * completes at once; run several and the schedule decides.
 */
export type Op<T> = Generator<Suspend, T, void>;

/** The one preemption point; yield it before every store, MMIO or config write that hardware can see. */
export const preempt: Preempt = { kind: "preempt" };

/** Sleeps for `ns` of virtual time. */
export function* sleep(ns: number): Op<void> {
  yield { kind: "sleep", ns };
}

/**
 * Waits until the condition holds, at most `timeout` ns of virtual time.
 *
 * @returns true when the condition holds, false when the time ran out first
 */
export function* waitUntil(condition: Condition, timeout: number = Infinity): Op<boolean> {
  yield { kind: "until", condition, timeout };
  return condition.holds();
}
