import type { Digest, Digestible } from "@iommu-lab/core";
import { type CachePolicy, cachePolicies } from "@iommu-lab/pci";
import { CACHES, type CachePolicies } from "./cache-policy.ts";
import { EntryCache } from "./entry-cache.ts";
import { HeldContext, HeldScalableContext } from "./held-context.ts";
import { HeldPasid } from "./held-pasid.ts";
import { IoTlb } from "./io-tlb.ts";
import { PagingCache } from "./paging-cache.ts";
import { PermissionCache } from "./permission-cache.ts";

/** Function bits that do not count, by FM. */
const IGNORED_FUNCTION_BITS = [0, 4, 6, 7];

/**
 * What a unit remembers of the tables. With caching mode off only fault-free entries are kept; with it on, entries that
 * make faults too, but for those of the first stage alone.
 *
 * Source: VT-d 5.10 §6.2, §6.5.2.
 */
export class TranslationCaches implements Digestible {
  /** Context cache, legacy mode. */
  readonly contexts: EntryCache<HeldContext>;
  /** Context cache, scalable mode. */
  readonly scalableContexts: EntryCache<HeldScalableContext>;
  /** PASID cache. */
  readonly pasids: EntryCache<HeldPasid>;
  /** IOTLB. */
  readonly iotlb: IoTlb;
  /** Paging-structure caches. */
  readonly paging: PagingCache;
  /** Host permissions. */
  readonly permissions: PermissionCache;

  constructor(policy: CachePolicy | CachePolicies) {
    const { context, pasid, iotlb, paging } = cachePolicies(CACHES, policy);
    this.contexts = new EntryCache(context, () => new HeldContext());
    this.scalableContexts = new EntryCache(context, () => new HeldScalableContext());
    this.pasids = new EntryCache(pasid, () => new HeldPasid());
    this.iotlb = new IoTlb(iotlb);
    this.paging = new PagingCache(paging);
    this.permissions = new PermissionCache(iotlb);
  }

  /** Drops everything: reset, root table pointer, translation off. */
  clear(): void {
    this.clearContexts();
    this.pasids.clear();
    this.clearTranslations();
    this.permissions.clear();
  }

  /** Drops all context entries. */
  clearContexts(): void {
    this.contexts.clear();
    this.scalableContexts.clear();
  }

  /** Drops the legacy context entries of a domain ID; in scalable mode all entries. */
  invalidateContextsOfDomain(domainId: number): void {
    this.contexts.drop((entry) => entry.domainId === domainId);
    this.scalableContexts.clear();
  }

  /**
   * Drops the context entries of a device; in legacy mode only under this domain ID.
   *
   * @param mask FM: function bits that do not count
   */
  invalidateContextsOfDevice(sourceId: number, mask: number, domainId: number): void {
    const ignored = IGNORED_FUNCTION_BITS[mask] ?? 0;
    const same = (rid: number): boolean => (rid & ~ignored) === (sourceId & ~ignored);
    this.contexts.drop((entry, rid) => same(rid) && entry.domainId === domainId);
    this.scalableContexts.drop((_entry, rid) => same(rid));
  }

  /**
   * Drops the PASID entries of a domain ID, of one PASID when given. What is remembered as a fault has no domain ID and
   * goes with any.
   */
  invalidatePasids(domainId: number, pasid?: number): void {
    this.pasids.drop(
      (entry, _rid, own) =>
        (entry.domainId === domainId || entry.fault !== 0) && (pasid === undefined || own === pasid),
    );
  }

  /** IOTLB and paging structures, everything. */
  clearTranslations(): void {
    this.iotlb.clear();
    this.paging.clear();
  }

  /** IOTLB and paging structures, a domain ID. */
  invalidateDomain(domainId: number): void {
    this.iotlb.invalidateDomain(domainId);
    this.paging.invalidateDomain(domainId);
  }

  /** IOTLB and paging structures, pages of a domain ID. */
  invalidatePages(domainId: number, page: number, order: number, leafOnly: boolean): void {
    this.iotlb.invalidatePages(domainId, page, order);
    this.paging.invalidatePages(domainId, page, order, leafOnly);
  }

  /** IOTLB and paging structures, a PASID of a domain ID. */
  invalidatePasid(domainId: number, pasid: number): void {
    this.iotlb.invalidatePasid(domainId, pasid);
    this.paging.invalidatePasid(domainId, pasid);
  }

  /** IOTLB and paging structures, pages of a PASID. */
  invalidatePasidPages(domainId: number, pasid: number, page: number, order: number, leafOnly: boolean): void {
    this.iotlb.invalidatePasidPages(domainId, pasid, page, order);
    this.paging.invalidatePasidPages(domainId, pasid, page, order, leafOnly);
  }

  digest(into: Digest): void {
    const { contexts, scalableContexts, pasids, iotlb, paging, permissions } = this;
    for (const part of [contexts, scalableContexts, pasids, iotlb, paging, permissions]) {
      part.digest(into);
    }
  }
}
