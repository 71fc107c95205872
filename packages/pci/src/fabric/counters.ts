import { type RequestStatus, completionOf } from "./outcome.ts";

/** Requests of one class: `sent` = `completed` (or `delivered`) and everything in `dropped`, at any time. */
export interface RequestCount {
  /** How many were sent. */
  readonly sent: number;
  /** Posted: how many took effect. Non-posted: how many got a completion, whatever its status. */
  readonly finished: number;
  /** How many ended otherwise, by cause. */
  readonly dropped: ReadonlyMap<string, number>;
}

class Count implements RequestCount {
  sent = 0;
  finished = 0;
  readonly dropped = new Map<string, number>();

  drop(cause: string): void {
    this.dropped.set(cause, (this.dropped.get(cause) ?? 0) + 1);
  }
}

/** What the fabric carried so far. Nothing is ever lost without a cause. */
export class TlpCounters {
  readonly #posted = new Count();
  readonly #nonPosted = new Count();
  readonly #messages = new Count();

  /** Memory writes. */
  get posted(): RequestCount {
    return this.#posted;
  }

  /** Memory reads and Translation Requests. */
  get nonPosted(): RequestCount {
    return this.#nonPosted;
  }

  /** ATS and PRI messages. */
  get messages(): RequestCount {
    return this.#messages;
  }

  /** Counts a memory write that came to its end. */
  countPosted(status: RequestStatus): void {
    this.#posted.sent += 1;
    if (status === "success") {
      this.#posted.finished += 1;
    } else {
      this.#posted.drop(status);
    }
  }

  /** Counts a memory read or Translation Request that came to its end. */
  countNonPosted(status: RequestStatus): void {
    this.#nonPosted.sent += 1;
    if (completionOf(status) !== "none") {
      this.#nonPosted.finished += 1;
    } else {
      this.#nonPosted.drop(status);
    }
  }

  /** Counts a message. */
  countMessage(delivery: string): void {
    this.#messages.sent += 1;
    if (delivery === "delivered") {
      this.#messages.finished += 1;
    } else {
      this.#messages.drop(delivery);
    }
  }
}
