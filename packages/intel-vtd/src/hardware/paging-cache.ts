import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "@iommu-lab/pci";
import { Replacement } from "./cache-policy.ts";
import { power, shiftRight } from "./page-shift.ts";
import { TagStore } from "./tag-store.ts";

const LEVEL_SHIFT = 16;
const FIRST_STAGE = 1 << 20;
const NO_PASID_TAG = -1;

/** Rights collected above a table: reads. */
export const ABOVE_READ = 1;
/** Rights collected above a table: writes. */
export const ABOVE_WRITE = 2;
/** Rights collected above a table: user requests. */
export const ABOVE_USER = 4;

/**
 * Entries of page tables that point to lower tables. Those of the second stage are tagged by domain ID and address, so
 * that all requesters of a domain share them; those of the first stage by PASID too. Nested ones hold the host address of
 * the table and leave with every invalidation of the domain.
 *
 * Source: VT-d 5.10 §6.2.6, §6.5.2.
 */
export class PagingCache implements Digestible {
  /** Address of the table that was found. */
  table = 0;
  /** `ABOVE_` bits: what every entry above it permits. */
  rights = 0;
  readonly #store: TagStore;
  readonly #keeps: boolean;

  constructor(policy: CachePolicy) {
    const replacement = new Replacement(policy);
    this.#keeps = replacement.keeps;
    this.#store = new TagStore(replacement);
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#store.size;
  }

  /**
   * Finds the second-stage table of the lowest level that is known for a page.
   *
   * @returns its level, 1 … top - 1; 0 = none. `table` and `rights` hold it.
   */
  findSecondStage(domainId: number, page: number, top: number): number {
    return this.#find(domainId, NO_PASID_TAG, page, top);
  }

  /** Finds the first-stage table of the lowest level. See {@link findSecondStage}. */
  findFirstStage(domainId: number, pasid: number, page: number, top: number): number {
    return this.#find(domainId | FIRST_STAGE, pasid, page, top);
  }

  /** Remembers a second-stage table of a level. */
  keepSecondStage(domainId: number, page: number, level: number, table: number, rights: number): void {
    this.#keep(domainId, NO_PASID_TAG, page, level, table, rights);
  }

  /** Remembers a first-stage table of a level. */
  keepFirstStage(domainId: number, pasid: number, page: number, level: number, table: number, rights: number): void {
    this.#keep(domainId | FIRST_STAGE, pasid, page, level, table, rights);
  }

  /** Drops everything. */
  clear(): void {
    this.#store.clear();
  }

  /** Drops what carries a domain ID, of both stages. */
  invalidateDomain(domainId: number): void {
    this.#drop((slot) => this.#store.domainIds[slot] === domainId);
  }

  /**
   * Page-selective within a domain: first-stage tables of the domain go, and the second-stage tables of the pages unless
   * only leaves changed (IH).
   */
  invalidatePages(domainId: number, page: number, order: number, leafOnly: boolean): void {
    this.#drop(
      (slot) =>
        this.#store.domainIds[slot] === domainId &&
        (this.#firstStage(slot) || (!leafOnly && this.#overlaps(slot, page, order))),
    );
  }

  /** PASID-selective: first-stage tables. */
  invalidatePasid(domainId: number, pasid: number): void {
    this.#drop((slot) => this.#ofPasid(slot, domainId, pasid));
  }

  /** Page-selective within a PASID: first-stage tables of the pages, unless only leaves changed (IH). */
  invalidatePasidPages(domainId: number, pasid: number, page: number, order: number, leafOnly: boolean): void {
    if (!leafOnly) {
      this.#drop((slot) => this.#ofPasid(slot, domainId, pasid) && this.#overlaps(slot, page, order));
    }
  }

  digest(into: Digest): void {
    this.#store.digest(into);
  }

  #find(first: number, second: number, page: number, top: number): number {
    if (!this.#keeps) {
      return 0;
    }
    const store = this.#store;
    for (let level = 1; level < top; level += 1) {
      const slot = store.find(first | (level << LEVEL_SHIFT), second, shiftRight(page, 9 * level));
      if (slot >= 0) {
        this.table = store.target[slot] ?? 0;
        this.rights = store.flags[slot] ?? 0;
        return level;
      }
    }
    return 0;
  }

  #keep(first: number, second: number, page: number, level: number, table: number, rights: number): void {
    if (!this.#keeps) {
      return;
    }
    const store = this.#store;
    const slot = store.put(first | (level << LEVEL_SHIFT), second, shiftRight(page, 9 * level));
    store.target[slot] = table;
    store.flags[slot] = rights;
    store.domainIds[slot] = first & 0xffff;
    store.pasids[slot] = second;
  }

  #drop(matches: (slot: number) => boolean): void {
    const store = this.#store;
    for (let slot = 0; slot < store.end; slot += 1) {
      if (store.holds(slot) && matches(slot)) {
        store.remove(slot);
      }
    }
  }

  #firstStage(slot: number): boolean {
    return ((this.#store.first[slot] ?? 0) & FIRST_STAGE) !== 0;
  }

  #ofPasid(slot: number, domainId: number, pasid: number): boolean {
    return this.#firstStage(slot) && this.#store.domainIds[slot] === domainId && this.#store.pasids[slot] === pasid;
  }

  #overlaps(slot: number, page: number, order: number): boolean {
    const shift = 9 * (((this.#store.first[slot] ?? 0) >>> LEVEL_SHIFT) & 7);
    const first = (this.#store.pages[slot] ?? 0) * power(shift);
    return first < page + power(order) && page < first + power(shift);
  }
}
