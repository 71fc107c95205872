/**
 * A running 53-bit hash over numbers and strings. Stateful objects write what they are into it, so that two states of a
 * platform can be compared without keeping them.
 */
export class Digest {
  #a = 0xdeadbeef;
  #b = 0x41c6ce57;

  /** Adds an integer below 2^53, or `Infinity` (a deadline that never comes). */
  number(value: number): void {
    if (!Number.isFinite(value)) {
      this.text(String(value));
      return;
    }
    this.#word(value | 0);
    this.#word((value / 2 ** 32) | 0);
  }

  /** Adds a string. */
  text(value: string): void {
    for (let index = 0; index < value.length; index += 1) {
      this.#word(value.charCodeAt(index));
    }
    this.#word(value.length);
  }

  /** The hash so far, as 14 hexadecimal digits. */
  get value(): string {
    const high = Math.imul(this.#a ^ (this.#a >>> 16), 2246822507) ^ Math.imul(this.#b ^ (this.#b >>> 13), 3266489909);
    const low = Math.imul(this.#b ^ (this.#b >>> 16), 2246822507) ^ Math.imul(this.#a ^ (this.#a >>> 13), 3266489909);
    return ((low & 0x1fffff) * 2 ** 32 + (high >>> 0)).toString(16).padStart(14, "0");
  }

  #word(value: number): void {
    // A product carries bits upwards alone: without the shifts two changes of bit 31 would cancel each other.
    const a = Math.imul(this.#a ^ value, 2654435761);
    const b = Math.imul(this.#b ^ value, 1597334677);
    this.#a = a ^ (a >>> 15);
    this.#b = b ^ (b >>> 13);
  }
}

/** A stateful object whose state can be digested. */
export interface Digestible {
  /** Writes everything that decides its future behaviour. */
  digest(into: Digest): void;
}
