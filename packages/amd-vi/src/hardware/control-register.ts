import type { Digest, Digestible } from "@iommu-lab/core";
import type { ControlBit } from "../layout/registers.ts";
import { invalidationTimeout } from "../layout/registers.ts";

/** The IOMMU Control register. Source: AMD IOMMU specification §3.4.2. */
export class ControlRegister implements Digestible {
  #lo = 0;
  #hi = 0;

  /** Bits 31:0. */
  get lo(): number {
    return this.#lo;
  }

  /** Bits 63:32. */
  get hi(): number {
    return this.#hi;
  }

  /** Stores both halves. */
  write(lo: number, hi: number): void {
    this.#lo = lo >>> 0;
    this.#hi = hi >>> 0;
  }

  /** Whether a bit is set. */
  has(bit: ControlBit): boolean {
    return ((bit < 32 ? this.#lo >>> bit : this.#hi >>> (bit - 32)) & 1) === 1;
  }

  /** IommuEn. */
  get enabled(): boolean {
    return (this.#lo & 1) === 1;
  }

  /** InvTimeOut in ns; `Infinity` = none. */
  get invalidationTimeout(): number {
    return invalidationTimeout(this.#lo);
  }

  /** DevTblSegEn: upper bits of the device ID that choose a segment of the device table; at most what the unit has. */
  segmentBits(supported: number): number {
    return Math.min((this.#hi >>> 2) & 7, supported);
  }

  digest(into: Digest): void {
    into.number(this.#lo);
    into.number(this.#hi);
  }
}
