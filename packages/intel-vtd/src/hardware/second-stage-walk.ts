import { address52 } from "@iommu-lab/core";
import { SS_ACCESSED, SS_DIRTY, SS_LARGE, SS_READ, SS_SNOOP, SS_WRITE } from "../layout/second-stage.ts";
import { power } from "./page-shift.ts";
import type { PagingCache } from "./paging-cache.ts";
import { ABOVE_READ, ABOVE_WRITE } from "./paging-cache.ts";
import type { Need, WalkContext } from "./walk.ts";
import { beyondHost, entryAddress } from "./walk.ts";

/** The fault codes of a second-stage walk; legacy and scalable mode have their own. */
export interface SecondStageCodes {
  /** The top table cannot be read. */
  readonly top: number;
  /** A lower table cannot be read. */
  readonly table: number;
  /** R=W=0; 0 = the missing permission is reported. */
  readonly notPresent: number;
  readonly reserved: number;
  readonly write: number;
  readonly read: number;
}

/** Codes of legacy mode. */
export const LEGACY_CODES: SecondStageCodes = {
  top: 0x03,
  table: 0x07,
  notPresent: 0,
  reserved: 0x0c,
  write: 0x05,
  read: 0x06,
};

/** Codes of scalable mode. */
export const SCALABLE_CODES: SecondStageCodes = {
  top: 0x7b,
  table: 0x78,
  notPresent: 0x79,
  reserved: 0x7a,
  write: 0x85,
  read: 0x86,
};

/** Codes of the hardware's own access to the top first-stage table of a guest. */
export const NESTED_TOP_CODES: SecondStageCodes = { ...SCALABLE_CODES, write: 0x77, read: 0x75 };

/** Codes of the hardware's own access to other first-stage tables of a guest. */
export const NESTED_CODES: SecondStageCodes = { ...SCALABLE_CODES, write: 0x77, read: 0x76 };

/** Where a second stage begins, from a context or PASID entry. */
export interface SecondStageRoot {
  readonly domainId: number;
  /** SSPTPTR. */
  readonly secondStageTable: number;
  /** 3 … 5. */
  readonly secondStageLevels: number;
  /** First page that min(MGAW, AW) leaves out. */
  readonly endPage: number;
  /** SSADE: accessed and dirty bits are kept. */
  readonly accessDirty: boolean;
  /** Page walks are snooped. */
  readonly walkSnooped: boolean;
}

const RESERVED_62 = 0x40000000;
const REQUEST_RIGHTS_SHIFT = 29;

/**
 * Walks second-stage tables. An entry without any permission ends the walk before its reserved bits are looked at, and a
 * missing permission is reported before a reserved bit. One object per unit, reused.
 *
 * Source: VT-d 5.10 §3.7, §9.8.
 */
export class SecondStageWalk {
  /** Fault code, 0 = the walk reached a page. */
  fault = 0;
  /** Host page of the first page of the translation. */
  target = 0;
  /** 12, 21 or 30. */
  sizeLog2 = 12;
  read = false;
  write = false;
  /** SNP of the leaf. */
  snoop = false;
  /** A write needs no dirty bit set any more. */
  dirty = false;
  /** The walk ended at an entry with R=W=0. */
  empty = false;
  /** Address of the entry read last. */
  line = 0;
  readonly #context: WalkContext;
  readonly #cache: PagingCache;
  readonly #tables = new Float64Array(6);
  readonly #above = new Int32Array(6);

  constructor(context: WalkContext, cache: PagingCache) {
    this.#context = context;
    this.#cache = cache;
  }

  /**
   * @param page below the root's `endPage`
   * @param marksDirty the access counts as a write where writing is permitted
   * @returns whether a page was reached
   */
  run(codes: SecondStageCodes, root: SecondStageRoot, page: number, need: Need, marksDirty: boolean): boolean {
    const { memory } = this.#context;
    const top = root.secondStageLevels;
    this.fault = 0;
    this.empty = false;
    const start = this.#start(root, page, need);
    let level = start;
    let rights = this.#above[level] ?? 0;
    let table = this.#tables[level] ?? 0;
    for (;;) {
      this.line = entryAddress(table, page, level);
      if (!memory.load64(this.line)) {
        return this.#fail(level === top ? codes.top : codes.table);
      }
      const { lo, hi } = memory;
      const leaf = level === 1 || (lo & SS_LARGE) !== 0;
      const own = this.#context.root.requestRights ? (hi >>> REQUEST_RIGHTS_SHIFT) & 3 : lo & 3;
      const fault = this.#entryFault(codes, level, leaf, own, lo, hi, need);
      if (fault !== 0) {
        this.empty = own === 0;
        return this.#fail(fault);
      }
      rights &= own;
      if (root.accessDirty && !this.#mark(root, lo, hi, leaf && marksDirty && (rights & SS_WRITE) !== 0)) {
        return false;
      }
      if (leaf) {
        this.#reach(level, rights, lo, hi, root.accessDirty);
        this.#remember(root.domainId, page, start, level);
        return true;
      }
      table = address52(lo, hi);
      level -= 1;
      this.#tables[level] = table;
      this.#above[level] = rights;
    }
  }

  /** The level to begin at: that of a remembered table which permits the access, else the top. */
  #start(root: SecondStageRoot, page: number, need: Need): number {
    const top = root.secondStageLevels;
    const cache = this.#cache;
    const level = cache.findSecondStage(root.domainId, page, top);
    const needed = need === "write" ? ABOVE_WRITE : need === "read" ? ABOVE_READ : 0;
    if (level > 0 && (cache.rights & needed) === needed) {
      this.#tables[level] = cache.table;
      this.#above[level] = cache.rights;
      return level;
    }
    this.#tables[top] = root.secondStageTable;
    this.#above[top] = ABOVE_READ | ABOVE_WRITE;
    return top;
  }

  #reach(level: number, rights: number, lo: number, hi: number, accessDirty: boolean): void {
    this.sizeLog2 = 3 + 9 * level;
    this.target = address52(lo, hi) * 2 ** -12;
    this.read = (rights & SS_READ) !== 0;
    this.write = (rights & SS_WRITE) !== 0;
    this.snoop = (lo & SS_SNOOP) !== 0;
    this.dirty = !accessDirty || this.dirty;
  }

  /** Only the entries of a walk without fault are remembered. */
  #remember(domainId: number, page: number, start: number, leafLevel: number): void {
    for (let level = start - 1; level >= leafLevel; level -= 1) {
      this.#cache.keepSecondStage(domainId, page, level, this.#tables[level] ?? 0, this.#above[level] ?? 0);
    }
  }

  /** Sets the accessed bit, and the dirty bit when asked. Bits that must change need a snooped walk. */
  #mark(root: SecondStageRoot, lo: number, hi: number, dirty: boolean): boolean {
    const marked = (lo | SS_ACCESSED | (dirty ? SS_DIRTY : 0)) >>> 0;
    if (marked !== lo) {
      if (!root.walkSnooped) {
        return this.#fail(0x7c);
      }
      this.#context.memory.store64(this.line, marked, hi);
    }
    this.dirty = (marked & SS_DIRTY) !== 0;
    return true;
  }

  #entryFault(
    codes: SecondStageCodes,
    level: number,
    leaf: boolean,
    own: number,
    lo: number,
    hi: number,
    need: Need,
  ): number {
    if (own === 0 && codes.notPresent !== 0) {
      return codes.notPresent;
    }
    if ((need === "write" && (own & SS_WRITE) === 0) || (need === "none" && own === 0)) {
      return need === "write" ? codes.write : codes.read;
    }
    if (need === "read" && (own & SS_READ) === 0) {
      return codes.read;
    }
    return this.#reserved(level, leaf, lo, hi) ? codes.reserved : 0;
  }

  #reserved(level: number, leaf: boolean, lo: number, hi: number): boolean {
    const { caps, hostWidth, root } = this.#context;
    if ((!root.requestRights && (hi & RESERVED_62) !== 0) || beyondHost(hi, hostWidth)) {
      return true;
    }
    if ((lo & SS_SNOOP) !== 0 && (!leaf || !caps.sc)) {
      return true;
    }
    if (level === 1 || !leaf) {
      return false;
    }
    if (level > 3 || (caps.sslps & (level - 1)) === 0) {
      return true;
    }
    return (lo & (power(3 + 9 * level) - 1) & 0xfffff000) !== 0;
  }

  #fail(code: number): false {
    this.fault = code;
    this.read = false;
    this.write = false;
    return false;
  }
}
