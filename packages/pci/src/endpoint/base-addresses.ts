import type { Digest } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";

const COMMAND = 4;
const MEMORY_SPACE = 2;
const FIRST = 0x10;
const COUNT = 6;
const PAGE = 4096;

/** Answers for a part of a base address' memory in place of plain bytes. */
export interface MemoryRegion {
  /** Which base address, 0 … 5. */
  readonly bar: number;
  /** First byte. */
  readonly start: number;
  /** First byte after it. */
  readonly end: number;
  /** Four bytes. @param offset from the base address */
  read(offset: number): number;
  /** Four bytes. @param offset from the base address */
  write(offset: number, value: number): void;
}

interface Bar {
  readonly index: number;
  readonly size: number;
  readonly words: Map<number, number>;
}

/** Where an address lies in a function's memory. One object per function, reused. */
export interface BarPlace {
  /** Which base address. */
  bar: number;
  /** Bytes from its start. */
  offset: number;
}

/**
 * The memory behind a function's base addresses. A dump shows where they start and not how large they are, so a base
 * address takes requests once its size is declared. Memory reads as what was last written, 0 at first.
 *
 * Source: PCIe 6.0 §7.5.1.2.1.
 */
export class BaseAddresses {
  readonly #config: ConfigSpace;
  readonly #bars: Bar[] = [];
  readonly #regions: MemoryRegion[] = [];
  readonly #place: BarPlace = { bar: 0, offset: 0 };

  constructor(config: ConfigSpace) {
    this.#config = config;
  }

  /**
   * Says how large a base address is.
   *
   * @param index 0 … 5
   * @param size bytes, a power of two of at least 16
   * @throws InputError for another size or index
   */
  declare(index: number, size: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= COUNT || size < 16 || !Number.isInteger(Math.log2(size))) {
      throw new InputError(
        `base address ${index} of ${size} bytes, expected 0 to ${COUNT - 1} and a power of two of at least 16`,
      );
    }
    this.#bars.push({ index, size, words: new Map() });
  }

  /** Lets a region answer for its bytes. */
  addRegion(region: MemoryRegion): void {
    this.#regions.push(region);
  }

  /** Where a base address starts now, in bytes; undefined while it is unassigned or no memory. */
  addressOf(index: number): number | undefined {
    const at = FIRST + 4 * index;
    const low = this.#config.read32(at);
    const upper = (low & 7) === 4 && index + 1 < COUNT ? this.#config.read32(at + 4) : 0;
    const address = upper * 2 ** 32 + (low & 0xfffffff0) + ((low & 0x80000000) === 0 ? 0 : 2 ** 32);
    return (low & 1) !== 0 || address === 0 ? undefined : address;
  }

  /** The base address that covers an address; undefined = none does, or Memory Space is off. @returns a reused object */
  find(page: number, offset: number): BarPlace | undefined {
    if ((this.#config.read8(COMMAND) & MEMORY_SPACE) === 0) {
      return undefined;
    }
    for (const { index, size } of this.#bars) {
      const start = this.addressOf(index);
      if (start === undefined) {
        continue;
      }
      const from = (page - Math.floor(start / PAGE)) * PAGE + offset - (start % PAGE);
      if (from >= 0 && from < size) {
        this.#place.bar = index;
        this.#place.offset = from;
        return this.#place;
      }
    }
    return undefined;
  }

  /** Whether a base address covers any byte of a page. */
  covers(page: number): boolean {
    if ((this.#config.read8(COMMAND) & MEMORY_SPACE) === 0) {
      return false;
    }
    for (const { index, size } of this.#bars) {
      const start = this.addressOf(index);
      if (start !== undefined && start < (page + 1) * PAGE && start + size > page * PAGE) {
        return true;
      }
    }
    return false;
  }

  /** Four bytes, unsigned. @param offset multiple of 4 */
  read(bar: number, offset: number): number {
    const region = this.#regionAt(bar, offset);
    return region?.read(offset) ?? this.#bars.find(({ index }) => index === bar)?.words.get(offset) ?? 0;
  }

  /** Four bytes. @param offset multiple of 4 */
  write(bar: number, offset: number, value: number): void {
    const region = this.#regionAt(bar, offset);
    if (region === undefined) {
      this.#bars.find(({ index }) => index === bar)?.words.set(offset, value >>> 0);
    } else {
      region.write(offset, value >>> 0);
    }
  }

  /** Writes sizes and contents. */
  digest(into: Digest): void {
    for (const { index, size, words } of this.#bars) {
      into.number(index);
      into.number(size);
      for (const [offset, value] of words) {
        into.number(offset);
        into.number(value);
      }
    }
  }

  #regionAt(bar: number, offset: number): MemoryRegion | undefined {
    return this.#regions.find((region) => region.bar === bar && offset >= region.start && offset < region.end);
  }
}
