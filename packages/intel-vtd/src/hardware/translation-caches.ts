import type { Digest, Digestible } from "@iommu-lab/core";
import type { ContextEntry } from "../layout/context-entry.ts";
import type { PasidEntry } from "../layout/pasid-entry.ts";
import type { ScalableContextEntry } from "../layout/scalable-context-entry.ts";
import { IoTlb } from "./io-tlb.ts";

/** Which results a unit keeps: everything the architecture allows, or nothing. */
export type CachePolicy = "keep-all" | "none";

/** A PASID entry as it was read. */
export interface CachedPasid {
  readonly rid: number;
  readonly pasid: number;
  readonly entry: PasidEntry;
  /** FPD of the directory entry or of the entry itself. */
  readonly faultDisable: boolean;
}

const PASIDS = 2 ** 20;

/**
 * What a unit remembers of the tables. With caching mode off only fault-free entries are kept, and nothing leaves but by
 * an invalidation or a reset: a forgotten invalidation shows.
 *
 * Source: VT-d 5.10 §6.2.
 */
export class TranslationCaches implements Digestible {
  /** IOTLB. */
  readonly iotlb: IoTlb;
  readonly #keep: boolean;
  readonly #contexts = new Map<number, ContextEntry>();
  readonly #scalableContexts = new Map<number, ScalableContextEntry>();
  readonly #pasids = new Map<number, CachedPasid>();

  constructor(policy: CachePolicy) {
    this.#keep = policy === "keep-all";
    this.iotlb = new IoTlb(this.#keep);
  }

  /** The cached legacy context entry of a requester. */
  context(rid: number): ContextEntry | undefined {
    return this.#contexts.get(rid);
  }

  /** Remembers a legacy context entry. */
  keepContext(rid: number, entry: ContextEntry): void {
    if (this.#keep) {
      this.#contexts.set(rid, entry);
    }
  }

  /** The cached scalable context entry of a requester. */
  scalableContext(rid: number): ScalableContextEntry | undefined {
    return this.#scalableContexts.get(rid);
  }

  /** Remembers a scalable context entry. */
  keepScalableContext(rid: number, entry: ScalableContextEntry): void {
    if (this.#keep) {
      this.#scalableContexts.set(rid, entry);
    }
  }

  /** The cached PASID entry of a requester. */
  pasid(rid: number, pasid: number): CachedPasid | undefined {
    return this.#pasids.get(rid * PASIDS + pasid);
  }

  /** Remembers a PASID entry. */
  keepPasid(cached: CachedPasid): void {
    if (this.#keep) {
      this.#pasids.set(cached.rid * PASIDS + cached.pasid, cached);
    }
  }

  /** Drops everything: reset, root table pointer, translation off. */
  clear(): void {
    this.clearContexts();
    this.clearPasids();
    this.iotlb.clear();
  }

  /** Drops all context entries. */
  clearContexts(): void {
    this.#contexts.clear();
    this.#scalableContexts.clear();
  }

  /** Drops the legacy context entries of a domain ID; in scalable mode all entries. */
  invalidateContextsOfDomain(domainId: number): void {
    for (const [rid, entry] of this.#contexts) {
      if (entry.domainId === domainId) {
        this.#contexts.delete(rid);
      }
    }
    this.#scalableContexts.clear();
  }

  /**
   * Drops the context entries of a device; in legacy mode only under this domain ID.
   *
   * @param mask FM: function bits that do not count
   */
  invalidateContextsOfDevice(sourceId: number, mask: number, domainId: number): void {
    const ignored = [0, 4, 6, 7][mask] ?? 0;
    const same = (rid: number): boolean => (rid & ~ignored) === (sourceId & ~ignored);
    for (const [rid, entry] of this.#contexts) {
      if (same(rid) && entry.domainId === domainId) {
        this.#contexts.delete(rid);
      }
    }
    for (const rid of this.#scalableContexts.keys()) {
      if (same(rid)) {
        this.#scalableContexts.delete(rid);
      }
    }
  }

  /** Drops all PASID entries. */
  clearPasids(): void {
    this.#pasids.clear();
  }

  /** Drops the PASID entries of a domain ID, of one PASID when given. */
  invalidatePasids(domainId: number, pasid?: number): void {
    for (const [key, cached] of this.#pasids) {
      if (cached.entry.domainId === domainId && (pasid === undefined || cached.pasid === pasid)) {
        this.#pasids.delete(key);
      }
    }
  }

  digest(into: Digest): void {
    for (const map of [this.#contexts, this.#scalableContexts, this.#pasids]) {
      for (const [key, value] of [...map].toSorted((a, b) => a[0] - b[0])) {
        into.number(key);
        into.text(JSON.stringify(value));
      }
    }
    this.iotlb.digest(into);
  }
}
