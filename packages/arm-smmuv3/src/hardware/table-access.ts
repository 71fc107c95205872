import type { PhysicalMemory } from "@iommu-lab/core";
import { swapped } from "./descriptor.ts";

/** Reads and updates descriptors in either byte order. One object per walker, reused. */
export class TableAccess {
  /** Bits 31:0 of what was read. */
  lo = 0;
  /** Bits 63:32. */
  hi = 0;
  readonly #memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  /** Reads a descriptor. @returns false on an external abort */
  read(address: number, bigEndian: boolean): boolean {
    if (!this.#memory.load64(address)) {
      return false;
    }
    if (bigEndian) {
      this.lo = swapped(this.#memory.hi);
      this.hi = swapped(this.#memory.lo);
    } else {
      this.lo = this.#memory.lo;
      this.hi = this.#memory.hi;
    }
    return true;
  }

  /** Sets and clears bits of the low half of a descriptor; the update is atomic. */
  update(address: number, bigEndian: boolean, set: number, clear: number): void {
    this.read(address, bigEndian);
    const lo = ((this.lo | set) & ~clear) >>> 0;
    if (bigEndian) {
      this.#memory.store64(address, swapped(this.hi), swapped(lo));
    } else {
      this.#memory.store64(address, lo, this.hi);
    }
  }
}
