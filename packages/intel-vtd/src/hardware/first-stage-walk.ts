import { address52 } from "@iommu-lab/core";
import type { HeldPasid } from "./held-pasid.ts";
import { alignDown, power, shiftRight } from "./page-shift.ts";
import type { PagingCache } from "./paging-cache.ts";
import { ABOVE_USER, ABOVE_WRITE } from "./paging-cache.ts";
import type { SecondStageCodes, SecondStageWalk } from "./second-stage-walk.ts";
import { NESTED_CODES, NESTED_TOP_CODES, SCALABLE_CODES } from "./second-stage-walk.ts";
import type { Need, WalkContext } from "./walk.ts";
import { beyondHost, entryAddress } from "./walk.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
/** An entry with all of these but PS points to a lower table, takes no right away and needs no mark: nothing to judge. */
const USUAL: number = PRESENT | WRITABLE | USER | ACCESSED | LARGE;
const EXTENDED_ACCESSED = 0x400;
/** Beside the rights above a table: the hardware may write to it (nested). */
const TABLE_WRITABLE = 8;

/**
 * Walks first-stage (x86-64) tables: canonical address, then for each entry present, reserved bits, rights. Sets the
 * accessed and dirty bits as it goes. Nested tables lie at guest addresses, each of which passes the second stage first.
 * One object per unit, reused.
 *
 * Source: VT-d 5.10 §3.6, §3.8, §9.7.
 */
export class FirstStageWalk {
  /** Fault code, 0 = the walk reached a page. */
  fault = 0;
  /** Host page of the first page of the translation. */
  target = 0;
  /** 12, 21 or 30. */
  sizeLog2 = 12;
  read = false;
  write = false;
  /** SNP of the second-stage leaf, nested only. */
  snoop = false;
  /** A write needs no dirty bit set any more. */
  dirty = false;
  /** Address of the entry read last. */
  line = 0;
  readonly #context: WalkContext;
  readonly #cache: PagingCache;
  readonly #second: SecondStageWalk;
  readonly #tables = new Float64Array(6);
  readonly #above = new Int32Array(6);
  #entry: HeldPasid | undefined;
  #privileged = false;
  /** The level at which the walk began. */
  #startLevel = 0;

  constructor(context: WalkContext, cache: PagingCache, second: SecondStageWalk) {
    this.#context = context;
    this.#cache = cache;
    this.#second = second;
  }

  /**
   * @param pasid the PASID that the entry belongs to
   * @param privileged supervisor rights count
   * @param marksDirty the access counts as a write where writing is permitted
   * @returns whether a page was reached
   */
  run(entry: HeldPasid, pasid: number, page: number, need: Need, privileged: boolean, marksDirty: boolean): boolean {
    const { memory, hostWidth } = this.#context;
    const top = entry.firstStageLevels;
    const usual = judgedByRights(entry);
    this.#entry = entry;
    this.#privileged = privileged;
    this.fault = 0;
    this.line = 0;
    if (!canonical(page, top)) {
      return this.#fail(0x80);
    }
    const start = this.#start(entry, pasid, page, need);
    if (start === 0) {
      return false;
    }
    let level = start;
    for (;;) {
      const above = this.#above[level] ?? 0;
      this.line = entryAddress(this.#tables[level] ?? 0, page, level);
      if (!memory.load64(this.line)) {
        return this.#fail(level === top ? 0x73 : 0x70);
      }
      const { lo, hi } = memory;
      if (usual && level > 1 && usualTable(lo, hi, hostWidth)) {
        level -= 1;
        this.#tables[level] = address52(lo, hi);
        this.#above[level] = above;
        continue;
      }
      const leaf = level === 1 || (lo & LARGE) !== 0;
      const fault = this.#entryFault(entry, level, leaf, lo, hi, need);
      if (fault !== 0) {
        return this.#fail(fault);
      }
      const rights = this.#rights(entry, above, lo);
      const tableWritable = (above & TABLE_WRITABLE) !== 0;
      if (leaf) {
        this.write = (rights & ABOVE_WRITE) !== 0;
        this.#startLevel = start;
        return this.#reach(entry, pasid, page, level, lo, hi, tableWritable, need, marksDirty);
      }
      level -= 1;
      if (!this.#below(entry, level, lo, hi, rights, tableWritable)) {
        return false;
      }
    }
  }

  /** Marks an entry and takes the table it points to. */
  #below(entry: HeldPasid, level: number, lo: number, hi: number, rights: number, tableWritable: boolean): boolean {
    return (
      this.#mark(entry, lo, hi, false, tableWritable) && this.#descend(level, address52(lo, hi), rights, NESTED_CODES)
    );
  }

  /** What entry and all above it permit. */
  #rights(entry: HeldPasid, above: number, lo: number): number {
    const writable = (lo & WRITABLE) !== 0 || (this.#privileged && !entry.writeProtect);
    return above & ((writable ? ABOVE_WRITE : 0) | ((lo & USER) === 0 ? 0 : ABOVE_USER));
  }

  /** The level to begin at: that of a remembered table which permits the access, else the top; 0 = fault. */
  #start(entry: HeldPasid, pasid: number, page: number, need: Need): number {
    const cache = this.#cache;
    const top = entry.firstStageLevels;
    const level = cache.findFirstStage(entry.domainId, pasid, page, top);
    const needed = (need === "write" ? ABOVE_WRITE : 0) | (this.#privileged ? 0 : ABOVE_USER);
    // What was collected for user requests says nothing of privileged writes, which may ignore R/W.
    const fits = (cache.rights & needed) === needed && (!this.#privileged || (cache.rights & ABOVE_WRITE) !== 0);
    if (level > 0 && fits) {
      this.#tables[level] = cache.table;
      this.#above[level] = cache.rights;
      return level;
    }
    return this.#descend(top, entry.firstStageTable, ABOVE_WRITE | ABOVE_USER, NESTED_TOP_CODES) ? top : 0;
  }

  /** Takes the table of a level; a guest's table is found by the second stage. */
  #descend(level: number, table: number, above: number, codes: SecondStageCodes): boolean {
    const entry = this.#entry;
    if (entry === undefined || !entry.nested) {
      this.#tables[level] = table;
      this.#above[level] = above | TABLE_WRITABLE;
      return true;
    }
    const second = this.#second;
    const page = table * 2 ** -12;
    if (page >= entry.endPage) {
      return this.#fail(0x74);
    }
    // With SSADE each access to a guest's table counts as a write.
    if (!second.run(codes, entry, page, "read", entry.accessDirty)) {
      this.line = second.line;
      return this.#fail(second.fault);
    }
    if (entry.accessDirty && !second.write) {
      this.line = second.line;
      return this.#fail(codes.write);
    }
    this.#tables[level] = (second.target + (page - alignDown(page, second.sizeLog2 - 12))) * 4096;
    this.#above[level] = above | (second.write ? TABLE_WRITABLE : 0);
    return true;
  }

  #reach(
    entry: HeldPasid,
    pasid: number,
    page: number,
    level: number,
    lo: number,
    hi: number,
    tableWritable: boolean,
    need: Need,
    marksDirty: boolean,
  ): boolean {
    const base = (address52(lo, hi) - (level > 1 ? lo & 0x1000 : 0)) * 2 ** -12;
    const size = 9 * (level - 1);
    this.sizeLog2 = 12 + size;
    this.target = base;
    this.read = true;
    this.snoop = false;
    const { line } = this;
    if (entry.nested && !this.#nest(entry, page, base + (page - alignDown(page, size)), need, marksDirty)) {
      return false;
    }
    this.line = line;
    if (!this.#mark(entry, lo, hi, this.write && marksDirty, tableWritable)) {
      return false;
    }
    this.dirty &&= !entry.nested || this.#second.dirty;
    this.#remember(entry.domainId, pasid, page, level);
    return true;
  }

  /** The guest page that the first stage gives passes the second stage. */
  #nest(entry: HeldPasid, page: number, guestPage: number, need: Need, marksDirty: boolean): boolean {
    const second = this.#second;
    if (guestPage >= entry.endPage) {
      return this.#fail(0x74);
    }
    if (!second.run(SCALABLE_CODES, entry, guestPage, need, marksDirty && this.write)) {
      this.line = second.line;
      return this.#fail(second.fault);
    }
    this.sizeLog2 = Math.min(this.sizeLog2, second.sizeLog2);
    const host = second.target + (guestPage - alignDown(guestPage, second.sizeLog2 - 12));
    this.target = host - (page - alignDown(page, this.sizeLog2 - 12));
    this.read = second.read;
    this.write &&= second.write;
    this.snoop = second.snoop;
    return true;
  }

  /** Only the entries of a walk without fault are remembered. */
  #remember(domainId: number, pasid: number, page: number, leafLevel: number): void {
    for (let level = this.#startLevel - 1; level >= leafLevel; level -= 1) {
      const table = this.#tables[level] ?? 0;
      const above = this.#above[level] ?? 0;
      // Rights of a privileged walk that ignored R/W are not those of others.
      if (!this.#privileged || (this.#entry?.writeProtect ?? true)) {
        this.#cache.keepFirstStage(domainId, pasid, page, level, table, above);
      }
    }
  }

  /** Sets the accessed bit, and the dirty bit when asked. Bits that must change need a snooped walk and a writable table. */
  #mark(entry: HeldPasid, lo: number, hi: number, dirty: boolean, tableWritable: boolean): boolean {
    const marked = (lo | ACCESSED | (dirty ? DIRTY : 0) | (entry.extendedAccess ? EXTENDED_ACCESSED : 0)) >>> 0;
    if (marked !== lo) {
      if (!entry.walkSnooped) {
        return this.#fail(0x90);
      }
      if (!tableWritable) {
        return this.#fail(0x77);
      }
      this.#context.memory.store64(this.line, marked, hi);
    }
    this.dirty = (marked & DIRTY) !== 0;
    return true;
  }

  #entryFault(entry: HeldPasid, level: number, leaf: boolean, lo: number, hi: number, need: Need): number {
    if ((lo & PRESENT) === 0) {
      return 0x71;
    }
    const { caps, hostWidth } = this.#context;
    if ((!entry.nested && beyondHost(hi, hostWidth)) || (leaf && level > 1 && largeReserved(caps.fs1gp, level, lo))) {
      return 0x72;
    }
    if (!this.#privileged && (lo & USER) === 0) {
      return 0x81;
    }
    const protectedWrite = (lo & WRITABLE) === 0 && (!this.#privileged || entry.writeProtect);
    return need === "write" && protectedWrite ? 0x85 : 0;
  }

  #fail(code: number): false {
    this.fault = code;
    this.read = false;
    this.write = false;
    return false;
  }
}

/** Whether its tables lie at host addresses and have no marks but A and D. */
function judgedByRights(entry: HeldPasid): boolean {
  return !entry.nested && !entry.extendedAccess;
}

/** See {@link USUAL}. */
function usualTable(lo: number, hi: number, hostWidth: number): boolean {
  return (lo & USUAL) === (USUAL & ~LARGE) && !beyondHost(hi, hostWidth);
}

/** Bits 63:N equal bit N-1, N = 48 or 57. */
function canonical(page: number, levels: number): boolean {
  const width = 12 + 9 * levels;
  const top = shiftRight(page, width - 13);
  return top === 0 || top === power(65 - width) - 1;
}

/** PS where no large page is possible, or address bits below a large page (bit 12 is PAT). */
function largeReserved(fs1gp: boolean, level: number, lo: number): boolean {
  if (level > 3 || (level === 3 && !fs1gp)) {
    return true;
  }
  return (lo & (level === 2 ? 0x1fe000 : 0x3fffe000)) !== 0;
}
