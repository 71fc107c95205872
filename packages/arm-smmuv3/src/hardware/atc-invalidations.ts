import type { Clock, Digest, Digestible, Engine, Trace } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";

const ITAGS = 32;

/** An Invalidate Request on its way. */
interface Outstanding {
  readonly rid: Rid;
  readonly itag: number;
  /** Virtual time in ns at which it is given up. */
  readonly deadline: number;
  /** Trace event of the command's submission. */
  readonly submit: number;
  /** Completions still expected; 0 = none has told yet. */
  remaining: number;
}

/** Told when an invalidation is over. */
export type InvalidationEnd = (submit: number, result: "completed" | "timed out") => void;

/**
 * Invalidate Requests by function and ITag, until all completions are in or the time is over. One that timed out is no
 * longer waited for, but is remembered until a SYNC has told software.
 *
 * Source: PCIe 6.0 §10.3; SMMUv3 §3.9.1.4, §4.5.1.
 */
export class AtcInvalidations implements Engine, Digestible {
  readonly name: string;
  readonly #iommu: string;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #timeout: number;
  readonly #ended: InvalidationEnd;
  readonly #outstanding: Outstanding[] = [];
  #timedOut = false;

  /** @param timeout ns after which an Invalidate Request is given up */
  constructor(iommu: string, clock: Clock, trace: Trace, timeout: number, ended: InvalidationEnd) {
    this.name = `${iommu} ATC invalidations`;
    this.#iommu = iommu;
    this.#clock = clock;
    this.#trace = trace;
    this.#timeout = timeout;
    this.#ended = ended;
  }

  /** Whether none is on its way. */
  get idle(): boolean {
    return this.#outstanding.length === 0;
  }

  /** Whether one timed out that no SYNC has reported. */
  get timedOut(): boolean {
    return this.#timedOut;
  }

  /** A SYNC reports the time-outs. */
  reported(): void {
    this.#timedOut = false;
  }

  /** Takes an ITag and starts waiting. @returns the ITag; -1 when all are in use */
  take(rid: Rid, submit: number): number {
    const itag = this.#freeTag(rid);
    if (itag >= 0) {
      this.#outstanding.push({ rid, itag, deadline: this.#clock.now + this.#timeout, submit, remaining: 0 });
    }
    return itag;
  }

  /** The function does not take Invalidate Requests: a UR completes one without an error. */
  unsupported(rid: Rid, itag: number): void {
    this.complete(rid, 2 ** itag, 1);
  }

  /**
   * An Invalidate Completion arrived. One that nobody waits for is ignored.
   *
   * @param itags bit n = ITag n
   * @param count how many completions carry the ITag in all
   */
  complete(rid: Rid, itags: number, count: number): void {
    for (let itag = 0; itag < ITAGS; itag += 1) {
      const index = this.#outstanding.findIndex((one) => one.rid === rid && one.itag === itag);
      const found = this.#outstanding[index];
      if (((itags >>> itag) & 1) === 0 || found === undefined) {
        continue;
      }
      found.remaining = (found.remaining === 0 ? count : found.remaining) - 1;
      if (found.remaining === 0) {
        this.#outstanding.splice(index, 1);
        this.#ended(found.submit, "completed");
      }
    }
  }

  ready(): boolean {
    return this.deadline() <= this.#clock.now;
  }

  step(): void {
    const index = this.#outstanding.findIndex((one) => one.deadline <= this.#clock.now);
    const found = this.#outstanding[index];
    if (found === undefined) {
      return;
    }
    this.#outstanding.splice(index, 1);
    this.#timedOut = true;
    if (this.#trace.active) {
      const { rid, itag, submit } = found;
      this.#trace.emit("invalidate:timeout", { iommu: this.#iommu, rid, itag }, submit);
    }
    this.#ended(found.submit, "timed out");
  }

  deadline(): number {
    return this.#outstanding.reduce((first, one) => Math.min(first, one.deadline), Infinity);
  }

  digest(into: Digest): void {
    into.number(this.#timedOut ? 1 : 0);
    for (const { rid, itag, deadline, remaining } of this.#outstanding) {
      into.number(rid * ITAGS + itag);
      into.number(deadline - this.#clock.now);
      into.number(remaining);
    }
  }

  #freeTag(rid: Rid): number {
    for (let itag = 0; itag < ITAGS; itag += 1) {
      if (!this.#outstanding.some((one) => one.rid === rid && one.itag === itag)) {
        return itag;
      }
    }
    return -1;
  }
}
