import type { Digest } from "@iommu-lab/core";
import type { TranslationResult } from "../fabric/outcome.ts";
import { NO_PASID } from "../fabric/request.ts";
import type { Choices } from "./choices.ts";
import { type InvalidationScope, invalidationHits } from "./invalidation-scope.ts";

const READ = 1;
const WRITE = 2;
const EXECUTE = 4;
const PRIVILEGED = 8;
const GLOBAL = 0x10;
const UNTRANSLATED_ONLY = 0x20;
const NO_SNOOP = 0x40;
const CXL_IO = 0x80;
/** Stands in the key for "any PASID". */
const ANY_PASID = -2;
const FIRST_CAPACITY = 64;
const SIZES = 65;

/** One translation in an ATC, as it is listed. */
export interface AtcEntry {
  /** First page number of the range, a multiple of its size. */
  readonly page: number;
  /** Host page number of its start. */
  readonly host: number;
  /** log2 of the range in bytes. */
  readonly sizeLog2: number;
  /** The PASID it was asked with, or {@link NO_PASID}. */
  readonly pasid: number;
  /** Reads are permitted. */
  readonly read: boolean;
  /** Writes are permitted. */
  readonly write: boolean;
  /** Execution is permitted. */
  readonly execute: boolean;
  /** It holds for Privileged Mode. */
  readonly privileged: boolean;
  /** Valid for all PASIDs. */
  readonly global: boolean;
  /** U: only Untranslated requests may use the range. */
  readonly untranslatedOnly: boolean;
  /** N of the completion, as it is on the wire. */
  readonly noSnoop: boolean;
  /** The range must be accessed through CXL.io. */
  readonly cxlIo: boolean;
  /** Trace event of the Translation Request that brought it, 0 when nobody listened. */
  readonly event: number;
  /** Virtual time in ns at which it came. */
  readonly time: number;
}

/** What a lookup found; one object per ATC, reused. */
export class AtcHit {
  /** Host page number of the page looked up. */
  host = 0;
  /** Reads are permitted. */
  read = false;
  /** Writes are permitted. */
  write = false;
  /** Execution is permitted. */
  execute = false;
  /** Valid for all PASIDs. */
  global = false;
  /** log2 of the range in bytes. */
  sizeLog2 = 12;
  /** N of the completion, as it is on the wire. */
  noSnoop = false;
  /** U: only Untranslated requests may use the range. */
  untranslatedOnly = false;
  /** The range must be accessed through CXL.io. */
  cxlIo = false;
}

/**
 * A function's Address Translation Cache. Entries are columns of typed arrays in the order in which they came, found
 * through a hash of (range, PASID, privilege), one probe per range size that is present. Without a capacity nothing leaves
 * but by invalidation or reset, so an invalidation that was forgotten stays visible. A lookup allocates nothing.
 *
 * Source: PCIe 6.0 §10.2, §10.3; R=W=0 is never held.
 */
export class Atc {
  #count = 0;
  #page = new Float64Array(FIRST_CAPACITY);
  #host = new Float64Array(FIRST_CAPACITY);
  #pasid = new Int32Array(FIRST_CAPACITY);
  #size = new Uint8Array(FIRST_CAPACITY);
  #flags = new Uint8Array(FIRST_CAPACITY);
  #event = new Float64Array(FIRST_CAPACITY);
  #time = new Float64Array(FIRST_CAPACITY);
  /** Hash table: entry number + 1, 0 = free. */
  #slots = new Int32Array(FIRST_CAPACITY * 2);
  /** How many entries have each size. */
  readonly #sizes = new Uint32Array(SIZES);
  #smallest = SIZES;
  #largest = 0;
  #globals = 0;
  readonly #hit = new AtcHit();
  readonly #scope = { page: 0, sizeLog2: 12, pasid: NO_PASID, global: false };

  /** Number of entries. */
  get size(): number {
    return this.#count;
  }

  /**
   * Looks a page up; the smallest range that holds it wins.
   *
   * @param page page number (address / 4096)
   * @param pasid the PASID or {@link NO_PASID}
   * @returns a reused object, or undefined
   */
  lookup(page: number, pasid: number, privileged: boolean = false): AtcHit | undefined {
    for (let size = this.#smallest; size <= this.#largest; size += 1) {
      if (this.#sizes[size] !== 0) {
        const base = page - (page % 2 ** (size - 12));
        let entry = this.#find(base, pasid, size, privileged);
        if (entry < 0 && pasid !== NO_PASID && this.#globals > 0) {
          entry = this.#find(base, ANY_PASID, size, privileged);
        }
        if (entry >= 0) {
          return this.#describe(entry, page);
        }
      }
    }
    return undefined;
  }

  /**
   * Takes a translation in, in place of an entry for the same range, PASID and privilege; the oldest entry leaves when the
   * capacity is used up. One without permission is not taken.
   *
   * @param from a Success
   * @param pasid the PASID it was asked with, or {@link NO_PASID}
   * @param time virtual time in ns
   * @param capacity how many entries there may be
   */
  insert(from: TranslationResult, pasid: number, time: number, capacity: number = Infinity): void {
    if (!from.read && !from.write) {
      return;
    }
    const base = from.page - (from.page % 2 ** (from.sizeLog2 - 12));
    const key = from.global && pasid !== NO_PASID ? ANY_PASID : pasid;
    let entry = this.#find(base, key, from.sizeLog2, from.privileged);
    if (entry < 0) {
      while (this.#count > 0 && this.#count >= capacity) {
        this.#evictOldest();
      }
      if (this.#count === this.#page.length) {
        this.#grow();
      }
      entry = this.#count;
      this.#count += 1;
      this.#page[entry] = base;
      this.#size[entry] = from.sizeLog2;
      this.#flags[entry] = flagsOf(from);
      this.#pasid[entry] = pasid;
      this.#note(entry);
      this.#link(entry);
    }
    this.#host[entry] = from.host - (from.page - base);
    this.#pasid[entry] = pasid;
    this.#flags[entry] = flagsOf(from);
    this.#event[entry] = from.event;
    this.#time[entry] = time;
  }

  /**
   * Does what an Invalidate Request says: `invalidationHits()`.
   *
   * @param page first page number
   * @param sizeLog2 12 … 64; 64 = everything
   * @param withoutPasid what a request without PASID takes
   * @returns how many entries it took
   */
  invalidate(
    page: number,
    sizeLog2: number,
    pasid: number,
    global: boolean,
    withoutPasid: Choices["withoutPasid"] = "everything",
  ): number {
    const scope = this.#scope;
    scope.page = page;
    scope.sizeLog2 = sizeLog2;
    scope.pasid = pasid;
    scope.global = global;
    let kept = 0;
    for (let entry = 0; entry < this.#count; entry += 1) {
      if (!this.#taken(entry, scope, withoutPasid)) {
        this.#move(entry, kept);
        kept += 1;
      }
    }
    return this.#truncate(kept);
  }

  /** Drops everything. @returns how many entries there were */
  clear(): number {
    return this.#truncate(0);
  }

  /** All entries, in the order in which they came. */
  entries(): AtcEntry[] {
    const list: AtcEntry[] = [];
    for (let entry = 0; entry < this.#count; entry += 1) {
      const flags = this.#flags[entry] ?? 0;
      list.push({
        page: this.#page[entry] ?? 0,
        host: this.#host[entry] ?? 0,
        sizeLog2: this.#size[entry] ?? 12,
        pasid: this.#pasid[entry] ?? NO_PASID,
        read: (flags & READ) !== 0,
        write: (flags & WRITE) !== 0,
        execute: (flags & EXECUTE) !== 0,
        privileged: (flags & PRIVILEGED) !== 0,
        global: (flags & GLOBAL) !== 0,
        untranslatedOnly: (flags & UNTRANSLATED_ONLY) !== 0,
        noSnoop: (flags & NO_SNOOP) !== 0,
        cxlIo: (flags & CXL_IO) !== 0,
        event: this.#event[entry] ?? 0,
        time: this.#time[entry] ?? 0,
      });
    }
    return list;
  }

  /** Writes what decides later lookups. */
  digest(into: Digest): void {
    into.number(this.#count);
    for (let entry = 0; entry < this.#count; entry += 1) {
      into.number(this.#page[entry] ?? 0);
      into.number(this.#host[entry] ?? 0);
      into.number(this.#pasid[entry] ?? 0);
      into.number(this.#size[entry] ?? 0);
      into.number(this.#flags[entry] ?? 0);
    }
  }

  #taken(entry: number, scope: InvalidationScope, withoutPasid: Choices["withoutPasid"]): boolean {
    return invalidationHits(
      scope,
      this.#page[entry] ?? 0,
      this.#size[entry] ?? 12,
      this.#pasid[entry] ?? NO_PASID,
      ((this.#flags[entry] ?? 0) & GLOBAL) !== 0,
      withoutPasid,
    );
  }

  #evictOldest(): void {
    for (const column of [this.#page, this.#host, this.#pasid, this.#size, this.#flags, this.#event, this.#time]) {
      column.copyWithin(0, 1, this.#count);
    }
    this.#count -= 1;
    this.#rebuild();
  }

  #describe(entry: number, page: number): AtcHit {
    const hit = this.#hit;
    const flags = this.#flags[entry] ?? 0;
    hit.host = (this.#host[entry] ?? 0) + (page - (this.#page[entry] ?? 0));
    hit.read = (flags & READ) !== 0;
    hit.write = (flags & WRITE) !== 0;
    hit.execute = (flags & EXECUTE) !== 0;
    hit.global = (flags & GLOBAL) !== 0;
    hit.sizeLog2 = this.#size[entry] ?? 12;
    hit.noSnoop = (flags & NO_SNOOP) !== 0;
    hit.untranslatedOnly = (flags & UNTRANSLATED_ONLY) !== 0;
    hit.cxlIo = (flags & CXL_IO) !== 0;
    return hit;
  }

  #find(base: number, pasidKey: number, size: number, privileged: boolean): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash(base, pasidKey, size) & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1;
      if (entry < 0) {
        return -1;
      }
      if (
        this.#page[entry] === base &&
        this.#size[entry] === size &&
        this.#key(entry) === pasidKey &&
        privileged === (((this.#flags[entry] ?? 0) & PRIVILEGED) !== 0)
      ) {
        return entry;
      }
    }
  }

  #key(entry: number): number {
    const pasid = this.#pasid[entry] ?? NO_PASID;
    return pasid !== NO_PASID && ((this.#flags[entry] ?? 0) & GLOBAL) !== 0 ? ANY_PASID : pasid;
  }

  #link(entry: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash(this.#page[entry] ?? 0, this.#key(entry), this.#size[entry] ?? 12) & mask;
    while (this.#slots[slot] !== 0) {
      slot = (slot + 1) & mask;
    }
    this.#slots[slot] = entry + 1;
  }

  #note(entry: number): void {
    const size = this.#size[entry] ?? 12;
    this.#sizes[size] = (this.#sizes[size] ?? 0) + 1;
    this.#smallest = Math.min(this.#smallest, size);
    this.#largest = Math.max(this.#largest, size);
    if (this.#key(entry) === ANY_PASID) {
      this.#globals += 1;
    }
  }

  #move(from: number, to: number): void {
    if (from !== to) {
      for (const column of [this.#page, this.#host, this.#pasid, this.#size, this.#flags, this.#event, this.#time]) {
        column[to] = column[from] ?? 0;
      }
    }
  }

  #truncate(kept: number): number {
    const dropped = this.#count - kept;
    if (dropped > 0) {
      this.#count = kept;
      this.#rebuild();
    }
    return dropped;
  }

  #rebuild(): void {
    this.#slots.fill(0);
    this.#sizes.fill(0);
    this.#smallest = SIZES;
    this.#largest = 0;
    this.#globals = 0;
    for (let entry = 0; entry < this.#count; entry += 1) {
      this.#note(entry);
      this.#link(entry);
    }
  }

  #grow(): void {
    const capacity = this.#page.length * 2;
    this.#page = wider(this.#page, new Float64Array(capacity));
    this.#host = wider(this.#host, new Float64Array(capacity));
    this.#pasid = wider(this.#pasid, new Int32Array(capacity));
    this.#size = wider(this.#size, new Uint8Array(capacity));
    this.#flags = wider(this.#flags, new Uint8Array(capacity));
    this.#event = wider(this.#event, new Float64Array(capacity));
    this.#time = wider(this.#time, new Float64Array(capacity));
    this.#slots = new Int32Array(capacity * 2);
    this.#rebuild();
  }
}

function wider<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

function hash(page: number, pasid: number, size: number): number {
  const low = (page % 2 ** 32) | 0;
  const high = (page / 2 ** 32) | 0;
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1) ^ Math.imul(pasid * 64 + size, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

function flagsOf(from: TranslationResult): number {
  return (
    (from.read ? READ : 0) |
    (from.write ? WRITE : 0) |
    (from.execute ? EXECUTE : 0) |
    (from.privileged ? PRIVILEGED : 0) |
    (from.global ? GLOBAL : 0) |
    (from.untranslatedOnly ? UNTRANSLATED_ONLY : 0) |
    (from.noSnoop ? NO_SNOOP : 0) |
    (from.cxlIo ? CXL_IO : 0)
  );
}
