import type { Digest, Digestible } from "@iommu-lab/core";
import type { PageRange } from "../layout/page-range.ts";
import type { CachePolicies } from "./cache-policy.ts";
import { TagCache } from "./tag-cache.ts";

/** Stands for "host translation" where a PASID is asked for. */
export const HOST = -1;

/** Flags of kept entries: reads are allowed. */
export const KEPT_READ = 1;
/** Writes are allowed. */
export const KEPT_WRITE = 2;
/** Instruction fetches are allowed. */
export const KEPT_EXECUTE = 4;
/** FC, or N through SnoopAttribute. */
export const KEPT_COHERENT = 8;
/** U. */
export const KEPT_UNTRANSLATED_ONLY = 16;
/** There is a page; without it the entry says that there is none (NpCache). */
export const KEPT_PRESENT = 32;
/** The host table took part in a guest translation. */
export const KEPT_HOST = 64;
/** A write needs no update of D in the tables. */
export const KEPT_DIRTY = 128;

const PRIVILEGED = 0x10000;
const DOMAIN = 0xffff;
const PAGES_OF: readonly number[] = Array.from({ length: 65 }, (_, sizeLog2) => 2 ** (sizeLog2 - 12));

/** The space of a domain's entries; guest entries of privileged requests have one of their own. */
export function spaceOf(domainId: number, privileged: boolean): number {
  return privileged ? domainId | PRIVILEGED : domainId;
}

/** Pages that the table of a level maps. */
function pagesBelow(level: number): number {
  return PAGES_OF[12 + 9 * level] ?? 1;
}

/**
 * What a unit keeps of page tables: translations, entries of upper tables, and GCR3 entries, by DomainID and PASID.
 * Permissions of the DTE are no part of them. Nothing leaves but by an invalidation or by the {@link CachePolicies}.
 *
 * Source: AMD IOMMU specification §2.2.8, §2.4.3.
 */
export class TranslationCaches implements Digestible {
  /** Translations: kind is log2 of the size, value the first host page. */
  readonly translations: TagCache;
  /** Upper tables: kind is the level of the table pointed to, value its address. */
  readonly directories: TagCache;
  /** GCR3 entries: value is the address of the guest's top table. */
  readonly gcr3: TagCache;
  /** log2 of sizes that were ever kept; lookups try each. */
  readonly #sizes: number[] = [];

  constructor(policies: Required<CachePolicies>) {
    this.translations = new TagCache(policies.translations);
    this.directories = new TagCache(policies.directories);
    this.gcr3 = new TagCache(policies.gcr3);
  }

  /** The slot of a translation of a page; -1 = none. @param pasid the PASID, or {@link HOST} */
  find(space: number, pasid: number, page: number): number {
    const sizes = this.#sizes;
    for (let index = 0; index < sizes.length; index += 1) {
      const sizeLog2 = sizes[index] ?? 12;
      const prefix = sizeLog2 === 12 ? page : Math.floor(page / (PAGES_OF[sizeLog2] ?? 1));
      const slot = this.translations.find(space, pasid, sizeLog2, prefix);
      if (slot >= 0) {
        return slot;
      }
    }
    return -1;
  }

  /** Keeps the translation of a page whose host page is `target`. */
  keep(
    space: number,
    pasid: number,
    page: number,
    sizeLog2: number,
    target: number,
    flags: number,
    line: number,
  ): void {
    if (this.translations.off) {
      return;
    }
    if (!this.#sizes.includes(sizeLog2)) {
      this.#sizes.push(sizeLog2);
    }
    const pages = PAGES_OF[sizeLog2] ?? 1;
    const prefix = sizeLog2 === 12 ? page : Math.floor(page / pages);
    const first = sizeLog2 === 12 ? target : target - (target % pages);
    this.translations.keep(space, pasid, sizeLog2, prefix, first, flags, line);
  }

  /** Host page of a page by a slot from {@link TranslationCaches.find}. */
  target(slot: number, page: number): number {
    const first = this.translations.value(slot);
    const sizeLog2 = this.translations.kind(slot);
    return sizeLog2 === 12 ? first : first + (page % (PAGES_OF[sizeLog2] ?? 1));
  }

  /** The slot in `directories` of the table of `level` that maps a page; -1 = not kept. */
  findTable(space: number, pasid: number, level: number, page: number): number {
    return this.directories.find(space, pasid, level, Math.floor(page / pagesBelow(level)));
  }

  /** Keeps the table of `level` that maps a page. */
  keepTable(
    space: number,
    pasid: number,
    level: number,
    page: number,
    table: number,
    flags: number,
    line: number,
  ): void {
    if (!this.directories.off) {
      this.directories.keep(space, pasid, level, Math.floor(page / pagesBelow(level)), table, flags, line);
    }
  }

  /**
   * INVALIDATE_IOMMU_PAGES: guest translations of a PASID by guest address, or host translations by their address together
   * with everything of guests that was found through the host table, since the guest addresses of those are not known. The
   * GCR3 entry of the PASID goes too.
   *
   * @param pasid the PASID, or {@link HOST}
   * @param directories PDE: entries of upper tables as well
   */
  invalidate(domainId: number, pasid: number, range: PageRange, directories: boolean): void {
    const end = range.page + (PAGES_OF[range.sizeLog2] ?? 1);
    const { translations, gcr3 } = this;
    dropWhere(translations, domainId, pasid, (slot) =>
      overlaps(translations.prefix(slot), PAGES_OF[translations.kind(slot)] ?? 1, range.page, end),
    );
    if (directories) {
      const tables = this.directories;
      dropWhere(tables, domainId, pasid, (slot) =>
        overlaps(tables.prefix(slot), pagesBelow(tables.kind(slot)), range.page, end),
      );
    }
    dropWhere(gcr3, domainId, pasid, () => true);
  }

  /** INVALIDATE_IOMMU_ALL. */
  clear(): void {
    this.translations.clear();
    this.directories.clear();
    this.gcr3.clear();
  }

  digest(into: Digest): void {
    this.translations.digest(into);
    this.directories.digest(into);
    this.gcr3.digest(into);
  }
}

function overlaps(prefix: number, pages: number, first: number, end: number): boolean {
  const start = prefix * pages;
  return start < end && first < start + pages;
}

/** Drops entries of a domain: those of the PASID that match; for {@link HOST} also those of guests with a host part. */
function dropWhere(cache: TagCache, domainId: number, pasid: number, matches: (slot: number) => boolean): void {
  for (let slot = 0; slot < cache.end; slot += 1) {
    if (!cache.holds(slot) || (cache.space(slot) & DOMAIN) !== domainId) {
      continue;
    }
    const own = cache.pasid(slot) === pasid && matches(slot);
    const nested = pasid === HOST && cache.pasid(slot) !== HOST && (cache.flags(slot) & KEPT_HOST) !== 0;
    if (own || nested) {
      cache.drop(slot);
    }
  }
}
