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
import type { FetchedDte } from "./fetched-dte.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import { HOST, KEPT_READ, KEPT_WRITE } from "./translation-caches.ts";
import type { Need } from "./walk.ts";
import { Walk, lacks, tableIndex } from "./walk.ts";

const TOP_LEVEL = 6;
/** A of an entry, bit 5. */
const ACCESSED = 0x20;
/** D of a leaf, bit 6. */
const DIRTY = 0x40;
/** HAD: A and D. */
const TRACKS_DIRTY = 3;
/** First page above a table of a level. */
const END_PAGE: readonly number[] = [0, 1, 2, 3, 4, 5, 6].map((level) => 2 ** (9 * level));

/**
 * Walks host (v1) tables from the lowest table that is kept. Every entry on the way must allow the access; a pointer may skip
 * levels when the index bits of the levels left out are 0. With HAD the entries used get A, and the leaf of a write D.
 *
 * Source: AMD IOMMU specification §2.2.3; §2.2.3.2 (HAD).
 */
export class HostWalk {
  /** What the last walk found. */
  readonly found: Walk = new Walk();
  readonly #memory: PhysicalMemory;
  readonly #caches: TranslationCaches;
  #table = 0;
  #level = 0;

  constructor(memory: PhysicalMemory, caches: TranslationCaches) {
    this.#memory = memory;
    this.#caches = caches;
  }

  /**
   * Walks from a table of level Mode, which is not 0.
   *
   * @param dirties the access makes the page dirty
   * @returns whether a page was found
   */
  run(dte: FetchedDte, page: number, need: Need, dirties: boolean): boolean {
    const { found } = this;
    found.start();
    if (dte.mode < TOP_LEVEL && page >= (END_PAGE[dte.mode] ?? 0)) {
      return found.fault(0);
    }
    this.#table = dte.hostRoot;
    this.#level = dte.mode;
    if (!this.#caches.directories.off && this.#resume(dte, page) && this.#denied(dte, need)) {
      return false;
    }
    return this.#descend(dte, page, need, dirties);
  }

  #descend(dte: FetchedDte, page: number, need: Need, dirties: boolean): boolean {
    const { found } = this;
    const memory = this.#memory;
    for (;;) {
      const level = this.#level;
      const slot = this.#table + tableIndex(page, level) * 8;
      found.line = slot;
      if (!memory.load64(slot)) {
        return found.hardware();
      }
      const { lo, hi } = memory;
      if (!this.#permits(dte, lo, hi, need)) {
        return false;
      }
      const next = nextLevel(lo);
      if (next === NEXT_LEVEL_LEAF || next === NEXT_LEVEL_SIZED) {
        return this.#leaf(dte, lo, hi, page, dirties);
      }
      if (next >= level || skipped(page, next, level)) {
        return found.fault(EVENT_PR);
      }
      if (dte.accessDirty !== 0 && (lo & ACCESSED) === 0) {
        memory.store64(slot, (lo | ACCESSED) >>> 0, hi);
      }
      this.#table = address52(lo, hi);
      this.#level = next;
      this.#keep(dte, page);
    }
  }

  /** Goes on from the lowest table that is kept. */
  #resume(dte: FetchedDte, page: number): boolean {
    const { found } = this;
    const caches = this.#caches;
    for (let level = 1; level < dte.mode; level += 1) {
      const slot = caches.findTable(dte.domainId, HOST, level, page);
      if (slot >= 0) {
        const flags = caches.directories.flags(slot);
        found.read = (flags & KEPT_READ) !== 0;
        found.write = (flags & KEPT_WRITE) !== 0;
        found.line = caches.directories.line(slot);
        this.#table = caches.directories.value(slot);
        this.#level = level;
        return true;
      }
    }
    return false;
  }

  #keep(dte: FetchedDte, page: number): void {
    const { read, write, line } = this.found;
    const flags = (read ? KEPT_READ : 0) | (write ? KEPT_WRITE : 0);
    this.#caches.keepTable(dte.domainId, HOST, this.#level, page, this.#table, flags, line);
  }

  /** Present, no reserved bits, and the access allowed so far. */
  #permits(dte: FetchedDte, lo: number, hi: number, need: Need): boolean {
    const { found } = this;
    if ((lo & HOST_PRESENT) === 0) {
      return found.fault(0);
    }
    const next = nextLevel(lo);
    const leaf = this.#level === 1 || next === NEXT_LEVEL_LEAF || next === NEXT_LEVEL_SIZED;
    if ((hi & (leaf ? HOST_LEAF_RESERVED_HI : HOST_TABLE_RESERVED_HI)) !== 0) {
      return found.fault(EVENT_PR | EVENT_RZ);
    }
    found.read &&= (hi & HOST_READ_HI) !== 0;
    found.write &&= (hi & HOST_WRITE_HI) !== 0;
    return !this.#denied(dte, need);
  }

  #denied(dte: FetchedDte, need: Need): boolean {
    const { found } = this;
    const denied = lacks(need, found.read && dte.read, found.write && dte.write);
    return denied && !found.fault(EVENT_PR | EVENT_PE);
  }

  #leaf(dte: FetchedDte, lo: number, hi: number, page: number, dirties: boolean): boolean {
    const { found } = this;
    const level = this.#level;
    const coded = nextLevel(lo) === NEXT_LEVEL_SIZED;
    const sizeLog2 = coded ? codedSizeLog2(lo, hi) : defaultSizeLog2(level);
    const tooLarge = level < TOP_LEVEL && sizeLog2 >= defaultSizeLog2(level + 1);
    const tooSmall = coded && sizeLog2 <= defaultSizeLog2(level);
    if (tooLarge || tooSmall || (!coded && level === TOP_LEVEL)) {
      return found.fault(EVENT_PR);
    }
    if (sizeLog2 === 12) {
      found.page = address52(lo, hi) / 4096;
    } else {
      const pages = 2 ** (sizeLog2 - 12);
      found.page = Math.floor(hostAddress(lo, hi) / 4096 / pages) * pages + (page % pages);
    }
    found.sizeLog2 = sizeLog2;
    found.forceCoherent = (hi & HOST_FORCE_COHERENT_HI) !== 0;
    found.untranslatedOnly = (hi & HOST_UNTRANSLATED_ONLY_HI) !== 0;
    if (dte.accessDirty !== 0) {
      this.#track(dte, lo, hi, dirties && found.write && dte.write);
    }
    return true;
  }

  #track(dte: FetchedDte, lo: number, hi: number, dirties: boolean): void {
    const { found } = this;
    const tracks = dte.accessDirty === TRACKS_DIRTY;
    const marked = (lo | ACCESSED | (tracks && dirties ? DIRTY : 0)) >>> 0;
    if (marked !== lo) {
      this.#memory.store64(found.line, marked, hi);
    }
    found.dirty = !tracks || (marked & DIRTY) !== 0;
  }
}

/** Whether index bits of the levels between `next` and `level` are not 0. */
function skipped(page: number, next: number, level: number): boolean {
  if (next === level - 1) {
    return false;
  }
  const below = 2 ** (9 * next);
  const span = 2 ** (9 * (level - 1 - next));
  return Math.floor(page / below) % span !== 0;
}
