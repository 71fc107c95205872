import type { Digest } from "@iommu-lab/core";
import type { Replacement } from "./cache-policy.ts";

const START = 64;

/**
 * Entries under a tag of two integers and a page number, in columns of typed arrays: finding and adding allocates
 * nothing but when the columns grow. What an entry holds is the owner's: an address or page, flags, a domain ID and a
 * PASID to invalidate by.
 */
export class TagStore {
  /** A number below 2^53 for each entry. */
  target: Float64Array;
  /** 32 bits for each entry. */
  flags: Int32Array;
  /** The domain ID of each entry. */
  domainIds: Int32Array;
  /** The PASID of each entry. */
  pasids: Int32Array;
  /** The first part of each tag. */
  first: Int32Array;
  /** The second part of each tag. */
  second: Int32Array;
  /** The page number of each tag. */
  pages: Float64Array;
  /** Entries in use. */
  size = 0;
  readonly #replacement: Replacement;
  #heads: Int32Array;
  #next: Int32Array;
  /** Order of use; 0 = the slot is free. */
  #used: Float64Array;
  /** First slot never used. */
  #end = 0;
  #free = -1;
  #clock = 0;

  constructor(replacement: Replacement) {
    this.#replacement = replacement;
    this.target = new Float64Array(START);
    this.flags = new Int32Array(START);
    this.domainIds = new Int32Array(START);
    this.pasids = new Int32Array(START);
    this.first = new Int32Array(START);
    this.second = new Int32Array(START);
    this.pages = new Float64Array(START);
    this.#heads = new Int32Array(START).fill(-1);
    this.#next = new Int32Array(START);
    this.#used = new Float64Array(START);
  }

  /** Slots are numbers below this; some are free. */
  get end(): number {
    return this.#end;
  }

  /** Whether a slot holds an entry. */
  holds(slot: number): boolean {
    return this.#used[slot] !== 0;
  }

  /** The slot of an entry, or -1. */
  find(first: number, second: number, page: number): number {
    const slot = this.#chained(first, second, page);
    if (slot < 0) {
      return -1;
    }
    if (this.#replacement.drops()) {
      this.remove(slot);
      return -1;
    }
    if (this.#replacement.ordered) {
      this.#clock += 1;
      this.#used[slot] = this.#clock;
    }
    return slot;
  }

  /** A slot for this tag, new or that of the entry it has; -1 where nothing is kept. The owner fills it. */
  put(first: number, second: number, page: number): number {
    if (!this.#replacement.keeps) {
      return -1;
    }
    const known = this.#chained(first, second, page);
    if (known >= 0) {
      return known;
    }
    if (this.size >= this.#replacement.limit) {
      this.remove(this.#oldest());
    }
    const slot = this.#take();
    const bucket = this.#bucket(first, second, page);
    this.first[slot] = first;
    this.second[slot] = second;
    this.pages[slot] = page;
    this.#next[slot] = this.#heads[bucket] ?? -1;
    this.#heads[bucket] = slot;
    this.#clock += 1;
    this.#used[slot] = this.#clock;
    this.size += 1;
    return slot;
  }

  /** Drops an entry. */
  remove(slot: number): void {
    const bucket = this.#bucket(this.first[slot] ?? 0, this.second[slot] ?? 0, this.pages[slot] ?? 0);
    const after = this.#next[slot] ?? -1;
    let at = this.#heads[bucket] ?? -1;
    if (at === slot) {
      this.#heads[bucket] = after;
    } else {
      while (at >= 0 && this.#next[at] !== slot) {
        at = this.#next[at] ?? -1;
      }
      this.#next[at] = after;
    }
    this.#used[slot] = 0;
    this.#next[slot] = this.#free;
    this.#free = slot;
    this.size -= 1;
  }

  /** Drops everything. */
  clear(): void {
    if (this.#end === 0) {
      return;
    }
    this.#heads.fill(-1);
    this.#used.fill(0);
    this.#end = 0;
    this.#free = -1;
    this.size = 0;
  }

  /** Everything in it, whatever order it came in. */
  digest(into: Digest): void {
    const lines: string[] = [];
    for (let slot = 0; slot < this.#end; slot += 1) {
      if (this.holds(slot)) {
        const tag = [this.first[slot], this.second[slot], this.pages[slot]];
        const held = [this.target[slot], this.flags[slot], this.domainIds[slot], this.pasids[slot]];
        lines.push([...tag, ...held, this.#replacement.ordered ? this.#used[slot] : 0].join(" "));
      }
    }
    for (const line of lines.toSorted()) {
      into.text(line);
    }
    this.#replacement.digest(into);
  }

  #chained(first: number, second: number, page: number): number {
    let slot = this.#heads[this.#bucket(first, second, page)] ?? -1;
    while (slot >= 0) {
      if (this.pages[slot] === page && this.first[slot] === first && this.second[slot] === second) {
        return slot;
      }
      slot = this.#next[slot] ?? -1;
    }
    return -1;
  }

  #bucket(first: number, second: number, page: number): number {
    const mixed = Math.imul(first ^ Math.imul(second, 0x85ebca6b) ^ (page | 0), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & (this.#heads.length - 1);
  }

  #take(): number {
    const slot = this.#free;
    if (slot >= 0) {
      this.#free = this.#next[slot] ?? -1;
      return slot;
    }
    if (this.#end === this.target.length) {
      this.#grow();
    }
    this.#end += 1;
    return this.#end - 1;
  }

  #oldest(): number {
    let found = -1;
    let least = Infinity;
    for (let slot = 0; slot < this.#end; slot += 1) {
      const used = this.#used[slot] ?? 0;
      if (used !== 0 && used < least) {
        least = used;
        found = slot;
      }
    }
    return found;
  }

  #grow(): void {
    const length = this.target.length * 2;
    this.target = doubles(this.target, length);
    this.pages = doubles(this.pages, length);
    this.#used = doubles(this.#used, length);
    this.flags = integers(this.flags, length);
    this.domainIds = integers(this.domainIds, length);
    this.pasids = integers(this.pasids, length);
    this.first = integers(this.first, length);
    this.second = integers(this.second, length);
    this.#next = integers(this.#next, length);
    this.#heads = new Int32Array(length).fill(-1);
    for (let slot = 0; slot < this.#end; slot += 1) {
      const bucket = this.#bucket(this.first[slot] ?? 0, this.second[slot] ?? 0, this.pages[slot] ?? 0);
      this.#next[slot] = this.#heads[bucket] ?? -1;
      this.#heads[bucket] = slot;
    }
  }
}

function doubles(old: Float64Array, length: number): Float64Array {
  const grown = new Float64Array(length);
  grown.set(old);
  return grown;
}

function integers(old: Int32Array, length: number): Int32Array {
  const grown = new Int32Array(length);
  grown.set(old);
  return grown;
}
