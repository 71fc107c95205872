import type { Trace } from "@iommu-lab/core";
import type { TranslationResult } from "./outcome.ts";
import { NO_PASID, type Rid } from "./request.ts";
import { tlpKind } from "./tlp-kind.ts";

/** What the fabric tells the trace. Nothing is built when nobody listens. */
export class TlpTrace {
  readonly #trace: Trace;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /** A memory request left. @returns its event, 0 when nobody listens */
  request(from: string, rid: Rid, pasid: number, page: number, offset: number, flags: number): number {
    return this.#trace.active ? this.#tlp(tlpKind(flags), from, rid, pasid, page, offset, undefined) : 0;
  }

  /** A message left. @returns its event, 0 when nobody listens */
  message(kind: string, from: string, rid: Rid, pasid: number, page: number, cause: number | undefined): number {
    return this.#trace.active ? this.#tlp(kind, from, rid, pasid, page, 0, cause) : 0;
  }

  /** What became of it. */
  result(tlp: number, status: string): void {
    if (tlp !== 0) {
      this.#trace.emit("tlp:result", { tlp, status }, tlp);
    }
  }

  /** What became of a Translation Request. */
  translated(tlp: number, result: TranslationResult): void {
    if (tlp !== 0) {
      const { status, host, read, write } = result;
      this.#trace.emit("tlp:result", { tlp, status, page: host, read, write }, tlp);
    }
  }

  /** What `body` does is caused by the event. */
  within(event: number, body: () => void): void {
    if (event === 0) {
      body();
      return;
    }
    this.#trace.enter(event);
    try {
      body();
    } finally {
      this.#trace.leave();
    }
  }

  #tlp(
    kind: string,
    from: string,
    rid: Rid,
    pasid: number,
    page: number,
    offset: number,
    cause: number | undefined,
  ): number {
    return this.#trace.emit("tlp", { kind, rid, ...(pasid === NO_PASID ? {} : { pasid }), page, offset, from }, cause);
  }
}
