import type { Clock, Digest, Digestible, Engine } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";

const ITAGS = 32;
/** MaxPend 0. */
const DEFAULT_PENDING = 32;

/** An invalidation of a device's IOTLB. */
export interface DeviceInvalidation {
  readonly rid: Rid;
  /** QueueID. */
  readonly queueId: number;
  /** Physical address of its command. */
  readonly command: number;
  /** Trace event of the command's submission. */
  readonly submit: number;
}

interface Outstanding extends DeviceInvalidation {
  readonly itag: number;
  /** Its place among all that were ever started. */
  readonly sequence: number;
  /** Virtual time in ns at which the unit gives up. */
  readonly deadline: number;
  /** Completions still expected; 0 = none has told yet. */
  remaining: number;
}

/** Told how invalidations ended. */
export interface DeviceIotlbListener {
  completed(invalidation: DeviceInvalidation): void;
  timedOut(invalidation: DeviceInvalidation, itag: number): void;
}

/**
 * Invalidations that devices have not completed yet: at most 32 per function (the ITags) and at most MaxPend per queue. One
 * that is not answered within InvTimeOut counts as finished with an error.
 *
 * Source: AMD IOMMU specification §2.4.4, §2.5.8; PCIe 6.0 §10.3.
 */
export class DeviceIotlbs implements Engine, Digestible {
  readonly name: string;
  readonly #clock: Clock;
  readonly #listener: DeviceIotlbListener;
  readonly #outstanding: Outstanding[] = [];
  #started = 0;

  constructor(name: string, clock: Clock, listener: DeviceIotlbListener) {
    this.name = name;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** How many are on their way. */
  get pending(): number {
    return this.#outstanding.length;
  }

  /** How many were ever started. */
  get started(): number {
    return this.#started;
  }

  /** Whether all of the first `count` that were started have ended. */
  ended(count: number): boolean {
    return this.#outstanding.every(({ sequence }) => sequence >= count);
  }

  /** Whether another one may be sent. @param maxPending MaxPend, 0 = 32 */
  hasRoom(rid: Rid, queueId: number, maxPending: number): boolean {
    const limit = maxPending === 0 ? DEFAULT_PENDING : maxPending;
    const queued = this.#outstanding.filter((one) => one.queueId === queueId).length;
    return queued < limit && this.#freeTag(rid) >= 0;
  }

  /** Notes one that is about to be sent. @param timeout ns @returns its ITag */
  start(invalidation: DeviceInvalidation, timeout: number): number {
    const itag = this.#freeTag(invalidation.rid);
    const deadline = this.#clock.now + timeout;
    this.#outstanding.push({ ...invalidation, itag, sequence: this.#started, deadline, remaining: 0 });
    this.#started += 1;
    return itag;
  }

  /** An Invalidate Completion arrived. @param itags bit n = ITag n */
  complete(rid: Rid, itags: number, count: number): void {
    for (let itag = 0; itag < ITAGS; itag += 1) {
      if (((itags >>> itag) & 1) === 0) {
        continue;
      }
      const index = this.#outstanding.findIndex((one) => one.rid === rid && one.itag === itag);
      const found = this.#outstanding[index];
      if (found === undefined) {
        continue;
      }
      found.remaining = (found.remaining === 0 ? count : found.remaining) - 1;
      if (found.remaining === 0) {
        this.#outstanding.splice(index, 1);
        this.#listener.completed(found);
      }
    }
  }

  ready(): boolean {
    return this.deadline() <= this.#clock.now;
  }

  step(): void {
    const index = this.#outstanding.findIndex((one) => one.deadline <= this.#clock.now);
    const [expired] = index < 0 ? [] : this.#outstanding.splice(index, 1);
    if (expired !== undefined) {
      this.#listener.timedOut(expired, expired.itag);
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
      into.number(one.queueId);
      into.number(this.#started - one.sequence);
      into.number(one.remaining);
      into.number(one.deadline);
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
