import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "./config-cache.ts";
import { WORLD } from "./stream-entry.ts";
import type { Translation } from "./translation.ts";

/** Translations of one tag, a map by page for each size. */
interface Space {
  readonly sizes: number[];
  readonly maps: Map<number, Translation>[];
}

/** Which translations an invalidation concerns besides those in the range. */
export interface InvalidationRange {
  /** First page number. */
  readonly page: number;
  /** How many pages; at least 1. */
  readonly count: number;
  /** Only leaves of this level; 0 = all. */
  readonly level: number;
}

const VMIDS = 2 ** 16;
const KINDS = 2 ** 17;
const GLOBAL = 2 ** 16;
/** EL2 without E2H has no ASIDs. */
const UNTAGGED = GLOBAL + 2;

function tagOf(world: number, vmid: number, kind: number): number {
  return (world * VMIDS + vmid) * KINDS + kind;
}

const everything: InvalidationRange = { page: 0, count: 2 ** 52, level: 0 };

/**
 * Translations by regime, VMID, ASID and page. Global ones serve every ASID of the same ASID set. Nothing leaves but by
 * a TLBI command.
 *
 * Source: SMMUv3 §3.17, §4.4, §16.2.
 */
export class IoTlb implements Digestible {
  readonly #keep: boolean;
  readonly #spaces = new Map<number, Space>();

  constructor(policy: CachePolicy) {
    this.#keep = policy === "keep-all";
  }

  /** The translation of a page. @param aset ASET of the context descriptor */
  lookup(world: number, vmid: number, asid: number, aset: number, page: number): Translation | undefined {
    if (world === WORLD.el2) {
      return find(this.#spaces.get(tagOf(world, vmid, UNTAGGED)), page);
    }
    return (
      find(this.#spaces.get(tagOf(world, vmid, asid)), page) ??
      find(this.#spaces.get(tagOf(world, vmid, GLOBAL + aset)), page)
    );
  }

  /** Keeps a translation. One whose AF is still 0 is not kept: it may not be. */
  keep(world: number, vmid: number, asid: number, aset: number, translation: Translation): void {
    if (!this.#keep || translation.needsAccessFlag) {
      return;
    }
    const kind = world === WORLD.el2 ? UNTAGGED : translation.global ? GLOBAL + aset : asid;
    const tag = tagOf(world, vmid, kind);
    let space = this.#spaces.get(tag);
    if (space === undefined) {
      space = { sizes: [], maps: [] };
      this.#spaces.set(tag, space);
    }
    let index = space.sizes.indexOf(translation.sizeLog2);
    if (index < 0) {
      index = space.sizes.push(translation.sizeLog2) - 1;
      space.maps.push(new Map());
    }
    space.maps[index]?.set(translation.page, translation);
  }

  /** All translations of a regime; of one VMID when given (TLBI_NSNH_ALL, TLBI_NH_ALL, TLBI_S12_VMALL, TLBI_EL2_ALL). */
  dropWorld(world: number, vmid?: number): void {
    for (const tag of this.#spaces.keys()) {
      if (worldOf(tag) === world && (vmid === undefined || vmidOf(tag) === vmid)) {
        this.#spaces.delete(tag);
      }
    }
  }

  /** The non-global translations of an ASID (TLBI_NH_ASID, TLBI_EL2_ASID). */
  dropAsid(world: number, vmid: number, asid: number): void {
    this.#spaces.delete(tagOf(world, vmid, asid));
  }

  /** A range of an ASID and of global translations (TLBI_NH_VA, TLBI_EL2_VA). */
  dropRange(world: number, vmid: number, asid: number, range: InvalidationRange): void {
    for (const kind of [asid, GLOBAL, GLOBAL + 1, UNTAGGED]) {
      drop(this.#spaces.get(tagOf(world, vmid, kind)), range);
    }
  }

  /** A range of every ASID (TLBI_NH_VAA, TLBI_EL2_VAA). */
  dropRangeOfAll(world: number, vmid: number, range: InvalidationRange): void {
    for (const [tag, space] of this.#spaces) {
      if (worldOf(tag) === world && vmidOf(tag) === vmid) {
        drop(space, range);
      }
    }
  }

  /** Everything. */
  clear(): void {
    for (const space of this.#spaces.values()) {
      drop(space, everything);
    }
    this.#spaces.clear();
  }

  digest(into: Digest): void {
    for (const [tag, { sizes, maps }] of [...this.#spaces].toSorted((a, b) => a[0] - b[0])) {
      into.number(tag);
      for (const [index, map] of maps.entries()) {
        into.number(sizes[index] ?? 0);
        for (const [page, translation] of [...map].toSorted((a, b) => a[0] - b[0])) {
          into.number(page);
          into.text(JSON.stringify(translation));
        }
      }
    }
  }
}

function worldOf(tag: number): number {
  return Math.floor(tag / KINDS / VMIDS);
}

function vmidOf(tag: number): number {
  return Math.floor(tag / KINDS) % VMIDS;
}

function find(space: Space | undefined, page: number): Translation | undefined {
  if (space === undefined) {
    return undefined;
  }
  for (let index = 0; index < space.sizes.length; index += 1) {
    const pages = 2 ** ((space.sizes[index] ?? 12) - 12);
    const found = space.maps[index]?.get(page - (page % pages));
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

function drop(space: Space | undefined, range: InvalidationRange): void {
  for (const map of space?.maps ?? []) {
    for (const [page, translation] of map) {
      const overlaps = page < range.page + range.count && range.page < page + 2 ** (translation.sizeLog2 - 12);
      if (overlaps && (range.level === 0 || range.level === translation.level)) {
        map.delete(page);
      }
    }
  }
}
