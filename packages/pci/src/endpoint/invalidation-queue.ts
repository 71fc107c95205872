import type { Digest, Trace } from "@iommu-lab/core";
import type { IommuHardware } from "../fabric/iommu-hardware.ts";
import { NO_PASID } from "../fabric/request.ts";
import type { Atc } from "./atc.ts";
import type { FunctionRegisters } from "./function-registers.ts";
import type { Obeys } from "./obeys.ts";

/** An Invalidate Request as a function holds it. */
export interface InvalidateRequest {
  /** Who sent it and waits for the completion. */
  readonly from: IommuHardware;
  /** 0 … 31. */
  readonly itag: number;
  /** The PASID or {@link NO_PASID}. */
  readonly pasid: number;
  /** First page number. */
  readonly page: number;
  /** 12 … 64; 64 = everything. */
  readonly sizeLog2: number;
  /** Global Invalidate. */
  readonly global: boolean;
  /** Its `tlp` event, 0 when nobody listened. */
  readonly event: number;
}

/** Sends an Invalidate Completion. */
export type SendCompletion = (to: IommuHardware, itags: number, count: number, cause: number) => void;

/** Invalidate Requests that a function has accepted and not yet done. Accepting never depends on sending. */
export class InvalidationQueue {
  readonly #device: string;
  readonly #trace: Trace;
  readonly #atc: Atc;
  readonly #registers: FunctionRegisters;
  readonly #obeys: Obeys;
  readonly #complete: SendCompletion;
  #waiting: InvalidateRequest[] = [];

  constructor(
    device: string,
    trace: Trace,
    atc: Atc,
    registers: FunctionRegisters,
    obeys: Obeys,
    complete: SendCompletion,
  ) {
    this.#device = device;
    this.#trace = trace;
    this.#atc = atc;
    this.#registers = registers;
    this.#obeys = obeys;
    this.#complete = complete;
  }

  /** Requests not yet done. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Accepts a request. */
  push(request: InvalidateRequest): void {
    this.#waiting.push(request);
  }

  /** Loses one request: no completion will come. */
  drop(request: InvalidateRequest, reason: string): void {
    if (this.#trace.active) {
      const { pasid, page, event } = request;
      this.#trace.emit(
        "atc",
        { device: this.#device, what: "drop", page, ...pasidField(pasid), entries: 0, reason },
        event,
      );
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
   * Does the oldest request: entries go, then the completion is sent. ATS Enable makes no difference: a function with
   * ATS off has nothing to drop and answers all the same. One traffic class is in use, so one completion counts.
   *
   * Source: PCIe 6.0 §10.3.
   */
  step(): void {
    const request = this.#waiting.shift();
    if (request === undefined) {
      return;
    }
    const { from, itag, pasid, page, sizeLog2, event } = request;
    const global = request.global && this.#registers.globalInvalidate;
    const entries = this.#obeys.invalidations ? this.#atc.invalidate(page, sizeLog2, pasid, global) : 0;
    if (this.#trace.active) {
      this.#trace.emit("atc", { device: this.#device, what: "invalidate", page, ...pasidField(pasid), entries }, event);
    }
    if (this.#obeys.completions) {
      this.#complete(from, 2 ** itag, 1, event);
    } else {
      this.drop(request, "not answered");
    }
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
  }
}

/** The `pasid` field of an event, left out without one. */
export function pasidField(pasid: number): { readonly pasid?: number } {
  return pasid === NO_PASID ? {} : { pasid };
}
