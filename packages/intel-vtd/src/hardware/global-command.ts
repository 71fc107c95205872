import type { Digest, Digestible, Engine } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import {
  GLOBAL_CFI,
  GLOBAL_IRE,
  GLOBAL_QIE,
  GLOBAL_SIRTP,
  GLOBAL_SRTP,
  GLOBAL_TE,
  GLOBAL_WBF,
  decodeRootTableAddress,
} from "../layout/registers.ts";
import type { FaultRecorder } from "./fault-recorder.ts";
import type { InvalidationQueue } from "./invalidation-queue.ts";
import type { LatchedRoot } from "./latched-root.ts";
import type { TranslationCaches } from "./translation-caches.ts";

const LEVELS = [GLOBAL_TE, GLOBAL_QIE, GLOBAL_IRE, GLOBAL_CFI];

/**
 * The global command register and what it switches. A write marks work; one step later the status register tells that
 * it is done.
 *
 * Source: VT-d 5.10 §11.4.4, §11.4.5.
 */
export class GlobalCommand implements Engine, Digestible {
  readonly name: string;
  readonly #caps: Capabilities;
  readonly #caches: TranslationCaches;
  readonly #queue: InvalidationQueue;
  readonly #faults: FaultRecorder;
  #pending: number | undefined;
  #status = 0;
  readonly #latched: LatchedRoot;
  #rootLo = 0;
  #rootHi = 0;

  constructor(
    name: string,
    caps: Capabilities,
    caches: TranslationCaches,
    queue: InvalidationQueue,
    faults: FaultRecorder,
    latched: LatchedRoot,
  ) {
    this.name = `${name} global command`;
    this.#caps = caps;
    this.#caches = caches;
    this.#queue = queue;
    this.#faults = faults;
    this.#latched = latched;
  }

  /** GSTS. */
  get status(): number {
    return this.#status;
  }

  /** TES. */
  get translating(): boolean {
    return this.#has(GLOBAL_TE);
  }

  /** TTM as it was latched. */
  get mode(): number {
    return this.#latched.mode;
  }

  /** RTADDR as halves, as it was written. */
  get root(): readonly [lo: number, hi: number] {
    return [this.#rootLo, this.#rootHi];
  }

  /** Writes RTADDR; it counts from the next SRTP on. */
  writeRoot(lo: number, hi: number): void {
    this.#rootLo = lo;
    this.#rootHi = hi;
  }

  /** Writes GCMD. */
  write(value: number): void {
    if (this.#pending !== undefined) {
      this.step();
    }
    this.#pending = value;
    if (bit(value, GLOBAL_SRTP)) {
      this.#set(GLOBAL_SRTP, false);
    }
    if (bit(value, GLOBAL_SIRTP)) {
      this.#set(GLOBAL_SIRTP, false);
    }
    if (bit(value, GLOBAL_WBF)) {
      this.#set(GLOBAL_WBF, true);
    }
  }

  ready(): boolean {
    return this.#pending !== undefined;
  }

  step(): void {
    const value = this.#pending;
    if (value === undefined) {
      return;
    }
    this.#pending = undefined;
    if (bit(value, GLOBAL_SRTP)) {
      this.#latch();
      this.#set(GLOBAL_SRTP, true);
      if (this.#caps.esrtps) {
        this.#caches.clear();
      }
    }
    if (bit(value, GLOBAL_SIRTP)) {
      this.#set(GLOBAL_SIRTP, true);
    }
    this.#set(GLOBAL_WBF, false);
    for (const level of LEVELS) {
      if (bit(value, level) !== this.#has(level)) {
        this.#switch(level, bit(value, level));
      }
    }
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    into.number(this.#pending ?? -1);
    into.number(this.#status);
    into.number(this.#rootLo);
    into.number(this.#rootHi);
    into.number(this.#latched.table);
    into.number(this.#latched.mode);
    into.number(this.#latched.requestRights ? 1 : 0);
  }

  /** Takes RTADDR over. While translation is on, the mode changes only where SRTP also empties the caches. */
  #latch(): void {
    const { table, mode, requestRights } = decodeRootTableAddress(this.#rootLo, this.#rootHi);
    this.#latched.table = table;
    if (this.#caps.esrtps || !this.#has(GLOBAL_TE)) {
      this.#latched.mode = mode;
      this.#latched.requestRights = requestRights;
    }
  }

  #switch(level: number, on: boolean): void {
    this.#set(level, on);
    if (level === GLOBAL_QIE) {
      this.#queue.enable(on);
    }
    if (level === GLOBAL_TE && !on && this.#caps.smts) {
      this.#caches.clear();
    }
    if (!this.#has(GLOBAL_TE) && !this.#has(GLOBAL_IRE)) {
      this.#faults.restart();
    }
  }

  #has(mask: number): boolean {
    return bit(this.#status, mask);
  }

  #set(mask: number, on: boolean): void {
    this.#status = (on ? this.#status | mask : this.#status & ~mask) >>> 0;
  }
}

function bit(value: number, mask: number): boolean {
  return (value & mask) !== 0;
}
