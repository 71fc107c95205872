import type { Digest, Digestible } from "@iommu-lab/core";
import type { Retention } from "./cache-policy.ts";

const FIRST_CAPACITY = 64;

/**
 * Entries by (regime, key, page): columns of typed arrays, found through a hash with linear probing. Nothing is allocated
 * but when it grows. What the key and the columns mean is its user's.
 */
export class TranslationCache implements Digestible {
  /** Number of entries; they are 0 … count - 1, and move when one is removed. */
  count = 0;
  /** First page of each entry's input range. */
  page: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** First page, or address, that it leads to. */
  target: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** First intermediate page, with two stages. */
  middle: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** Regime of each entry. */
  regime: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** Key of each entry. */
  key: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** Attributes of each entry. */
  attributes: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** Level and input size of the descriptor it comes from. */
  origin: Int32Array = new Int32Array(FIRST_CAPACITY);
  #used: Float64Array = new Float64Array(FIRST_CAPACITY);
  /** Hash table: entry number + 1, 0 = free. */
  #slots = new Int32Array(FIRST_CAPACITY * 2);
  #clock = 0;
  readonly #retention: Retention;
  /** Whether anything is ever kept. */
  readonly keeps: boolean;
  /** Told before an entry goes. */
  readonly #leaving: (entry: number) => void;

  constructor(retention: Retention, leaving: (entry: number) => void) {
    this.#retention = retention;
    this.keeps = retention.capacity > 0;
    this.#leaving = leaving;
  }

  /** The entry, -1 = none. */
  find(regime: number, key: number, page: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash(regime, key, page) & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1;
      if (entry < 0) {
        return -1;
      }
      if (this.page[entry] === page && this.key[entry] === key && this.regime[entry] === regime) {
        return entry;
      }
    }
  }

  /** An entry was used. */
  touch(entry: number): void {
    if (this.#retention.ordered) {
      this.#clock += 1;
      this.#used[entry] = this.#clock;
    }
  }

  /** The entry for this, made if there is none; -1 = the policy does not keep it. Its columns are the caller's to fill. */
  claim(regime: number, key: number, page: number): number {
    const found = this.find(regime, key, page);
    if (found >= 0) {
      this.touch(found);
      return found;
    }
    if (!this.#retention.keeps()) {
      return -1;
    }
    this.#makeRoom();
    const entry = this.count;
    this.count += 1;
    this.regime[entry] = regime;
    this.key[entry] = key;
    this.page[entry] = page;
    this.touch(entry);
    this.#link(entry);
    return entry;
  }

  /** Removes an entry; the last one takes its number. */
  remove(entry: number): void {
    this.#leaving(entry);
    this.#unlink(entry);
    const last = this.count - 1;
    this.count = last;
    if (entry !== last) {
      this.#slots[this.#slotOf(last)] = entry + 1;
      for (const column of [this.page, this.target, this.middle, this.#used]) {
        column[entry] = column[last] ?? 0;
      }
      for (const column of [this.regime, this.key, this.attributes, this.origin]) {
        column[entry] = column[last] ?? 0;
      }
    }
  }

  digest(into: Digest): void {
    const order = Array.from({ length: this.count }, (_, entry) => entry).toSorted(
      (a, b) =>
        (this.regime[a] ?? 0) - (this.regime[b] ?? 0) ||
        (this.key[a] ?? 0) - (this.key[b] ?? 0) ||
        (this.page[a] ?? 0) - (this.page[b] ?? 0),
    );
    for (const entry of order) {
      for (const column of [this.regime, this.key, this.page, this.target, this.middle, this.attributes, this.origin]) {
        into.number(column[entry] ?? 0);
      }
    }
    this.#retention.digest(into);
  }

  #makeRoom(): void {
    const victim = this.#retention.chanceVictim(this.count);
    if (victim >= 0) {
      this.remove(victim);
    }
    if (this.count >= this.#retention.capacity) {
      this.remove(this.#oldest());
    }
    if (this.count === this.page.length) {
      this.#grow();
    }
  }

  #oldest(): number {
    let oldest = 0;
    for (let entry = 1; entry < this.count; entry += 1) {
      if ((this.#used[entry] ?? 0) < (this.#used[oldest] ?? 0)) {
        oldest = entry;
      }
    }
    return oldest;
  }

  #link(entry: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash(this.regime[entry] ?? 0, this.key[entry] ?? 0, this.page[entry] ?? 0) & mask;
    while (this.#slots[slot] !== 0) {
      slot = (slot + 1) & mask;
    }
    this.#slots[slot] = entry + 1;
  }

  #slotOf(entry: number): number {
    const mask = this.#slots.length - 1;
    let slot = hash(this.regime[entry] ?? 0, this.key[entry] ?? 0, this.page[entry] ?? 0) & mask;
    while (this.#slots[slot] !== entry + 1) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** Frees a slot, and moves those behind it that would not be found any more. */
  #unlink(entry: number): void {
    const mask = this.#slots.length - 1;
    let free = this.#slotOf(entry);
    this.#slots[free] = 0;
    for (let slot = (free + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const other = (this.#slots[slot] ?? 0) - 1;
      const home = hash(this.regime[other] ?? 0, this.key[other] ?? 0, this.page[other] ?? 0) & mask;
      if (((slot - home) & mask) >= ((slot - free) & mask)) {
        this.#slots[free] = other + 1;
        this.#slots[slot] = 0;
        free = slot;
      }
    }
  }

  #grow(): void {
    const size = this.page.length * 2;
    this.page = widerFloats(this.page, size);
    this.target = widerFloats(this.target, size);
    this.middle = widerFloats(this.middle, size);
    this.#used = widerFloats(this.#used, size);
    this.regime = widerInts(this.regime, size);
    this.key = widerInts(this.key, size);
    this.attributes = widerInts(this.attributes, size);
    this.origin = widerInts(this.origin, size);
    this.#slots = new Int32Array(size * 2);
    for (let entry = 0; entry < this.count; entry += 1) {
      this.#link(entry);
    }
  }
}

function hash(regime: number, key: number, page: number): number {
  const high = (page * 2 ** -32) | 0;
  let mixed = Math.imul(page | 0, 0x9e3779b1) ^ Math.imul(high ^ regime, 0x85ebca6b) ^ Math.imul(key, 0xc2b2ae35);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}

function widerFloats(old: Float64Array, size: number): Float64Array {
  const wider = new Float64Array(size);
  wider.set(old);
  return wider;
}

function widerInts(old: Int32Array, size: number): Int32Array {
  const wider = new Int32Array(size);
  wider.set(old);
  return wider;
}
