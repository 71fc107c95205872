import type { Digest, Digestible } from "@iommu-lab/core";
import { PGTT_FIRST_STAGE, PGTT_NESTED } from "../layout/pasid-entry.ts";
import type { CachePolicy } from "@iommu-lab/pci";
import { Replacement } from "./cache-policy.ts";
import { power, shiftRight } from "./page-shift.ts";
import { TagStore } from "./tag-store.ts";

const READ = 1;
const WRITE = 2;
const SNOOP = 4;
const DIRTY = 8;
const FAULT_DISABLE = 16;
const TYPE_SHIFT = 8;
const SIZE_SHIFT = 12;
const FAULT_SHIFT = 20;

const PRIVILEGED = 1 << 16;
const SIZE_TAG_SHIFT = 17;

/** A translation as the IOTLB takes and gives it. One object per use, reused. */
export class Translation {
  /** log2 of its size in bytes, 12 … 51. */
  sizeLog2 = 12;
  /** Host page of the first page. */
  target = 0;
  read = false;
  write = false;
  /** SNP or PGSNP. */
  snoop = false;
  /** A write needs no dirty bit set any more. */
  dirty = false;
  /** FPD was 1 on the way: qualified faults are not recorded. */
  faultDisable = false;
  /** Fault code of a translation that is remembered as missing (caching mode), else 0. */
  fault = 0;
  /** DID under which it was made. */
  domainId = 0;
  /** PGTT, 0 in legacy mode. */
  translationType = 0;
  /** PASID used, RID_PASID for requests without one; NO_PASID in legacy mode. */
  pasid = -1;
}

/**
 * Translations by requester, PASID, privilege and page; invalidated by domain ID, PASID and page. Requests without PASID
 * have entries of their own that carry RID_PASID as a tag.
 *
 * Source: VT-d 5.10 §6.2.5, §6.5.2.
 */
export class IoTlb implements Digestible {
  readonly #store: TagStore;
  readonly #keeps: boolean;
  /** Sizes that may occur, as log2, smallest first. */
  readonly #sizes: number[] = [];

  constructor(policy: CachePolicy) {
    const replacement = new Replacement(policy);
    this.#keeps = replacement.keeps;
    this.#store = new TagStore(replacement);
  }

  /** How many translations are kept. */
  get size(): number {
    return this.#store.size;
  }

  /**
   * Finds a translation for a request.
   *
   * @param pasid what the request carries, or NO_PASID
   * @returns whether there is one; then `into` holds it
   */
  lookup(rid: number, pasid: number, privileged: boolean, page: number, into: Translation): boolean {
    const store = this.#store;
    for (const sizeLog2 of this.#sizes) {
      const slot = store.find(tagOf(rid, privileged, sizeLog2), pasid, shiftRight(page, sizeLog2 - 12));
      if (slot >= 0) {
        const flags = store.flags[slot] ?? 0;
        into.sizeLog2 = sizeLog2;
        into.target = store.target[slot] ?? 0;
        into.read = (flags & READ) !== 0;
        into.write = (flags & WRITE) !== 0;
        into.snoop = (flags & SNOOP) !== 0;
        into.dirty = (flags & DIRTY) !== 0;
        into.faultDisable = (flags & FAULT_DISABLE) !== 0;
        into.fault = (flags >>> FAULT_SHIFT) & 0xff;
        into.translationType = (flags >>> TYPE_SHIFT) & 7;
        into.domainId = store.domainIds[slot] ?? 0;
        into.pasid = store.pasids[slot] ?? 0;
        return true;
      }
    }
    return false;
  }

  /** Remembers a translation of the page of a request. */
  keep(rid: number, pasid: number, privileged: boolean, page: number, made: Translation): void {
    if (!this.#keeps) {
      return;
    }
    const store = this.#store;
    if (!this.#sizes.includes(made.sizeLog2)) {
      this.#sizes.push(made.sizeLog2);
      this.#sizes.sort((one, other) => one - other);
    }
    const slot = store.put(tagOf(rid, privileged, made.sizeLog2), pasid, shiftRight(page, made.sizeLog2 - 12));
    store.target[slot] = made.target;
    store.domainIds[slot] = made.domainId;
    store.pasids[slot] = made.pasid;
    store.flags[slot] =
      (made.read ? READ : 0) |
      (made.write ? WRITE : 0) |
      (made.snoop ? SNOOP : 0) |
      (made.dirty ? DIRTY : 0) |
      (made.faultDisable ? FAULT_DISABLE : 0) |
      (made.translationType << TYPE_SHIFT) |
      (made.sizeLog2 << SIZE_SHIFT) |
      (made.fault << FAULT_SHIFT);
  }

  /** Drops everything. */
  clear(): void {
    this.#store.clear();
    this.#sizes.length = 0;
  }

  /** Domain-selective: whatever carries the domain ID. */
  invalidateDomain(domainId: number): void {
    this.#drop((slot) => this.#store.domainIds[slot] === domainId);
  }

  /** Page-selective within a domain: first-stage translations of the domain go whatever their page. */
  invalidatePages(domainId: number, page: number, order: number): void {
    this.#drop(
      (slot) =>
        this.#store.domainIds[slot] === domainId && (this.#firstStage(slot) || this.#overlaps(slot, page, order)),
    );
  }

  /** PASID-selective: whatever carries domain ID and PASID. */
  invalidatePasid(domainId: number, pasid: number): void {
    this.#drop((slot) => this.#store.domainIds[slot] === domainId && this.#store.pasids[slot] === pasid);
  }

  /** Page-selective within a PASID: first-stage translations alone. */
  invalidatePasidPages(domainId: number, pasid: number, page: number, order: number): void {
    this.#drop(
      (slot) =>
        this.#store.domainIds[slot] === domainId &&
        this.#store.pasids[slot] === pasid &&
        this.#firstStage(slot) &&
        this.#overlaps(slot, page, order),
    );
  }

  digest(into: Digest): void {
    this.#store.digest(into);
  }

  #drop(matches: (slot: number) => boolean): void {
    const store = this.#store;
    for (let slot = 0; slot < store.end; slot += 1) {
      if (store.holds(slot) && matches(slot)) {
        store.remove(slot);
      }
    }
  }

  #sizeOf(slot: number): number {
    return ((this.#store.flags[slot] ?? 0) >>> SIZE_SHIFT) & 0x3f;
  }

  #firstStage(slot: number): boolean {
    const type = ((this.#store.flags[slot] ?? 0) >>> TYPE_SHIFT) & 7;
    return type === PGTT_FIRST_STAGE || type === PGTT_NESTED;
  }

  #overlaps(slot: number, page: number, order: number): boolean {
    const shift = this.#sizeOf(slot) - 12;
    const first = (this.#store.pages[slot] ?? 0) * power(shift);
    return first < page + power(order) && page < first + power(shift);
  }
}

function tagOf(rid: number, privileged: boolean, sizeLog2: number): number {
  return rid | (privileged ? PRIVILEGED : 0) | (sizeLog2 << SIZE_TAG_SHIFT);
}
