import type { Clock, Digest } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { RequestStatus } from "../fabric/outcome.ts";
import { NO_PASID } from "../fabric/request.ts";

const CLASSES = 8;

/** What a queued request is: a posted write that has not left, or a completion that has not come. */
export type InFlightKind = "write" | "read" | "translation" | "invalidate-completion";

/** A request that a function has begun and not finished. */
export interface InFlightRequest {
  /** What it is. */
  readonly kind: InFlightKind;
  /** Traffic class, 0 … 7. */
  readonly trafficClass: number;
  /** Where it is. */
  readonly state: "in flight" | "done" | "dropped";
  /** What became of it; says nothing before it is done. */
  readonly status: RequestStatus;
  /** The 4 bytes of a read that is done. */
  readonly value: number | undefined;
  /** Name of the fault, or why it was dropped; `""` otherwise. */
  readonly reason: string;
}

/** What a request in flight uses: the pages that it was translated from. */
export interface UsedTranslation {
  /** First page number. */
  readonly page: number;
  /** log2 of the bytes. */
  readonly sizeLog2: number;
  /** The PASID, or {@link NO_PASID}. */
  readonly pasid: number;
  /** It comes from a Global entry. */
  readonly global: boolean;
}

/** What finishing an item gives. */
export interface Finished {
  /** Status on the wire. */
  readonly status: RequestStatus;
  /** Data of a read. */
  readonly value?: number | undefined;
  /** Fault, or why it was dropped. */
  readonly reason?: string;
  /** It was dropped by the function itself. */
  readonly dropped?: boolean;
}

class Item implements InFlightRequest {
  readonly kind: InFlightKind;
  readonly trafficClass: number;
  readonly used: UsedTranslation | undefined;
  /** Earliest virtual time in ns at which it can go on. */
  readonly notBefore: number;
  readonly finish: (stale: boolean) => Finished;
  state: InFlightRequest["state"] = "in flight";
  status: RequestStatus = "success";
  value: number | undefined = undefined;
  reason = "";
  /** An invalidation came meanwhile: what it brings must not be used. */
  stale = false;
  /** Items that must be finished first. */
  readonly after: Item[] = [];

  constructor(
    kind: InFlightKind,
    trafficClass: number,
    used: UsedTranslation | undefined,
    notBefore: number,
    finish: (stale: boolean) => Finished,
  ) {
    this.kind = kind;
    this.trafficClass = trafficClass;
    this.used = used;
    this.notBefore = notBefore;
    this.finish = finish;
  }

  get posted(): boolean {
    return this.kind === "write" || this.kind === "invalidate-completion";
  }
}

/**
 * Requests between a function's logic and their end. Posted ones of one traffic class leave in order; what belongs to
 * different classes may overtake. Each step finishes one. A test holds classes to look at what happens meanwhile.
 *
 * Source: PCIe 6.0 §2.4.1, §10.3.2.
 */
export class InFlight {
  readonly #clock: Clock;
  readonly #items: Item[] = [];
  #held = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many there are. */
  get length(): number {
    return this.#items.length;
  }

  /** What is in flight, oldest first. */
  get requests(): readonly InFlightRequest[] {
    return this.#items;
  }

  /** Nothing of this traffic class, or of all, goes on until {@link InFlight.release}. */
  hold(trafficClass?: number): void {
    this.#held |= maskOf(trafficClass);
  }

  /** Lets it go on, in the function's own steps. */
  release(trafficClass?: number): void {
    this.#held &= ~maskOf(trafficClass);
  }

  /**
   * Takes one in.
   *
   * @param used what it was translated from; undefined = it carries an untranslated address
   * @param finish does it; `stale` = an invalidation has caught the answer on its way
   * @throws InputError for a traffic class that is not 0 … 7
   */
  begin(
    kind: InFlightKind,
    trafficClass: number,
    used: UsedTranslation | undefined,
    finish: (stale: boolean) => Finished,
  ): InFlightRequest {
    maskOf(trafficClass);
    return this.#push(new Item(kind, trafficClass, used, 0, finish));
  }

  /**
   * An invalidation took what `used` describes. Marks Translation Requests whose answers it must not use.
   *
   * @returns the classes in which posted writes that used it wait, as a mask
   */
  invalidated(hits: (used: UsedTranslation) => boolean): number {
    let classes = 0;
    for (const item of this.#items) {
      if (item.used === undefined || !hits(item.used)) {
        continue;
      }
      if (item.kind === "translation") {
        item.stale = true;
      } else if (item.kind === "write") {
        classes |= 1 << item.trafficClass;
      }
    }
    return classes;
  }

  /** Whether reads that used it are still open, which a completion must wait for. */
  readsOpen(hits: (used: UsedTranslation) => boolean): boolean {
    return this.#items.some((item) => item.kind === "read" && item.used !== undefined && hits(item.used));
  }

  /**
   * Takes an Invalidate Completion in: behind the posted requests of its class and the reads that used what went.
   *
   * @param delay ns of virtual time before which it does not leave
   */
  beginCompletion(
    trafficClass: number,
    hits: (used: UsedTranslation) => boolean,
    delay: number,
    finish: () => void,
  ): void {
    const notBefore = delay === 0 ? 0 : this.#clock.now + delay;
    const item = new Item("invalidate-completion", trafficClass, undefined, notBefore, () => {
      finish();
      return { status: "success" };
    });
    for (const other of this.#items) {
      if (other.kind === "read" && other.used !== undefined && hits(other.used)) {
        item.after.push(other);
      }
    }
    this.#push(item);
  }

  /** Everything that is left ends here: a reset, or nothing is there any more. */
  dropAll(reason: string): void {
    for (const item of this.#items) {
      item.state = "dropped";
      item.reason = reason;
    }
    this.#items.length = 0;
  }

  /** Whether a step would finish one now. */
  ready(): boolean {
    return this.#next() >= 0;
  }

  /** Finishes the oldest one that may go on. @returns whether there was one */
  step(): boolean {
    const index = this.#next();
    const [item] = index < 0 ? [] : this.#items.splice(index, 1);
    if (item === undefined) {
      return false;
    }
    const { status, value, reason, dropped } = item.finish(item.stale);
    item.state = dropped === true ? "dropped" : "done";
    item.status = status;
    item.value = value;
    item.reason = reason ?? "";
    return true;
  }

  /** Virtual time at which one that is late may go; `Infinity` when there is none. */
  deadline(): number {
    let earliest = Infinity;
    for (const { notBefore } of this.#items) {
      if (notBefore > this.#clock.now) {
        earliest = Math.min(earliest, notBefore);
      }
    }
    return earliest;
  }

  /** Writes what waits. */
  digest(into: Digest): void {
    into.number(this.#held);
    for (const { kind, trafficClass, used, notBefore, stale } of this.#items) {
      into.text(kind);
      into.number(trafficClass * 2 + (stale ? 1 : 0));
      into.number(used?.page ?? -1);
      into.number(used?.pasid ?? NO_PASID);
      into.number(notBefore);
    }
  }

  #push(item: Item): Item {
    this.#items.push(item);
    return item;
  }

  #next(): number {
    const { now } = this.#clock;
    let blocked = this.#held;
    for (const [index, item] of this.#items.entries()) {
      const mask = 1 << item.trafficClass;
      const waits = item.notBefore > now || item.after.some(({ state }) => state === "in flight");
      if ((blocked & mask) === 0 && !waits) {
        return index;
      }
      if (item.posted && !(item.kind === "invalidate-completion" && item.notBefore > now)) {
        // Posted requests of one class keep their order.
        blocked |= mask;
      }
    }
    return -1;
  }
}

function maskOf(trafficClass: number | undefined): number {
  if (trafficClass === undefined) {
    return 2 ** CLASSES - 1;
  }
  if (!Number.isInteger(trafficClass) || trafficClass < 0 || trafficClass >= CLASSES) {
    throw new InputError(`traffic class ${trafficClass}, expected 0 to ${CLASSES - 1}`);
  }
  return 1 << trafficClass;
}
