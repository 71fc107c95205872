import type { Digest, Digestible, PhysicalMemory } from "@iommu-lab/core";
import type { InterruptSink } from "../interrupt.ts";
import type { PageRequestDescriptor } from "../layout/page-request.ts";
import { PAGE_REQUEST_BYTES, encodePageRequest } from "../layout/page-request.ts";
import { PRS_PPR, PRS_PRO } from "../layout/registers.ts";
import { EventBlock } from "./event-block.ts";

/**
 * The page request queue in memory and its registers.
 *
 * Source: VT-d 5.10 §7.4, §11.4.10.
 */
export class PageRequestQueue implements Digestible {
  /** The page request event. */
  readonly event: EventBlock;
  readonly #memory: PhysicalMemory;
  #base = 0;
  #size = 0;
  #head = 0;
  #tail = 0;
  #status = 0;

  constructor(memory: PhysicalMemory, sink: InterruptSink) {
    this.#memory = memory;
    this.event = new EventBlock(sink);
  }

  /** PQA as halves. */
  get address(): readonly [lo: number, hi: number] {
    return [((this.#base % 2 ** 32) + this.#size) >>> 0, Math.floor(this.#base / 2 ** 32)];
  }

  /** Writes PQA. */
  writeAddress(lo: number, hi: number): void {
    this.#base = hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
    this.#size = lo & 7;
  }

  /** PQH, in bytes. */
  get head(): number {
    return this.#head;
  }

  /** Writes PQH: software took requests out. */
  writeHead(value: number): void {
    this.#head = value & 0x7ffe0;
  }

  /** PQT, in bytes. */
  get tail(): number {
    return this.#tail;
  }

  /** Writes PQT. */
  writeTail(value: number): void {
    this.#tail = value & 0x7ffe0;
  }

  /** PRS. */
  get status(): number {
    return this.#status;
  }

  /** Writes PRS: ones clear. */
  writeStatus(value: number): void {
    this.#status &= ~value;
    if (this.#status === 0) {
      this.event.clear();
    }
  }

  /** Whether a request found no room and software has not noticed yet. */
  get overflowed(): boolean {
    return (this.#status & PRS_PRO) !== 0;
  }

  /** Adds a request. @returns false when the queue is full */
  add(request: PageRequestDescriptor): boolean {
    const bytes = 4096 * 2 ** this.#size;
    const next = (this.#tail + PAGE_REQUEST_BYTES) % bytes;
    const quiet = this.#status === 0;
    if (next === this.#head) {
      this.#status |= PRS_PRO;
    } else {
      const words = encodePageRequest(request);
      for (const [index, word] of words.entries()) {
        this.#memory.store32(this.#base + this.#tail + index * 4, word);
      }
      this.#tail = next;
      this.#status |= PRS_PPR;
    }
    if (quiet) {
      this.event.raise();
    }
    return next !== this.#head;
  }

  digest(into: Digest): void {
    for (const value of [this.#base, this.#size, this.#head, this.#tail, this.#status]) {
      into.number(value);
    }
    this.event.digest(into);
  }
}
