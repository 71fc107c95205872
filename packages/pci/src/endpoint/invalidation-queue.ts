import type { Digest, Trace } from "@iommu-lab/core";
import type { Delivery, IommuHardware } from "../fabric/iommu-hardware.ts";
import { NO_PASID } from "../fabric/request.ts";
import type { Atc } from "./atc.ts";
import type { Choices, CompletionFaults } from "./choices.ts";
import type { FunctionRegisters } from "./function-registers.ts";
import type { InFlight, UsedTranslation } from "./in-flight.ts";
import { type InvalidationScope, invalidationHits } from "./invalidation-scope.ts";
import type { Obeys } from "./obeys.ts";

const CLASSES = 8;

/** An Invalidate Request as a function holds it. */
export interface InvalidateRequest extends InvalidationScope {
  /** Who sent it and waits for the completion. */
  readonly from: IommuHardware;
  /** 0 … 31. */
  readonly itag: number;
  /** Its `tlp` event, 0 when nobody listened. */
  readonly event: number;
}

/** Sends an Invalidate Completion. */
export type SendCompletion = (to: IommuHardware, itags: number, count: number, cause: number) => void;

/** What the queue works with. */
export interface InvalidationParts {
  /** Name of the function. */
  readonly device: string;
  /** The platform's trace. */
  readonly trace: Trace;
  /** The entries. */
  readonly atc: Atc;
  /** The function's registers. */
  readonly registers: FunctionRegisters;
  /** Registers of the PF where this is a VF: queue depth and STU are there. */
  readonly shared: FunctionRegisters;
  /** The rules it keeps. */
  readonly obeys: Obeys;
  /** What the specification leaves to it. */
  readonly choices: Choices;
  /** What goes wrong with completions. */
  readonly faults: CompletionFaults;
  /** Requests that completions must not overtake. */
  readonly inFlight: InFlight;
  /** The way out. */
  readonly complete: SendCompletion;
}

/** Invalidate Requests that a function has accepted and not yet done. Accepting never depends on sending. */
export class InvalidationQueue {
  readonly #parts: InvalidationParts;
  #waiting: InvalidateRequest[] = [];

  constructor(parts: InvalidationParts) {
    this.#parts = parts;
  }

  /** Requests not yet done. */
  get length(): number {
    return this.#waiting.length;
  }

  /**
   * Accepts a request, or refuses what the function's choices refuse. More requests than the Invalidate Queue Depth, and an
   * ITag that is in use, are errors of the sender; the queue takes them all the same, as one that holds its link back.
   *
   * Source: PCIe 6.0 §10.3.1, §10.5.1.2.
   */
  accept(request: InvalidateRequest): Delivery {
    const { choices, registers, shared } = this.#parts;
    const small = request.sizeLog2 < 12 + shared.stu;
    if (small && choices.smallInvalidate === "UR") {
      return "UR";
    }
    if (choices.disabledInvalidate === "UR" && !registers.atsEnabled) {
      return "UR";
    }
    if (this.#waiting.some((one) => one.from === request.from && one.itag === request.itag)) {
      this.#protocolError(`ITag ${request.itag} is in use`, "PCIe 6.0 §10.3.1", request.event);
    }
    this.#waiting.push(request);
    if (this.#waiting.length > shared.invalidateQueueDepth) {
      const what = `${this.#waiting.length} Invalidate Requests wait, the queue holds ${shared.invalidateQueueDepth}`;
      this.#protocolError(what, "PCIe 6.0 §10.5.1.2", request.event);
    }
    return "delivered";
  }

  /** Loses one request: no completion will come. */
  drop(request: InvalidateRequest, reason: string): void {
    const { device, trace } = this.#parts;
    if (trace.active) {
      const { pasid, page, event } = request;
      trace.emit("atc", { device, what: "drop", page, ...pasidField(pasid), entries: 0, reason }, event);
    }
  }

  /** Loses everything that waits. */
  dropAll(reason: string): void {
    for (const request of this.#waiting) {
      this.drop(request, reason);
    }
    this.#waiting = [];
  }

  /**
   * Does the oldest request: entries go, then the completion is sent, one for each traffic class in which writes wait that
   * used them. ATS Enable makes no difference: a function with ATS off has nothing to drop and answers all the same.
   *
   * Source: PCIe 6.0 §10.3.
   */
  step(): void {
    const request = this.#waiting.shift();
    if (request === undefined) {
      return;
    }
    const { device, trace, atc, registers, shared, obeys, choices } = this.#parts;
    const scope = {
      ...roundedUp(request, shared.stu),
      pasid: request.pasid,
      global: request.global && registers.globalInvalidate,
    };
    const entries = obeys.invalidations
      ? atc.invalidate(scope.page, scope.sizeLog2, scope.pasid, scope.global, choices.withoutPasid)
      : 0;
    if (trace.active) {
      const { page, pasid, event } = request;
      trace.emit("atc", { device, what: "invalidate", page, ...pasidField(pasid), entries }, event);
    }
    this.#answer(request, scope);
  }

  /** Writes what waits. */
  digest(into: Digest): void {
    into.number(this.#waiting.length);
    for (const { itag, pasid, page, sizeLog2, global } of this.#waiting) {
      into.number(itag * 2 + (global ? 1 : 0));
      into.number(pasid);
      into.number(page);
      into.number(sizeLog2);
    }
    const { drop, delay, duplicates, itag, count } = this.#parts.faults;
    for (const value of [drop, delay, duplicates, itag ?? -1, count ?? -1]) {
      into.number(value);
    }
  }

  #answer(request: InvalidateRequest, scope: InvalidationScope): void {
    const { obeys, choices, faults, inFlight } = this.#parts;
    const hits = ({ page, sizeLog2, pasid, global }: UsedTranslation): boolean =>
      obeys.invalidations && invalidationHits(scope, page, sizeLog2, pasid, global, choices.withoutPasid);
    const classes = inFlight.length === 0 ? 0 : inFlight.invalidated(hits);
    if (!obeys.completions || faults.drop > 0) {
      faults.drop = Math.max(0, faults.drop - 1);
      this.drop(request, "not answered");
      return;
    }
    const ordered = obeys.ordering && (classes !== 0 || inFlight.readsOpen(hits));
    if (!ordered && faults.delay === 0) {
      this.#send(request, 1);
      return;
    }
    const used = ordered && classes !== 0 ? classes : 1;
    const count = bitCount(used);
    for (let trafficClass = 0; trafficClass < CLASSES; trafficClass += 1) {
      if ((used & (1 << trafficClass)) !== 0) {
        inFlight.beginCompletion(trafficClass, hits, faults.delay, () => {
          this.#send(request, count);
        });
      }
    }
  }

  #send(request: InvalidateRequest, count: number): void {
    const { faults, complete } = this.#parts;
    const itags = 2 ** (faults.itag ?? request.itag);
    for (let copy = 0; copy <= faults.duplicates; copy += 1) {
      complete(request.from, itags, faults.count ?? count, request.event);
    }
  }

  #protocolError(what: string, source: string, cause: number): void {
    const { device, trace } = this.#parts;
    if (trace.active) {
      trace.emit("protocol:error", { device, what, source }, cause);
    }
  }
}

/** The range, with the STU as its smallest size. */
function roundedUp(request: InvalidateRequest, stu: number): { readonly page: number; readonly sizeLog2: number } {
  const sizeLog2 = Math.max(request.sizeLog2, 12 + stu);
  return { page: request.page - (request.page % 2 ** (sizeLog2 - 12)), sizeLog2 };
}

function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) {
    count += 1;
  }
  return count;
}

/** The `pasid` field of an event, left out without one. */
export function pasidField(pasid: number): { readonly pasid?: number } {
  return pasid === NO_PASID ? {} : { pasid };
}
