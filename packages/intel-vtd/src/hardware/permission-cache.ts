import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "@iommu-lab/pci";
import { Replacement } from "./cache-policy.ts";
import { power } from "./page-shift.ts";
import { TagStore } from "./tag-store.ts";

/** Host permissions by requester, PASID and page; invalidated by HPTDID and page. Source: VT-d 5.10 §6.2. */
export class PermissionCache implements Digestible {
  readonly #store: TagStore;

  constructor(policy: CachePolicy) {
    this.#store = new TagStore(new Replacement(policy));
  }

  /** Rights, 0 = not known. */
  find(rid: number, pasid: number, page: number): number {
    const slot = this.#store.find(rid, pasid, page);
    return slot < 0 ? 0 : (this.#store.flags[slot] ?? 0);
  }

  /** Remembers the rights of a page. */
  keep(rid: number, pasid: number, page: number, rights: number, domainId: number): void {
    const slot = this.#store.put(rid, pasid, page);
    if (slot >= 0) {
      this.#store.flags[slot] = rights;
      this.#store.domainIds[slot] = domainId;
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#store.clear();
  }

  /** Drops what carries an HPTDID, of `2^order` pages when given. */
  invalidate(domainId: number, page: number = 0, order: number = 52): void {
    const store = this.#store;
    for (let slot = 0; slot < store.end; slot += 1) {
      const at = store.pages[slot] ?? 0;
      if (store.holds(slot) && store.domainIds[slot] === domainId && at >= page && at < page + power(order)) {
        store.remove(slot);
      }
    }
  }

  digest(into: Digest): void {
    this.#store.digest(into);
  }
}
