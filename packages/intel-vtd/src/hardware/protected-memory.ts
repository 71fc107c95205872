import type { Digest, Digestible } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import { PHMBASE, PHMLIMIT, PLMBASE, PLMLIMIT, PMEN, PMEN_EPM, PMEN_PRS } from "../layout/registers.ts";

/** Regions are multiples of 2 MiB: the low bits of a base read 0, those of a limit count as ones. */
const LOW_BITS = 0x1fffff;
const PAGES_PER_4G = 2 ** 20;

/**
 * Protected memory: two regions that no DMA may reach while PMEN.EPM is set, whatever the tables say. Nothing is
 * recorded.
 *
 * Source: VT-d 5.10 §11.4.8.
 */
export class ProtectedMemory implements Digestible {
  /** PMEN.PRS. */
  on = false;
  readonly #caps: Capabilities;
  readonly #words = new Map<number, number>();

  constructor(caps: Capabilities) {
    this.#caps = caps;
  }

  /** Whether a page is in a region. */
  covers(page: number): boolean {
    const { lowProtectedMemory, highProtectedMemory } = this.#caps;
    const lowEnd = (this.#word(PLMLIMIT) | LOW_BITS) >>> 12;
    if (lowProtectedMemory && page >= this.#word(PLMBASE) >>> 12 && page <= lowEnd) {
      return true;
    }
    const first = this.#word(PHMBASE + 4) * PAGES_PER_4G + (this.#word(PHMBASE) >>> 12);
    const last = this.#word(PHMLIMIT + 4) * PAGES_PER_4G + ((this.#word(PHMLIMIT) | LOW_BITS) >>> 12);
    return highProtectedMemory && page >= first && page <= last;
  }

  /** Whether a register belongs here. */
  has(offset: number): boolean {
    return offset >= PMEN && offset < PHMLIMIT + 8;
  }

  /** Reads 4 bytes. */
  read(offset: number): number {
    if (offset === PMEN) {
      return this.on ? PMEN_EPM + PMEN_PRS : 0;
    }
    return this.#word(offset);
  }

  /** Writes 4 bytes. Regions that the unit does not have read 0. */
  write(offset: number, value: number): void {
    const { lowProtectedMemory: low, highProtectedMemory: high } = this.#caps;
    if (offset === PMEN) {
      this.on = (low || high) && value >= PMEN_EPM;
    } else if (offset < PHMBASE ? low : high) {
      const upper = offset === PHMBASE + 4 || offset === PHMLIMIT + 4;
      this.#words.set(offset, upper ? value : (value & ~LOW_BITS) >>> 0);
    }
  }

  digest(into: Digest): void {
    into.number(this.on ? 1 : 0);
    for (const offset of [PLMBASE, PLMLIMIT, PHMBASE, PHMBASE + 4, PHMLIMIT, PHMLIMIT + 4]) {
      into.number(this.#word(offset));
    }
  }

  #word(offset: number): number {
    return this.#words.get(offset) ?? 0;
  }
}
