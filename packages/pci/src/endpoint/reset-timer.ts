import type { Clock, Digest, Trace } from "@iommu-lab/core";
import type { ResetKind } from "../reset/reset-kind.ts";
import type { FunctionRegisters } from "./function-registers.ts";

/** The two things that take a function time: a reset, and non-posted requests that are still open. */
export class ResetTimer {
  readonly #device: string;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #registers: FunctionRegisters;
  #kind: ResetKind = "flr";
  /** Virtual time until which configuration requests get Request Retry Status. */
  #retryUntil = 0;
  /** Virtual time at which the reset ends; undefined = none under way. */
  #resetUntil: number | undefined;
  /** Virtual time until which Transactions Pending is set; undefined = it is not. */
  #pendingUntil: number | undefined;

  constructor(device: string, clock: Clock, trace: Trace, registers: FunctionRegisters) {
    this.#device = device;
    this.#clock = clock;
    this.#trace = trace;
    this.#registers = registers;
  }

  /** Whether a reset is under way. */
  get resetting(): boolean {
    return this.#resetUntil !== undefined && this.#clock.now < this.#resetUntil;
  }

  /** Sets Transactions Pending for `ns` of virtual time. */
  hold(ns: number): void {
    this.#pendingUntil = this.#clock.now + ns;
    this.#registers.setPending(true);
  }

  /** Whether the function is back on the link but not ready: it answers Request Retry Status alone. */
  get retrying(): boolean {
    return !this.resetting && this.#clock.now < this.#retryUntil;
  }

  /** A reset begins and takes `ns` of virtual time, `Infinity` = until {@link end}; open requests are forgotten. */
  begin(kind: ResetKind, ns: number): void {
    this.#kind = kind;
    this.#pendingUntil = undefined;
    this.#registers.setPending(false);
    this.#resetUntil = this.#clock.now + ns;
    this.#retryUntil = 0;
    this.#tell("begin");
  }

  /** What held the function in reset is over; it is ready after `retryNs`. */
  end(retryNs: number): void {
    if (this.#resetUntil !== undefined) {
      this.#resetUntil = this.#clock.now;
      this.#retryUntil = this.#clock.now + retryNs;
      this.settle();
    }
  }

  /** Ends what time has ended. @returns whether anything ended */
  settle(): boolean {
    const { now } = this.#clock;
    let ended = false;
    if (this.#pendingUntil !== undefined && now >= this.#pendingUntil) {
      this.#pendingUntil = undefined;
      this.#registers.setPending(false);
      ended = true;
    }
    if (this.#resetUntil !== undefined && now >= this.#resetUntil) {
      this.#resetUntil = undefined;
      this.#tell("end");
      ended = true;
    }
    return ended;
  }

  /** Virtual time of the next end; `Infinity` when there is none. */
  deadline(): number {
    return Math.min(this.#resetUntil ?? Infinity, this.#pendingUntil ?? Infinity);
  }

  /** Whether {@link ResetTimer.settle} would end anything now. */
  due(): boolean {
    return this.#clock.now >= this.deadline();
  }

  /** Writes both times. */
  digest(into: Digest): void {
    into.number(this.#resetUntil ?? -1);
    into.number(this.#pendingUntil ?? -1);
    into.number(this.retrying ? this.#retryUntil : -1);
  }

  #tell(phase: "begin" | "end"): void {
    if (this.#trace.active) {
      this.#trace.emit("device:reset", { device: this.#device, kind: this.#kind, phase });
    }
  }
}
