import type { PhysicalMemory } from "@iommu-lab/core";
import { address52 } from "@iommu-lab/core";
import { EVENT_NX, EVENT_PE, EVENT_PR, EVENT_RZ } from "../layout/event.ts";
import { ALL_PAGES } from "../layout/page-range.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { Gcr3Walk } from "./gcr3-walk.ts";
import type { HostTranslation } from "./host-translation.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import { KEPT_EXECUTE, KEPT_HOST, KEPT_READ, KEPT_WRITE, spaceOf } from "./translation-caches.ts";
import type { Need, Walk } from "./walk.ts";
import { lacks, tableIndex } from "./walk.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
const NO_EXECUTE_HI = 2 ** 31;
/** PAT of a page of 4 KiB, bit 7; of a larger one bit 12. */
const PAT = 0x80;
const PAT_LARGE = 0x1000;

/** Pages of a table with so many levels. */
const SPANS: readonly number[] = [0, 1, 2, 3, 4, 5].map((levels) => 2 ** (9 * levels));

/** An access to a guest address. */
export interface GuestAccess {
  readonly pasid: number;
  readonly need: Need;
  readonly privileged: boolean;
  readonly execute: boolean;
  /** It makes the page dirty. */
  readonly dirties: boolean;
}

/** What a walk of a guest's tables works with. */
export interface GuestWalkParts {
  readonly memory: PhysicalMemory;
  readonly caches: TranslationCaches;
  /** Translates guest physical addresses. */
  readonly host: HostTranslation;
  /** Finds the guest's top table. */
  readonly gcr3: Gcr3Walk;
  /** GDUpdateDis of Control: D of guest entries is not written. */
  dirtyUpdateOff(): boolean;
}

/**
 * Walks a PASID's guest (v2) page table; with Mode other than 0 every guest physical address on the way goes through the
 * host table. Entries used get A, the leaf of a write D.
 *
 * Source: AMD IOMMU specification §2.2.6; AMD64 Architecture Programmer's Manual, volume 2 §5.3, §5.4.
 */
export class GuestWalk {
  /** What the last walk found; permissions of the DTE are no part of it. */
  readonly found: Walk;
  readonly #parts: GuestWalkParts;
  #table = 0;
  #level = 0;
  /** The host table lets the table that is walked be written. */
  #tableWritable = true;

  constructor(parts: GuestWalkParts) {
    this.#parts = parts;
    this.found = parts.gcr3.found;
  }

  /** @returns whether a page was found */
  run(dte: FetchedDte, page: number, access: GuestAccess): boolean {
    const { found } = this;
    const { gcr3, caches } = this.#parts;
    found.start();
    const root = gcr3.run(dte, access.pasid);
    if (root < 0) {
      return false;
    }
    this.#table = root;
    this.#level = 4 + dte.guestPagingMode;
    if (!isCanonical(page, this.#level, access.pasid)) {
      return found.fault(0);
    }
    if (!caches.directories.off && this.#resume(dte, page, access) && this.#denied(dte, access)) {
      return false;
    }
    return this.#descend(dte, page, access);
  }

  #descend(dte: FetchedDte, page: number, access: GuestAccess): boolean {
    const { found } = this;
    const { memory } = this.#parts;
    for (;;) {
      if (!this.#hostPage(dte)) {
        return false;
      }
      const slot = this.#table + tableIndex(page, this.#level) * 8;
      found.line = slot;
      if (!memory.load64(slot)) {
        return found.hardware();
      }
      const { lo, hi } = memory;
      if (!this.#permits(dte, lo, hi, access)) {
        return false;
      }
      const large = this.#level > 1 && (lo & LARGE) !== 0;
      if (large && this.#level > 3) {
        return found.fault(EVENT_PR | EVENT_RZ);
      }
      if (this.#level === 1 || large) {
        return this.#leaf(dte, lo, hi, page, access);
      }
      if (!this.#mark(slot, lo, hi, ACCESSED)) {
        return false;
      }
      this.#table = address52(lo, hi);
      this.#level -= 1;
      this.#keep(dte, page, access);
    }
  }

  /** Goes on from the lowest table that is kept. */
  #resume(dte: FetchedDte, page: number, access: GuestAccess): boolean {
    const { found } = this;
    const { caches } = this.#parts;
    const space = spaceOf(dte.domainId, access.privileged);
    for (let level = 1; level < this.#level; level += 1) {
      const slot = caches.findTable(space, access.pasid, level, page);
      if (slot >= 0) {
        const flags = caches.directories.flags(slot);
        found.read = (flags & KEPT_READ) !== 0;
        found.write = (flags & KEPT_WRITE) !== 0;
        found.execute = (flags & KEPT_EXECUTE) !== 0;
        found.line = caches.directories.line(slot);
        this.#table = caches.directories.value(slot);
        this.#level = level;
        return true;
      }
    }
    return false;
  }

  #keep(dte: FetchedDte, page: number, access: GuestAccess): void {
    const { read, write, execute, line } = this.found;
    const rights = (read ? KEPT_READ : 0) | (write ? KEPT_WRITE : 0) | (execute ? KEPT_EXECUTE : 0);
    const flags = dte.mode === 0 ? rights : rights | KEPT_HOST;
    const space = spaceOf(dte.domainId, access.privileged);
    this.#parts.caches.keepTable(space, access.pasid, this.#level, page, this.#table, flags, line);
  }

  #permits(dte: FetchedDte, lo: number, hi: number, access: GuestAccess): boolean {
    const { found } = this;
    if ((lo & PRESENT) === 0) {
      return found.fault(0);
    }
    const user = access.privileged || (lo & USER) !== 0;
    found.read &&= user;
    found.write &&= user && (lo & WRITABLE) !== 0;
    found.execute &&= user && (hi & NO_EXECUTE_HI) === 0;
    return !this.#denied(dte, access);
  }

  #denied(dte: FetchedDte, access: GuestAccess): boolean {
    const { found } = this;
    if (lacks(access.need, found.read && dte.read, found.write && dte.write)) {
      return !found.fault(EVENT_PR | EVENT_PE);
    }
    return access.execute && !found.execute && !found.fault(EVENT_PR | EVENT_PE | EVENT_NX);
  }

  #leaf(dte: FetchedDte, lo: number, hi: number, page: number, access: GuestAccess): boolean {
    const { found } = this;
    const level = this.#level;
    const dirties = access.dirties && found.write && dte.write && !this.#parts.dirtyUpdateOff();
    if (level === 1) {
      found.page = address52(lo, hi) / 4096;
    } else if (!this.#largePage(lo, hi, page)) {
      return false;
    }
    if (!this.#mark(found.line, lo, hi, dirties ? ACCESSED | DIRTY : ACCESSED)) {
      return false;
    }
    found.dirty = dirties || (lo & DIRTY) !== 0 || this.#parts.dirtyUpdateOff();
    found.forceCoherent = dte.attributeValid && snoops(dte.snoopAttribute, lo, level);
    return dte.mode === 0 || this.#throughHost(dte, access);
  }

  #largePage(lo: number, hi: number, page: number): boolean {
    const { found } = this;
    const pages = 2 ** (9 * (this.#level - 1));
    const start = address52(lo, hi) / 4096;
    // PAT of a large page is bit 12; the other bits below the size are reserved.
    if (Math.floor((start % pages) / 2) !== 0) {
      return found.fault(EVENT_PR | EVENT_RZ);
    }
    found.sizeLog2 = 12 + 9 * (this.#level - 1);
    found.page = Math.floor(start / pages) * pages + (page % pages);
    return true;
  }

  /** The guest physical page of the leaf, through the host table. */
  #throughHost(dte: FetchedDte, access: GuestAccess): boolean {
    const { found } = this;
    const { host } = this.#parts;
    if (!host.run(dte, found.page, access.need, access.dirties && found.write)) {
      return this.#hostFailed();
    }
    const inner = host.found;
    found.page = inner.page;
    found.sizeLog2 = Math.min(found.sizeLog2, inner.sizeLog2);
    found.read &&= inner.read;
    found.write &&= inner.write;
    found.forceCoherent ||= inner.forceCoherent;
    found.untranslatedOnly = inner.untranslatedOnly;
    found.dirty &&= inner.dirty;
    return true;
  }

  /** Turns the guest physical address of the table into a host address. */
  #hostPage(dte: FetchedDte): boolean {
    this.#tableWritable = true;
    if (dte.mode === 0) {
      return true;
    }
    const { host } = this.#parts;
    if (!host.run(dte, this.#table / 4096, "read", false)) {
      return this.#hostFailed();
    }
    this.#table = host.found.page * 4096;
    this.#tableWritable = host.found.write && dte.write;
    return true;
  }

  /** Sets A or D. @returns false when the host table forbids it */
  #mark(slot: number, lo: number, hi: number, bits: number): boolean {
    if ((lo & bits) === bits) {
      return true;
    }
    if (!this.#tableWritable) {
      return this.found.fault(EVENT_PR | EVENT_PE);
    }
    this.#parts.memory.store64(slot, (lo | bits) >>> 0, hi);
    return true;
  }

  #hostFailed(): false {
    const { found } = this.#parts.host;
    this.found.line = found.line;
    return found.end === "hardware" ? this.found.hardware() : this.found.fault(found.flags);
  }
}

/** The bit of SnoopAttribute that PAT, PCD and PWT of a leaf choose. */
function snoops(attribute: number, lo: number, level: number): boolean {
  const pat = (lo & (level === 1 ? PAT : PAT_LARGE)) === 0 ? 0 : 4;
  return ((attribute >>> (pat | ((lo >>> 3) & 3))) & 1) === 1;
}

/**
 * Whether an address is in the range of a guest table: sign-extended, but for PASID 0 zero-extended.
 *
 * Source: Linux 7.2 `amd_iommu_domain_alloc_paging_v2()` for PASID 0.
 */
function isCanonical(page: number, levels: number, pasid: number): boolean {
  const span = SPANS[levels] ?? 1;
  if (page < span) {
    return pasid === 0 || page < span / 2;
  }
  return pasid !== 0 && page >= ALL_PAGES - span / 2;
}
