import type { Digest, Digestible } from "@iommu-lab/core";
import { type CachePolicy, cacheLimits } from "@iommu-lab/pci";
import { Chance } from "./cache-policy.ts";

const FIRST_SLOTS = 64;
/** With chance: one of so many uses drops an entry. */
const DROP_ONE_OF = 4;
/** PASID of a slot without entry. */
const FREE = -2;

/**
 * A cache of numbers under the tag (space, PASID, kind, prefix): slots in typed arrays, chained by hash, in order of use.
 * Looking up allocates nothing; keeping allocates when it grows.
 */
export class TagCache implements Digestible {
  readonly #capacity: number;
  readonly #chance: Chance | undefined;
  #slots = FIRST_SLOTS;
  #heads = new Int32Array(FIRST_SLOTS).fill(-1);
  #next = new Int32Array(FIRST_SLOTS);
  #newer = new Int32Array(FIRST_SLOTS);
  #older = new Int32Array(FIRST_SLOTS);
  #space = new Int32Array(FIRST_SLOTS);
  #pasid = new Int32Array(FIRST_SLOTS).fill(FREE);
  #kind = new Int32Array(FIRST_SLOTS);
  #prefix = new Float64Array(FIRST_SLOTS);
  #value = new Float64Array(FIRST_SLOTS);
  #line = new Float64Array(FIRST_SLOTS);
  #flags = new Int32Array(FIRST_SLOTS);
  #used = 0;
  #free = -1;
  #newest = -1;
  #oldest = -1;
  #size = 0;

  constructor(policy: CachePolicy) {
    const { capacity, seed } = cacheLimits(policy);
    this.#capacity = capacity;
    this.#chance = seed < 0 ? undefined : new Chance(seed);
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#size;
  }

  /** Slots that may be in use: 0 … this - 1. */
  get end(): number {
    return this.#used;
  }

  /** Nothing is ever kept. */
  get off(): boolean {
    return this.#capacity === 0;
  }

  /** The slot of an entry; -1 = not kept. Counts as a use. */
  find(space: number, pasid: number, kind: number, prefix: number): number {
    if (this.#size === 0) {
      return -1;
    }
    const slot = this.#search(space, pasid, kind, prefix);
    if (slot >= 0 && this.#capacity !== Infinity) {
      this.#touch(slot);
    }
    if (slot >= 0 && this.#chance !== undefined && this.#chance.below(DROP_ONE_OF) === 0) {
      this.drop(slot);
      return -1;
    }
    return slot;
  }

  /** Keeps an entry, in place of one with the same tag. */
  keep(space: number, pasid: number, kind: number, prefix: number, value: number, flags: number, line: number): void {
    if (this.#capacity === 0) {
      return;
    }
    let slot = this.#search(space, pasid, kind, prefix);
    if (slot < 0) {
      this.#makeRoom();
      slot = this.#take();
      this.#space[slot] = space;
      this.#pasid[slot] = pasid;
      this.#kind[slot] = kind;
      this.#prefix[slot] = prefix;
      this.#link(slot);
    } else if (this.#capacity !== Infinity) {
      this.#touch(slot);
    }
    this.#value[slot] = value;
    this.#flags[slot] = flags;
    this.#line[slot] = line;
  }

  /** Whether a slot holds an entry. */
  holds(slot: number): boolean {
    return (this.#pasid[slot] ?? FREE) !== FREE;
  }

  /** Space of a slot's entry. */
  space(slot: number): number {
    return this.#space[slot] ?? 0;
  }

  /** PASID of a slot's entry. */
  pasid(slot: number): number {
    return this.#pasid[slot] ?? 0;
  }

  /** Kind of a slot's entry. */
  kind(slot: number): number {
    return this.#kind[slot] ?? 0;
  }

  /** Prefix of a slot's entry. */
  prefix(slot: number): number {
    return this.#prefix[slot] ?? 0;
  }

  /** Value of a slot's entry. */
  value(slot: number): number {
    return this.#value[slot] ?? 0;
  }

  /** Flags of a slot's entry. */
  flags(slot: number): number {
    return this.#flags[slot] ?? 0;
  }

  /** Where a slot's entry was read from. */
  line(slot: number): number {
    return this.#line[slot] ?? 0;
  }

  /** Forgets a slot's entry. */
  drop(slot: number): void {
    this.#unlink(slot);
    this.#pasid[slot] = FREE;
    this.#next[slot] = this.#free;
    this.#free = slot;
    this.#size -= 1;
  }

  /** Forgets everything. */
  clear(): void {
    for (let slot = 0; slot < this.#used; slot += 1) {
      if (this.holds(slot)) {
        this.drop(slot);
      }
    }
  }

  digest(into: Digest): void {
    const rows: number[][] = [];
    for (let slot = 0; slot < this.#used; slot += 1) {
      if (this.holds(slot)) {
        const tag = [this.space(slot), this.pasid(slot), this.kind(slot), this.prefix(slot)];
        rows.push([...tag, this.value(slot), this.flags(slot), this.line(slot)]);
      }
    }
    for (const row of rows.toSorted(compareRows)) {
      for (const value of row) {
        into.number(value);
      }
    }
    if (this.#capacity !== Infinity) {
      for (let slot = this.#newest; slot >= 0; slot = this.#older[slot] ?? -1) {
        into.number(this.prefix(slot));
      }
    }
    into.number(this.#chance?.state ?? 0);
  }

  #search(space: number, pasid: number, kind: number, prefix: number): number {
    let slot = this.#heads[this.#hash(space, pasid, kind, prefix)] ?? -1;
    while (slot >= 0) {
      if (
        this.#prefix[slot] === prefix &&
        this.#space[slot] === space &&
        this.#kind[slot] === kind &&
        this.#pasid[slot] === pasid
      ) {
        return slot;
      }
      slot = this.#next[slot] ?? -1;
    }
    return -1;
  }

  #hash(space: number, pasid: number, kind: number, prefix: number): number {
    const low = prefix | 0;
    const high = (prefix / 2 ** 32) | 0;
    const mixed = Math.imul(low ^ Math.imul(high + kind, 0x2545f491), 0x9e3779b1) ^ Math.imul(space, 0x85ebca6b);
    const hash = Math.imul(mixed ^ pasid, 0xc2b2ae35);
    return (hash ^ (hash >>> 15)) & (this.#slots - 1);
  }

  #makeRoom(): void {
    if (this.#size >= this.#capacity) {
      this.drop(this.#oldest);
    } else if (this.#chance !== undefined && this.#size > 0 && this.#chance.below(DROP_ONE_OF) === 0) {
      this.drop(this.#oldest);
    }
  }

  #take(): number {
    this.#size += 1;
    if (this.#free >= 0) {
      const slot = this.#free;
      this.#free = this.#next[slot] ?? -1;
      return slot;
    }
    if (this.#used === this.#slots) {
      this.#grow();
    }
    this.#used += 1;
    return this.#used - 1;
  }

  #grow(): void {
    this.#slots *= 2;
    this.#newer = grown(this.#newer, Int32Array);
    this.#older = grown(this.#older, Int32Array);
    this.#space = grown(this.#space, Int32Array);
    this.#kind = grown(this.#kind, Int32Array);
    this.#flags = grown(this.#flags, Int32Array);
    this.#prefix = grown(this.#prefix, Float64Array);
    this.#value = grown(this.#value, Float64Array);
    this.#line = grown(this.#line, Float64Array);
    const pasids = new Int32Array(this.#slots).fill(FREE);
    pasids.set(this.#pasid);
    this.#pasid = pasids;
    this.#next = new Int32Array(this.#slots);
    this.#heads = new Int32Array(this.#slots).fill(-1);
    for (let slot = 0; slot < this.#used; slot += 1) {
      this.#chain(slot);
    }
  }

  #chain(slot: number): void {
    const head = this.#hash(this.space(slot), this.pasid(slot), this.kind(slot), this.prefix(slot));
    this.#next[slot] = this.#heads[head] ?? -1;
    this.#heads[head] = slot;
  }

  #link(slot: number): void {
    this.#chain(slot);
    this.#older[slot] = this.#newest;
    this.#newer[slot] = -1;
    if (this.#newest >= 0) {
      this.#newer[this.#newest] = slot;
    } else {
      this.#oldest = slot;
    }
    this.#newest = slot;
  }

  #unlink(slot: number): void {
    const head = this.#hash(this.space(slot), this.pasid(slot), this.kind(slot), this.prefix(slot));
    if (this.#heads[head] === slot) {
      this.#heads[head] = this.#next[slot] ?? -1;
    } else {
      let before = this.#heads[head] ?? -1;
      while (before >= 0 && this.#next[before] !== slot) {
        before = this.#next[before] ?? -1;
      }
      this.#next[before] = this.#next[slot] ?? -1;
    }
    this.#leaveOrder(slot);
  }

  #leaveOrder(slot: number): void {
    const newer = this.#newer[slot] ?? -1;
    const older = this.#older[slot] ?? -1;
    if (newer >= 0) {
      this.#older[newer] = older;
    } else {
      this.#newest = older;
    }
    if (older >= 0) {
      this.#newer[older] = newer;
    } else {
      this.#oldest = newer;
    }
  }

  #touch(slot: number): void {
    if (slot !== this.#newest) {
      this.#leaveOrder(slot);
      this.#older[slot] = this.#newest;
      this.#newer[slot] = -1;
      this.#newer[this.#newest] = slot;
      this.#newest = slot;
    }
  }
}

function grown<T extends Int32Array | Float64Array>(old: T, make: new (length: number) => T): T {
  const array = new make(old.length * 2);
  array.set(old);
  return array;
}

function compareRows(one: readonly number[], other: readonly number[]): number {
  const index = one.findIndex((value, at) => value !== other[at]);
  return index < 0 ? 0 : (one[index] ?? 0) - (other[index] ?? 0);
}
