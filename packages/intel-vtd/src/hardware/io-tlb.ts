import type { Digest, Digestible } from "@iommu-lab/core";
import { PGTT_FIRST_STAGE, PGTT_NESTED } from "../layout/pasid-entry.ts";

/** A translation in the IOTLB. */
export interface IoTlbEntry {
  /** First page of the range. */
  readonly page: number;
  /** 12, 21 or 30. */
  readonly sizeLog2: number;
  /** Host page of the first page. */
  readonly target: number;
  readonly read: boolean;
  readonly write: boolean;
  /** SNP or PGSNP. */
  readonly snoop: boolean;
  /** A write needs no dirty bit set any more. */
  readonly dirty: boolean;
  /** It was made for privileged requests. */
  readonly privileged: boolean;
  /** DID under which it was made. */
  readonly domainId: number;
  /** PGTT, 0 in legacy mode. */
  readonly translationType: number;
  /** PASID used, RID_PASID for requests without one; NO_PASID in legacy mode. */
  readonly pasid: number;
}

/** The translations of one requester and PASID, by size. */
interface Space {
  readonly small: Map<number, IoTlbEntry>;
  readonly large: Map<number, IoTlbEntry>;
  readonly huge: Map<number, IoTlbEntry>;
}

const PASIDS = 2 ** 21;

/**
 * Translations by requester, PASID and page; invalidated by domain ID, PASID and page. Requests without PASID have
 * entries of their own that carry RID_PASID as a tag.
 *
 * Source: VT-d 5.10 §6.2.5.
 */
export class IoTlb implements Digestible {
  readonly #keep: boolean;
  readonly #spaces = new Map<number, Space>();

  constructor(keep: boolean) {
    this.#keep = keep;
  }

  /** How many translations are kept. */
  get size(): number {
    let count = 0;
    for (const space of this.#spaces.values()) {
      count += space.small.size + space.large.size + space.huge.size;
    }
    return count;
  }

  /** @param pasid what the request carries, or NO_PASID */
  lookup(rid: number, pasid: number, page: number): IoTlbEntry | undefined {
    const space = this.#spaces.get(rid * PASIDS + pasid + 1);
    if (space === undefined) {
      return undefined;
    }
    return (
      space.small.get(page) ?? space.large.get(Math.floor(page / 512)) ?? space.huge.get(Math.floor(page / 2 ** 18))
    );
  }

  /** Remembers a translation. */
  keep(rid: number, pasid: number, entry: IoTlbEntry): void {
    if (!this.#keep) {
      return;
    }
    const key = rid * PASIDS + pasid + 1;
    let space = this.#spaces.get(key);
    if (space === undefined) {
      space = { small: new Map(), large: new Map(), huge: new Map() };
      this.#spaces.set(key, space);
    }
    if (entry.sizeLog2 === 12) {
      space.small.set(entry.page, entry);
    } else if (entry.sizeLog2 === 21) {
      space.large.set(entry.page / 512, entry);
    } else {
      space.huge.set(entry.page / 2 ** 18, entry);
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#spaces.clear();
  }

  /** Domain-selective: whatever carries the domain ID. */
  invalidateDomain(domainId: number): void {
    this.#drop((entry) => entry.domainId === domainId);
  }

  /** Page-selective within a domain: first-stage translations of the domain go whatever their page. */
  invalidatePages(domainId: number, page: number, order: number): void {
    this.#drop((entry) => entry.domainId === domainId && (firstStage(entry) || overlaps(entry, page, order)));
  }

  /** PASID-selective: whatever carries domain ID and PASID. */
  invalidatePasid(domainId: number, pasid: number): void {
    this.#drop((entry) => entry.domainId === domainId && entry.pasid === pasid);
  }

  /** Page-selective within a PASID: first-stage translations alone. */
  invalidatePasidPages(domainId: number, pasid: number, page: number, order: number): void {
    this.#drop(
      (entry) =>
        entry.domainId === domainId && entry.pasid === pasid && firstStage(entry) && overlaps(entry, page, order),
    );
  }

  digest(into: Digest): void {
    for (const [key, space] of [...this.#spaces].toSorted((a, b) => a[0] - b[0])) {
      into.number(key);
      for (const map of [space.small, space.large, space.huge]) {
        for (const [page, entry] of [...map].toSorted((a, b) => a[0] - b[0])) {
          into.number(page);
          into.text(JSON.stringify(entry));
        }
      }
    }
  }

  #drop(matches: (entry: IoTlbEntry) => boolean): void {
    for (const space of this.#spaces.values()) {
      for (const map of [space.small, space.large, space.huge]) {
        for (const [key, entry] of map) {
          if (matches(entry)) {
            map.delete(key);
          }
        }
      }
    }
  }
}

function firstStage(entry: IoTlbEntry): boolean {
  return entry.translationType === PGTT_FIRST_STAGE || entry.translationType === PGTT_NESTED;
}

function overlaps(entry: IoTlbEntry, page: number, order: number): boolean {
  return entry.page < page + 2 ** order && page < entry.page + 2 ** (entry.sizeLog2 - 12);
}
