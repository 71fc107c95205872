import type { Digest, Digestible } from "@iommu-lab/core";
import { ATTR, NEEDS_UPDATE } from "./attributes.ts";
import type { CachePolicy } from "@iommu-lab/pci";
import { Retention } from "./cache-policy.ts";
import { alignDown, power } from "./table-geometry.ts";
import { TranslationCache } from "./translation-cache.ts";

/** Which translations an invalidation concerns besides those of its tag. */
export interface InvalidationRange {
  /** First page number. */
  readonly page: number;
  /** How many pages; at least 1. */
  readonly count: number;
  /** TTL: leaves are of this level; 0 = of any. */
  readonly level: number;
  /** Leaf: tables on the way stay. */
  readonly leaf: boolean;
}

/** Sizes, then tables by level: what bits 6:0 of a key are. */
const CODES = 128;
const TABLE = 96;
const GLOBAL = 2 ** 16;
/** EL2 without E2H and stage 2 have no ASIDs. */
const UNTAGGED = GLOBAL + 2;
const PAGE_LOG2 = 12;
const VMIDS = 2 ** 16;
/** So few pages are looked up one by one, without a look at every entry. */
const FEW_PAGES = 64;

/** The kind of a tag without ASIDs. */
export const NO_ASID: number = UNTAGGED;

/**
 * Translations by regime, VMID, ASID and page, and the tables read on the way to them. Global translations serve every
 * ASID of the same ASID set. Nothing leaves but by a TLBI command or because the policy says so.
 *
 * Source: SMMUv3 §3.17, §4.4, §16.2; Arm ARM D8.13.
 */
export class IoTlb implements Digestible {
  /** Leaves: what {@link IoTlb.lookup} gives the number of. */
  readonly leaves: TranslationCache;
  /** Tables: what {@link IoTlb.lookupTable} gives the number of. */
  readonly tables: TranslationCache;
  /** During a broadcast of a CPU: what contexts with ASET = 1 brought does not go. */
  sparesUnshared = false;
  /** How many leaves have each size. */
  readonly #sizes = new Uint32Array(CODES);
  #smallest = CODES;
  #largest = 0;
  #globals = 0;
  /** Leaves that are part of what one descriptor of stage 1 maps. */
  #fractured = 0;

  constructor(translations: CachePolicy, walks: CachePolicy) {
    this.leaves = new TranslationCache(new Retention(translations), (entry) => {
      this.#forget(entry);
    });
    this.tables = new TranslationCache(new Retention(walks), () => {
      // Tables are not counted.
    });
  }

  /**
   * The translation of a page, -1 = none.
   *
   * @param regime world and VMID
   * @param kind the ASID, or {@link NO_ASID}
   * @param aset ASET of the context descriptor
   */
  lookup(regime: number, kind: number, aset: number, page: number): number {
    const { leaves } = this;
    for (let size = this.#smallest; size <= this.#largest; size += 1) {
      if (this.#sizes[size] === 0) {
        continue;
      }
      const base = alignDown(page, size - PAGE_LOG2);
      let entry = leaves.find(regime, kind * CODES + size, base);
      if (entry < 0 && this.#globals > 0) {
        entry = leaves.find(regime, (GLOBAL + aset) * CODES + size, base);
      }
      if (entry >= 0) {
        leaves.touch(entry);
        return entry;
      }
    }
    return -1;
  }

  /**
   * Keeps a translation. One whose AF is still 0 is not kept: it may not be.
   *
   * @param page any page of it
   * @param target where that page leads
   * @param middle the intermediate page, with two stages
   * @param sizeLog2 log2 of its size in bytes
   * @param level of the descriptor of its first stage
   * @param originLog2 log2 of what that descriptor maps
   */
  keep(
    regime: number,
    kind: number,
    aset: number,
    page: number,
    target: number,
    middle: number,
    sizeLog2: number,
    attributes: number,
    level: number,
    originLog2: number,
  ): void {
    const { leaves } = this;
    if (!leaves.keeps || (attributes & NEEDS_UPDATE) !== 0) {
      return;
    }
    const tag = kind !== UNTAGGED && (attributes & ATTR.global) !== 0 ? GLOBAL + aset : kind;
    const base = alignDown(page, sizeLog2 - PAGE_LOG2);
    let entry = leaves.find(regime, tag * CODES + sizeLog2, base);
    if (entry >= 0) {
      this.#forget(entry);
    } else {
      entry = leaves.claim(regime, tag * CODES + sizeLog2, base);
    }
    if (entry < 0) {
      return;
    }
    leaves.target[entry] = target - (page - base);
    leaves.middle[entry] = middle - (page - base);
    leaves.attributes[entry] = attributes | (aset === 0 ? 0 : ATTR.unshared);
    leaves.origin[entry] = (level + 1) * CODES + originLog2;
    this.#note(entry);
  }

  /** The table that walks of a page go on from, below its parent; -1 = not kept. @param sizeLog2 what the table maps */
  lookupTable(regime: number, kind: number, page: number, level: number, sizeLog2: number): number {
    if (this.tables.count === 0) {
      return -1;
    }
    const entry = this.tables.find(regime, kind * CODES + TABLE + level, alignDown(page, sizeLog2 - PAGE_LOG2));
    if (entry >= 0) {
      this.tables.touch(entry);
    }
    return entry;
  }

  /** Keeps where the table of a level is. @param limits what the descriptors above it take away */
  keepTable(
    regime: number,
    kind: number,
    page: number,
    level: number,
    sizeLog2: number,
    table: number,
    limits: number,
    aset: number,
  ): void {
    if (!this.tables.keeps) {
      return;
    }
    const base = alignDown(page, sizeLog2 - PAGE_LOG2);
    const entry = this.tables.claim(regime, kind * CODES + TABLE + level, base);
    if (entry >= 0) {
      this.tables.target[entry] = table;
      this.tables.attributes[entry] = limits | (aset === 0 ? 0 : ATTR.unshared);
      this.tables.origin[entry] = level * CODES + sizeLog2;
    }
  }

  /** All of a world; of one VMID when given (TLBI_NSNH_ALL, TLBI_NH_ALL, TLBI_S12_VMALL, TLBI_EL2_ALL). */
  dropWorld(world: number, vmid?: number): void {
    for (const cache of [this.leaves, this.tables]) {
      for (let entry = cache.count - 1; entry >= 0; entry -= 1) {
        const regime = cache.regime[entry] ?? 0;
        if (vmid === undefined ? Math.floor(regime / VMIDS) === world : regime === world * VMIDS + vmid) {
          this.#drop(cache, entry);
        }
      }
    }
  }

  /** The non-global translations of an ASID, and its tables (TLBI_NH_ASID, TLBI_EL2_ASID). */
  dropAsid(regime: number, asid: number): void {
    for (const cache of [this.leaves, this.tables]) {
      for (let entry = cache.count - 1; entry >= 0; entry -= 1) {
        if (cache.regime[entry] === regime && kindOf(cache.key[entry] ?? 0) === asid) {
          this.#drop(cache, entry);
        }
      }
    }
  }

  /** A range of an ASID and of global translations (TLBI_NH_VA, TLBI_EL2_VA, TLBI_S2_IPA). */
  dropRange(regime: number, kind: number, range: InvalidationRange): void {
    if (range.count <= FEW_PAGES && this.#fractured === 0 && range.leaf) {
      this.#dropPages(regime, kind, range);
      return;
    }
    this.#dropOverlapping(regime, kind, range);
  }

  /** A range of every ASID (TLBI_NH_VAA, TLBI_EL2_VAA). */
  dropRangeOfAll(regime: number, range: InvalidationRange): void {
    this.#dropOverlapping(regime, -1, range);
  }

  digest(into: Digest): void {
    this.leaves.digest(into);
    this.tables.digest(into);
  }

  #dropPages(regime: number, kind: number, range: InvalidationRange): void {
    for (let size = this.#smallest; size <= this.#largest; size += 1) {
      const step = power(size - PAGE_LOG2);
      const end = range.page + range.count;
      for (let page = alignDown(range.page, size - PAGE_LOG2); this.#sizes[size] !== 0 && page < end; page += step) {
        for (const tag of [kind, GLOBAL, GLOBAL + 1]) {
          const entry = this.leaves.find(regime, tag * CODES + size, page);
          if (entry >= 0 && levelFits(this.leaves.origin[entry] ?? 0, range.level)) {
            this.#drop(this.leaves, entry);
          }
        }
      }
    }
  }

  /** @param kind -1 = any */
  #dropOverlapping(regime: number, kind: number, range: InvalidationRange): void {
    const { leaves, tables } = this;
    for (let entry = leaves.count - 1; entry >= 0; entry -= 1) {
      if (concerns(leaves, entry, regime, kind, range) && levelFits(leaves.origin[entry] ?? 0, range.level)) {
        this.#drop(leaves, entry);
      }
    }
    for (let entry = tables.count - 1; entry >= 0 && !range.leaf; entry -= 1) {
      const above = range.level === 0 || (tables.origin[entry] ?? 0) >> 7 <= range.level;
      if (above && concerns(tables, entry, regime, kind, range)) {
        this.#drop(tables, entry);
      }
    }
  }

  #drop(cache: TranslationCache, entry: number): void {
    if (!this.sparesUnshared || ((cache.attributes[entry] ?? 0) & ATTR.unshared) === 0) {
      cache.remove(entry);
    }
  }

  #note(entry: number): void {
    const key = this.leaves.key[entry] ?? 0;
    const size = sizeLog2Of(key);
    this.#sizes[size] = (this.#sizes[size] ?? 0) + 1;
    this.#smallest = Math.min(this.#smallest, size);
    this.#largest = Math.max(this.#largest, size);
    this.#globals += isGlobal(key) ? 1 : 0;
    this.#fractured += originLog2Of(this.leaves.origin[entry] ?? 0) === size ? 0 : 1;
  }

  #forget(entry: number): void {
    const key = this.leaves.key[entry] ?? 0;
    const size = sizeLog2Of(key);
    this.#sizes[size] = (this.#sizes[size] ?? 0) - 1;
    this.#globals -= isGlobal(key) ? 1 : 0;
    this.#fractured -= originLog2Of(this.leaves.origin[entry] ?? 0) === size ? 0 : 1;
    this.leaves.origin[entry] = 0;
  }
}

/** log2 of the size in bytes of the leaf with this key. */
export function sizeLog2Of(key: number): number {
  return key & (CODES - 1);
}

/** Level of the descriptor that a leaf comes from. */
export function levelOf(origin: number): number {
  return (origin >> 7) - 1;
}

/** log2 of what that descriptor maps. */
function originLog2Of(origin: number): number {
  return origin & (CODES - 1);
}

function kindOf(key: number): number {
  return key >> 7;
}

function isGlobal(key: number): boolean {
  const kind = kindOf(key);
  return kind === GLOBAL || kind === GLOBAL + 1;
}

/** Whether a translation of one kind goes with an invalidation of another; global ones go with any. */
function matches(kind: number, wanted: number): boolean {
  return wanted < 0 || kind === wanted || kind === GLOBAL || kind === GLOBAL + 1;
}

/** Whether a leaf is of the level that TTL names. */
function levelFits(origin: number, ttl: number): boolean {
  return ttl === 0 || levelOf(origin) === ttl;
}

/** Whether an entry has the tag, and what its descriptor maps has a page in the range. */
function concerns(
  cache: TranslationCache,
  entry: number,
  regime: number,
  kind: number,
  range: InvalidationRange,
): boolean {
  if (cache.regime[entry] !== regime || !matches(kindOf(cache.key[entry] ?? 0), kind)) {
    return false;
  }
  const pagesLog2 = originLog2Of(cache.origin[entry] ?? 0) - PAGE_LOG2;
  const first = alignDown(cache.page[entry] ?? 0, pagesLog2);
  return first < range.page + range.count && range.page < first + power(pagesLog2);
}
