import { InputError } from "@iommu-lab/core";
import type { RegisterReader } from "./register-layout.ts";

/**
 * 4096 bytes of config space in the making: a header, and two capability lists that grow in the order of the calls.
 */
export class ConfigBuilder implements RegisterReader {
  /** Always 4096. */
  readonly size: number = 4096;
  readonly #bytes = new Uint8Array(4096);
  #standardLink = 0x34;
  #standardNext = 0x40;
  #extendedLink = 0;
  #extendedNext = 0x100;

  /** One byte; all ones beyond the end. */
  read8(offset: number): number {
    return this.#bytes[offset] ?? 0xff;
  }

  /** Two bytes, little-endian. */
  read16(offset: number): number {
    return this.read8(offset) | (this.read8(offset + 1) << 8);
  }

  /** Four bytes, little-endian, unsigned. */
  read32(offset: number): number {
    return (this.read16(offset) | (this.read16(offset + 2) << 16)) >>> 0;
  }

  /** Writes as many bytes as `size` says. */
  set(offset: number, size: 1 | 2 | 4, value: number): void {
    for (let index = 0; index < size; index += 1) {
      this.set8(offset + index, value >>> (8 * index));
    }
  }

  /** Writes one byte. */
  set8(offset: number, value: number): void {
    this.#bytes[offset] = value;
  }

  /** Writes two bytes, little-endian. */
  set16(offset: number, value: number): void {
    this.set8(offset, value);
    this.set8(offset + 1, value >>> 8);
  }

  /** Writes four bytes, little-endian. */
  set32(offset: number, value: number): void {
    this.set16(offset, value);
    this.set16(offset + 2, value >>> 16);
  }

  /**
   * Appends a capability to the standard list and returns its offset.
   *
   * @throws InputError when the 256 bytes are full
   */
  standard(id: number, length: number): number {
    const at = this.#standardNext;
    if (at + length > 0x100) {
      throw new InputError(`capability 0x${id.toString(16)} of ${length} bytes does not fit into 256 bytes`);
    }
    this.set8(this.#standardLink, at);
    this.set8(at, id);
    this.set8(0x06, 0x10);
    this.#standardLink = at + 1;
    this.#standardNext = align(at + length, 0x10);
    return at;
  }

  /**
   * Appends a capability to the extended list and returns its offset.
   *
   * @throws InputError when the 4096 bytes are full
   */
  extended(id: number, version: number, length: number): number {
    const at = this.#extendedNext;
    if (at + length > this.#bytes.length) {
      throw new InputError(`extended capability 0x${id.toString(16)} of ${length} bytes does not fit into 4096 bytes`);
    }
    if (this.#extendedLink !== 0) {
      const version16 = (this.#bytes[this.#extendedLink + 2] ?? 0) & 0xf;
      this.set16(this.#extendedLink + 2, version16 | (at << 4));
    }
    this.set16(at, id);
    this.set16(at + 2, version);
    this.#extendedLink = at;
    this.#extendedNext = align(at + length, 0x10);
    return at;
  }

  /** The bytes so far. */
  bytes(): Uint8Array {
    return this.#bytes.slice();
  }
}

/**
 * Checks a number that a caller gave.
 *
 * @throws InputError when it is no integer from `low` to `high`
 */
export function expectRange(what: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new InputError(`${what} is ${value}, expected ${low} to ${high}`);
  }
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
