import type { Digest, Digestible } from "@iommu-lab/core";
import type { FaultReporter } from "./fault-reporter.ts";
import type { FaultSite } from "./fault-site.ts";
import type { Request } from "./request.ts";

/** STAG has 16 bits. */
const MOST_TAGS = 0x10000;

/** A transaction that waits for software. */
interface Stalled {
  readonly tag: number;
  readonly request: Request;
  /** Its event record. */
  readonly record: Uint32Array;
  /** The record is in the queue; else it waits for room. */
  recorded: boolean;
}

/** What software decided about a stalled transaction. */
export type StallEnd = "retry" | "abort" | "ignore";

/** Told when a stalled transaction goes on. */
export type StallListener = (tag: number, request: Request, end: StallEnd) => void;

/**
 * Stalled transactions by tag. A record that the event queue has no room for is not lost: it is written when there is.
 * When all tags are in use, a fault terminates.
 *
 * Source: SMMUv3 §3.12.2, §4.6, §7.2.
 */
export class Stalls implements Digestible {
  readonly #faults: FaultReporter;
  readonly #most: number;
  readonly #held: Stalled[] = [];

  /** @param most IDR5.STALL_MAX; 0 = as many as there are tags */
  constructor(faults: FaultReporter, most: number) {
    this.#faults = faults;
    this.#most = most === 0 ? MOST_TAGS : most;
  }

  /** Holds a transaction. @returns its tag, -1 = there is no room */
  hold(request: Request, event: number, site: FaultSite): number {
    if (this.#held.length >= this.#most) {
      return -1;
    }
    const tag = this.#freeTag();
    const record = this.#faults.stallRecord(request, event, site, tag);
    const recorded = this.#faults.writeStall(record);
    this.#held.push({ tag, request: request.copy(), record, recorded });
    return tag;
  }

  /** The event queue may have room again. */
  retryRecords(): void {
    for (const stalled of this.#held) {
      stalled.recorded ||= this.#faults.writeStall(stalled.record);
    }
  }

  /** RESUME: one transaction. A tag that is not held, or is another stream's, is ignored. */
  take(tag: number, sid: number): Request | undefined {
    const index = this.#held.findIndex((one) => one.tag === tag && one.request.sid === sid);
    return index < 0 ? undefined : this.#held.splice(index, 1)[0]?.request;
  }

  /** STALL_TERM: the tags of a stream. */
  tagsOf(sid: number): number[] {
    return this.#held.filter((one) => one.request.sid === sid).map((one) => one.tag);
  }

  digest(into: Digest): void {
    for (const { tag, request, recorded } of this.#held) {
      for (const value of [tag, recorded ? 1 : 0, request.sid, request.pasid, request.page, request.offset]) {
        into.number(value);
      }
    }
  }

  #freeTag(): number {
    let tag = 0;
    while (this.#held.some((one) => one.tag === tag)) {
      tag += 1;
    }
    return tag;
  }
}
