import type { Digest, Digestible } from "@iommu-lab/core";
import type { PageRange } from "../layout/page-range.ts";
import type { CachePolicy } from "./cache-policy.ts";
import type { Walk } from "./walk.ts";

/** Stands for "host translation" where a PASID is asked for. */
export const HOST = -1;

/** A translation of one page, as it was found. */
export interface IoTlbEntry {
  readonly page: number;
  /** Host page number. */
  readonly target: number;
  /** log2 of the size of the page it is part of. */
  readonly sizeLog2: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly forceCoherent: boolean;
  readonly untranslatedOnly: boolean;
  /** False: there was no page (kept only when the unit caches such entries). */
  readonly present: boolean;
  /** The host table took part. */
  readonly host: boolean;
  /** Address of the leaf entry. */
  readonly line: number;
}

/** Translations of one DomainID and PASID. */
interface Space {
  readonly domainId: number;
  readonly pasid: number;
  readonly privileged: boolean;
  readonly pages: Map<number, IoTlbEntry>;
}

/**
 * Translations by DomainID, PASID and page. Permissions of the DTE are no part of them. Nothing leaves but by an
 * invalidation.
 *
 * Source: AMD IOMMU specification §2.2.8, §2.4.3.
 */
export class IoTlb implements Digestible {
  readonly #keep: boolean;
  readonly #spaces = new Map<number, Space>();

  constructor(policy: CachePolicy) {
    this.#keep = policy === "keep-all";
  }

  /** How many translations are kept. */
  get size(): number {
    let count = 0;
    for (const { pages } of this.#spaces.values()) {
      count += pages.size;
    }
    return count;
  }

  /** @param pasid the PASID of a guest translation, or {@link HOST} */
  lookup(domainId: number, pasid: number, privileged: boolean, page: number): IoTlbEntry | undefined {
    return this.#spaces.get(keyOf(domainId, pasid, privileged))?.pages.get(page);
  }

  /** Remembers what a walk found; with `present` false that there is no page. */
  keep(
    domainId: number,
    pasid: number,
    privileged: boolean,
    page: number,
    found: Walk,
    host: boolean,
    present: boolean,
  ): void {
    if (!this.#keep) {
      return;
    }
    const key = keyOf(domainId, pasid, privileged);
    let space = this.#spaces.get(key);
    if (space === undefined) {
      space = { domainId, pasid, privileged, pages: new Map() };
      this.#spaces.set(key, space);
    }
    const { sizeLog2, read, write, execute, forceCoherent, untranslatedOnly, line } = found;
    const rights = { read, write, execute, forceCoherent, untranslatedOnly };
    space.pages.set(page, { page, target: found.page, sizeLog2, ...rights, present, host, line });
  }

  /**
   * INVALIDATE_IOMMU_PAGES: guest translations of a PASID by guest address, or host translations by their address together
   * with all guest translations that went through the host table.
   *
   * @param pasid the PASID, or {@link HOST}
   */
  invalidate(domainId: number, pasid: number, range: PageRange): void {
    const end = range.page + 2 ** (range.sizeLog2 - 12);
    for (const space of this.#spaces.values()) {
      if (space.domainId !== domainId) {
        continue;
      }
      if (space.pasid === pasid) {
        dropWhere(space, (entry) => overlaps(entry, range.page, end));
      } else if (pasid === HOST) {
        dropWhere(space, (entry) => entry.host);
      }
    }
  }

  /** INVALIDATE_IOMMU_ALL. */
  clear(): void {
    this.#spaces.clear();
  }

  digest(into: Digest): void {
    const used = [...this.#spaces].filter(([, { pages }]) => pages.size > 0);
    for (const [key, { pages }] of used.toSorted((a, b) => a[0] - b[0])) {
      into.number(key);
      for (const [, entry] of [...pages].toSorted((a, b) => a[0] - b[0])) {
        into.text(JSON.stringify(entry));
      }
    }
  }
}

function keyOf(domainId: number, pasid: number, privileged: boolean): number {
  return (domainId * 2 ** 21 + pasid + 1) * 2 + (privileged ? 1 : 0);
}

function overlaps(entry: IoTlbEntry, first: number, end: number): boolean {
  const pages = 2 ** (entry.sizeLog2 - 12);
  const start = entry.page - (entry.page % pages);
  return start < end && first < start + pages;
}

function dropWhere(space: Space, matches: (entry: IoTlbEntry) => boolean): void {
  for (const [page, entry] of space.pages) {
    if (matches(entry)) {
      space.pages.delete(page);
    }
  }
}
