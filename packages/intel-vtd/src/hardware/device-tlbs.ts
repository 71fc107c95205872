import type { Clock, Digest, Digestible, Engine } from "@iommu-lab/core";

const ITAGS = 32;

/** An invalidation a device has not completed yet. */
interface Outstanding {
  readonly rid: number;
  readonly itag: number;
  /** What it counts against: the physical function where the unit throttles per function. */
  readonly throttle: number;
  /** Order of issue. */
  readonly sequence: number;
  /** Virtual time in ns at which the unit gives up. */
  readonly deadline: number;
  /** Trace event of the descriptor's submission. */
  readonly submit: number;
  readonly opcode: string;
  /** Completions still expected; 0 = none has told yet. */
  remaining: number;
}

/** What becomes of an invalidation. */
export interface DeviceTlbListener {
  /** All completions are in. */
  completed(rid: number, submit: number, opcode: string): void;
  /** The device did not answer in time; its ITag is free again. */
  timedOut(rid: number, itag: number, submit: number, opcode: string): void;
}

/**
 * Tracks device-TLB invalidations by ITag until all completions are in, or the time is over.
 *
 * Source: VT-d 5.10 §4.3, §6.5.2.11; PCIe 6.0 §10.3.
 */
export class DeviceTlbs implements Engine, Digestible {
  readonly name: string;
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #listener: DeviceTlbListener;
  readonly #outstanding: Outstanding[] = [];
  #sequence = 0;

  /** @param timeout ns after which an invalidation is given up */
  constructor(name: string, clock: Clock, timeout: number, listener: DeviceTlbListener) {
    this.name = name;
    this.#clock = clock;
    this.#timeout = timeout;
    this.#listener = listener;
  }

  /**
   * Takes an ITag of a device.
   *
   * @param maxPending MIP: how many the device can queue, 1 … 32
   * @returns the ITag, or -1 while all that may be used are
   */
  take(rid: number, throttle: number, maxPending: number, submit: number, opcode: string): number {
    const pending = this.#outstanding.filter((one) => one.throttle === throttle).length;
    const itag = this.#freeTag(rid);
    if (pending >= maxPending || itag < 0) {
      return -1;
    }
    this.#sequence += 1;
    this.#outstanding.push({
      rid,
      itag,
      throttle,
      sequence: this.#sequence,
      deadline: this.#clock.now + this.#timeout,
      submit,
      opcode,
      remaining: 0,
    });
    return itag;
  }

  /** The order number of the invalidation issued last. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Whether everything issued up to this order number is completed or given up. */
  settled(sequence: number): boolean {
    return this.#outstanding.every((one) => one.sequence > sequence);
  }

  /**
   * An Invalidate Completion arrived.
   *
   * @param itags bit n = ITag n
   * @param count how many completions carry the ITag in all
   * @returns false when it names an ITag that nobody waits for
   */
  complete(rid: number, itags: number, count: number): boolean {
    let known = true;
    for (let itag = 0; itag < ITAGS; itag += 1) {
      if (((itags >>> itag) & 1) === 0) {
        continue;
      }
      const index = this.#outstanding.findIndex((one) => one.rid === rid && one.itag === itag);
      const found = this.#outstanding[index];
      if (found === undefined) {
        known = false;
        continue;
      }
      found.remaining = (found.remaining === 0 ? count : found.remaining) - 1;
      if (found.remaining === 0) {
        this.#outstanding.splice(index, 1);
        this.#listener.completed(rid, found.submit, found.opcode);
      }
    }
    return known;
  }

  /** Forgets everything: reset. */
  clear(): void {
    this.#outstanding.length = 0;
  }

  ready(): boolean {
    return this.deadline() <= this.#clock.now;
  }

  step(): void {
    const deadline = this.deadline();
    const index = this.#outstanding.findIndex((one) => one.deadline === deadline);
    const [expired] = this.#outstanding.splice(index, 1);
    if (expired !== undefined) {
      this.#listener.timedOut(expired.rid, expired.itag, expired.submit, expired.opcode);
    }
  }

  deadline(): number {
    let earliest = Infinity;
    for (const one of this.#outstanding) {
      earliest = Math.min(earliest, one.deadline);
    }
    return earliest;
  }

  digest(into: Digest): void {
    for (const one of this.#outstanding) {
      into.number(one.rid * ITAGS + one.itag);
      into.number(one.remaining);
      into.number(one.deadline);
    }
  }

  #freeTag(rid: number): number {
    for (let itag = 0; itag < ITAGS; itag += 1) {
      if (!this.#outstanding.some((one) => one.rid === rid && one.itag === itag)) {
        return itag;
      }
    }
    return -1;
  }
}
