import type { Digest, Digestible } from "@iommu-lab/core";
import { address52 } from "@iommu-lab/core";

const ENABLE = 1;
const ALLOW = 2;

/**
 * Pages that pass untranslated: for all devices, or for those whose DTE has EX.
 *
 * Source: AMD IOMMU specification §3.4.3, §3.4.4.
 */
export class ExclusionRange implements Digestible {
  #baseLo = 0;
  #baseHi = 0;
  #limitLo = 0;
  #limitHi = 0;

  /** Exclusion Base as halves. */
  get base(): readonly [lo: number, hi: number] {
    return [this.#baseLo, this.#baseHi];
  }

  /** Exclusion Limit as halves. */
  get limit(): readonly [lo: number, hi: number] {
    return [this.#limitLo, this.#limitHi];
  }

  /** Writes Exclusion Base. */
  writeBase(lo: number, hi: number): void {
    this.#baseLo = lo;
    this.#baseHi = hi;
  }

  /** Writes Exclusion Limit; the page it names is part of the range. */
  writeLimit(lo: number, hi: number): void {
    this.#limitLo = lo;
    this.#limitHi = hi;
  }

  /** Whether a page passes. @param marked EX of the DTE */
  holds(page: number, marked: boolean): boolean {
    if ((this.#baseLo & ENABLE) === 0 || !(marked || (this.#baseLo & ALLOW) !== 0)) {
      return false;
    }
    const address = page * 4096;
    return address >= address52(this.#baseLo, this.#baseHi) && address <= address52(this.#limitLo, this.#limitHi);
  }

  digest(into: Digest): void {
    for (const value of [this.#baseLo, this.#baseHi, this.#limitLo, this.#limitHi]) {
      into.number(value);
    }
  }
}
