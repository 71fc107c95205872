import type { PhysicalMemory } from "@iommu-lab/core";
import { address52 } from "@iommu-lab/core";
import { EVENT_PE, EVENT_PR, EVENT_RZ } from "../layout/event.ts";
import {
  HOST_FORCE_COHERENT_HI,
  HOST_LEAF_RESERVED_HI,
  HOST_PRESENT,
  HOST_READ_HI,
  HOST_TABLE_RESERVED_HI,
  HOST_UNTRANSLATED_ONLY_HI,
  HOST_WRITE_HI,
  NEXT_LEVEL_LEAF,
  NEXT_LEVEL_SIZED,
  codedSizeLog2,
  defaultSizeLog2,
  hostAddress,
  nextLevel,
} from "../layout/host-page-table.ts";
import type { Need } from "./walk.ts";
import { Walk, lacks } from "./walk.ts";

const TOP_LEVEL = 6;

/**
 * Walks host (v1) tables. Every entry on the way must allow the access; a pointer may skip levels when the index bits of
 * the levels left out are 0.
 *
 * Source: AMD IOMMU specification §2.2.3.
 */
export class HostWalk {
  /** What the last walk found. */
  readonly found: Walk = new Walk();
  readonly #memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  /**
   * Walks from a table of level `mode`.
   *
   * @param root address of the top table
   * @param mode 1 … 6
   * @param page page number
   * @param allowRead IR of the DTE
   * @param allowWrite IW of the DTE
   * @returns whether a page was found
   */
  run(root: number, mode: number, page: number, need: Need, allowRead: boolean, allowWrite: boolean): boolean {
    const { found } = this;
    found.start();
    if (mode < TOP_LEVEL && page >= 2 ** (9 * mode)) {
      return found.fault(0);
    }
    let table = root;
    let level = mode;
    for (;;) {
      const slot = table + (Math.floor(page / 2 ** (9 * (level - 1))) % 512) * 8;
      found.line = slot;
      if (!this.#memory.load64(slot)) {
        return found.hardware();
      }
      const { lo, hi } = this.#memory;
      if (!this.#permits(lo, hi, level, need, allowRead, allowWrite)) {
        return false;
      }
      const next = nextLevel(lo);
      if (next === NEXT_LEVEL_LEAF || next === NEXT_LEVEL_SIZED) {
        return this.#leaf(lo, hi, level, page);
      }
      if (next >= level || skipped(page, next, level)) {
        return found.fault(EVENT_PR);
      }
      table = address52(lo, hi);
      level = next;
    }
  }

  /** Present, no reserved bits, and the access allowed so far. */
  #permits(lo: number, hi: number, level: number, need: Need, allowRead: boolean, allowWrite: boolean): boolean {
    const { found } = this;
    if ((lo & HOST_PRESENT) === 0) {
      return found.fault(0);
    }
    const next = nextLevel(lo);
    const leaf = level === 1 || next === NEXT_LEVEL_LEAF || next === NEXT_LEVEL_SIZED;
    if ((hi & (leaf ? HOST_LEAF_RESERVED_HI : HOST_TABLE_RESERVED_HI)) !== 0) {
      return found.fault(EVENT_PR | EVENT_RZ);
    }
    found.read &&= (hi & HOST_READ_HI) !== 0;
    found.write &&= (hi & HOST_WRITE_HI) !== 0;
    const denied = lacks(need, found.read && allowRead, found.write && allowWrite);
    return denied ? found.fault(EVENT_PR | EVENT_PE) : true;
  }

  #leaf(lo: number, hi: number, level: number, page: number): boolean {
    const { found } = this;
    const coded = nextLevel(lo) === NEXT_LEVEL_SIZED;
    const sizeLog2 = coded ? codedSizeLog2(lo, hi) : defaultSizeLog2(level);
    const tooLarge = level < TOP_LEVEL && sizeLog2 >= defaultSizeLog2(level + 1);
    const tooSmall = coded && sizeLog2 <= defaultSizeLog2(level);
    if (tooLarge || tooSmall || (!coded && level === TOP_LEVEL)) {
      return found.fault(EVENT_PR);
    }
    const pages = 2 ** (sizeLog2 - 12);
    const start = Math.floor(hostAddress(lo, hi) / 4096 / pages) * pages;
    found.page = start + (page % pages);
    found.sizeLog2 = sizeLog2;
    found.forceCoherent = (hi & HOST_FORCE_COHERENT_HI) !== 0;
    found.untranslatedOnly = (hi & HOST_UNTRANSLATED_ONLY_HI) !== 0;
    return true;
  }
}

/** Whether index bits of the levels between `next` and `level` are not 0. */
function skipped(page: number, next: number, level: number): boolean {
  const below = 2 ** (9 * next);
  const span = 2 ** (9 * (level - 1 - next));
  return Math.floor(page / below) % span !== 0;
}
