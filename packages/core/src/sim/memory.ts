import type { Digest } from "./digest.ts";
import { InputError } from "./errors.ts";

const CHUNK_SHIFT = 12;
const CHUNK_BYTES = 2 ** CHUNK_SHIFT;
const CHUNK_WORDS = CHUNK_BYTES / 4;
const CHUNK_MASK = CHUNK_BYTES - 1;
/** Multiplying by these is exact, and several times faster than dividing or taking a remainder of a double. */
const PER_CHUNK = 2 ** -CHUNK_SHIFT;
const REGION_CHUNKS = 1024;
const PER_REGION = PER_CHUNK / REGION_CHUNKS;

/** The chunks of 4 MiB; what was never written is undefined. */
type Region = (Uint32Array | undefined)[];

/** A named piece of physical memory, so that a trace can say whose bytes were hit. */
export interface Allocation {
  /** Physical address, in bytes. */
  readonly address: number;
  /** Length in bytes. */
  readonly size: number;
  /** Who asked for it, such as `arm-smmuv3` or `0000:01:00.0`. */
  readonly owner: string;
  /** What it is, such as `stream table`. */
  readonly name: string;
}

/** Options of {@link PhysicalMemory}. */
export interface MemoryOptions {
  /** First RAM address in bytes. Default 0x40000000; a multiple of 4 KiB. */
  readonly base?: number;
  /** RAM size in bytes. Default 16 GiB; a multiple of 4 KiB, end below 2^52. */
  readonly size?: number;
}

/**
 * Sparse little-endian physical memory. Chunks come into being when they are first written; reading an untouched byte
 * gives 0. An address outside RAM does not answer: loads return false and stores are lost, which a bus master sees as an
 * external abort.
 *
 * A 64-bit load leaves its halves in {@link PhysicalMemory.lo} and {@link PhysicalMemory.hi}, so nothing is allocated.
 */
export class PhysicalMemory {
  /** Low u32 of the last {@link PhysicalMemory.load64}. */
  lo = 0;
  /** High u32 of the last {@link PhysicalMemory.load64}. */
  hi = 0;
  /** First RAM address. */
  readonly base: number;
  /** First address after RAM. */
  readonly end: number;

  /** By distance from `base`: a table of tables, since each walk of a page table jumps from page to page. */
  readonly #regions: (Region | undefined)[] = [];
  #next: number;
  readonly #allocations: Allocation[] = [];
  readonly #free = new Map<number, number[]>();
  readonly #writers = new Map<number, number>();

  constructor(options: MemoryOptions = {}) {
    this.base = options.base ?? 0x40000000;
    const size = options.size ?? 16 * 2 ** 30;
    this.end = this.base + size;
    if (this.base % CHUNK_BYTES !== 0 || size % CHUNK_BYTES !== 0 || size <= 0 || this.end > 2 ** 52) {
      throw new InputError("RAM must start and end on a 4 KiB boundary below 2^52");
    }
    this.#next = this.base;
  }

  /** Whether RAM answers at this address. */
  exists(address: number): boolean {
    return address >= this.base && address < this.end;
  }

  /** Loads 8 bytes at an 8-byte aligned address into `lo` and `hi`. @returns false (and zeros) outside RAM */
  load64(address: number): boolean {
    if (address < this.base || address >= this.end) {
      this.lo = 0;
      this.hi = 0;
      return false;
    }
    const chunk = this.#chunk(address);
    if (chunk === undefined) {
      this.lo = 0;
      this.hi = 0;
      return true;
    }
    const word = (address & CHUNK_MASK) >>> 2;
    this.lo = chunk[word] ?? 0;
    this.hi = chunk[word + 1] ?? 0;
    return true;
  }

  /**
   * Fills `into` with the 4-byte words from an aligned address on, all of one 4 KiB page: a structure of a table in one go.
   *
   * @returns false (and zeros) outside RAM
   */
  loadWords(address: number, into: Uint32Array): boolean {
    const answers = address >= this.base && address < this.end;
    const chunk = answers ? this.#chunk(address) : undefined;
    if (chunk === undefined) {
      into.fill(0);
      return answers;
    }
    const word = (address & CHUNK_MASK) >>> 2;
    for (let index = 0; index < into.length; index += 1) {
      into[index] = chunk[word + index] ?? 0;
    }
    return true;
  }

  /** The 4 bytes at a 4-byte aligned address, unsigned; 0 outside RAM. */
  load32(address: number): number {
    if (address < this.base || address >= this.end) {
      return 0;
    }
    return this.#chunk(address)?.[(address & CHUNK_MASK) >>> 2] ?? 0;
  }

  /** Stores 8 bytes at an 8-byte aligned address; single-copy atomic. */
  store64(address: number, lo: number, hi: number): void {
    if (address < this.base || address >= this.end) {
      return;
    }
    const chunk = this.#create(address);
    const word = (address & CHUNK_MASK) >>> 2;
    chunk[word] = lo;
    chunk[word + 1] = hi;
  }

  /** Stores 4 bytes at a 4-byte aligned address. */
  store32(address: number, value: number): void {
    if (address < this.base || address >= this.end) {
      return;
    }
    this.#create(address)[(address & CHUNK_MASK) >>> 2] = value;
  }

  /** One byte; 0 outside RAM. */
  read8(address: number): number {
    return (this.load32(address - (address % 4)) >>> ((address % 4) * 8)) & 0xff;
  }

  /** Writes one byte. */
  write8(address: number, value: number): void {
    const word = address - (address % 4);
    const shift = (address % 4) * 8;
    this.store32(word, (this.load32(word) & ~(0xff << shift)) | ((value & 0xff) << shift));
  }

  /** Copies `length` bytes out. */
  readBytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let index = 0; index < length; index += 1) {
      bytes[index] = this.read8(address + index);
    }
    return bytes;
  }

  /** Copies bytes in. */
  writeBytes(address: number, bytes: Uint8Array): void {
    for (const [index, value] of bytes.entries()) {
      this.write8(address + index, value);
    }
  }

  /** Writes zeros over `[address, address + size)`; both multiples of 4. */
  zero(address: number, size: number): void {
    for (let at = address; at < address + size; at += 4) {
      if (this.#chunk(at) === undefined) {
        at += CHUNK_BYTES - (at % CHUNK_BYTES) - 4;
      } else {
        this.store32(at, 0);
      }
    }
  }

  /**
   * Reserves zeroed memory.
   *
   * @param size bytes, at least 1; rounded up to a multiple of 8
   * @param align a power of two; at least 8
   * @returns the physical address
   * @throws InputError when RAM is used up
   */
  allocate(size: number, align: number, owner: string, name: string): number {
    const rounded = Math.ceil(size / 8) * 8;
    const reused = this.#free.get(rounded)?.findIndex((address) => address % align === 0) ?? -1;
    let address: number;
    if (reused >= 0) {
      address = this.#free.get(rounded)?.splice(reused, 1)[0] ?? 0;
      this.zero(address, rounded);
      this.#forgetWriters(address, rounded);
    } else {
      address = Math.ceil(this.#next / align) * align;
      if (address + rounded > this.end) {
        throw new InputError(`out of memory: ${owner} wants ${size} bytes for ${name}`);
      }
      this.#next = address + rounded;
    }
    this.#allocations.push({ address, size: rounded, owner, name });
    return address;
  }

  /** Gives an allocation back; its bytes keep their values until they are handed out again, as in a real machine. */
  release(address: number): void {
    const index = this.#allocations.findIndex((allocation) => allocation.address === address);
    const found = this.#allocations[index];
    if (found === undefined) {
      throw new Error(`0x${address.toString(16)} is not allocated`);
    }
    this.#allocations.splice(index, 1);
    const list = this.#free.get(found.size);
    if (list === undefined) {
      this.#free.set(found.size, [address]);
    } else {
      list.push(address);
    }
  }

  /** Whose bytes these are. */
  allocationAt(address: number): Allocation | undefined {
    return this.#allocations.find((one) => address >= one.address && address < one.address + one.size);
  }

  /**
   * Remembers that the trace event `event` wrote `size` bytes at `address`, so that a fault or a completion can name it.
   * Kept per 16 bytes, the size of the smallest queue slot. Without `size` the whole 64-byte line counts as written.
   */
  noteWriter(address: number, event: number, size?: number): void {
    if (event === 0) {
      return;
    }
    const first = size === undefined ? Math.floor(address / 64) * 4 : Math.floor(address / 16);
    const end = size === undefined ? first + 4 : Math.ceil((address + size) / 16);
    for (let granule = first; granule < end; granule += 1) {
      this.#writers.set(granule, event);
    }
  }

  /** The trace event that last wrote the 16 bytes around `address`; 0 = unknown. */
  writerOf(address: number): number {
    return this.#writers.get(Math.floor(address / 16)) ?? 0;
  }

  /** Writes all bytes that are not zero, in address order, and where the next allocations will be. */
  digest(into: Digest): void {
    this.#eachChunk((index, chunk) => {
      if (chunk.some((word) => word !== 0)) {
        into.number(index);
        for (const word of chunk) {
          into.number(word);
        }
      }
    });
    into.number(this.#next);
    for (const [size, addresses] of byNumber(this.#free)) {
      if (addresses.length > 0) {
        into.number(size);
        for (const address of addresses) {
          into.number(address);
        }
      }
    }
  }

  /** New contents have no writer yet. Walks whichever is smaller, the range or what is remembered. */
  #forgetWriters(address: number, size: number): void {
    const first = Math.floor(address / 16);
    const end = Math.ceil((address + size) / 16);
    if (end - first < this.#writers.size) {
      for (let granule = first; granule < end; granule += 1) {
        this.#writers.delete(granule);
      }
      return;
    }
    for (const granule of this.#writers.keys()) {
      if (granule >= first && granule < end) {
        this.#writers.delete(granule);
      }
    }
  }

  #eachChunk(visit: (index: number, chunk: Uint32Array) => void): void {
    // Far regions of a huge RAM are few: walk the keys that exist, in order.
    for (const key of Object.keys(this.#regions)) {
      const region = Number(key);
      for (const [index, chunk] of (this.#regions[region] ?? []).entries()) {
        if (chunk !== undefined) {
          visit(this.base * PER_CHUNK + region * REGION_CHUNKS + index, chunk);
        }
      }
    }
  }

  /** The chunk of an address in RAM, when something was written there. */
  #chunk(address: number): Uint32Array | undefined {
    const distance = address - this.base;
    return this.#regions[(distance * PER_REGION) | 0]?.[(distance * PER_CHUNK) & (REGION_CHUNKS - 1)];
  }

  #create(address: number): Uint32Array {
    const found = this.#chunk(address);
    if (found !== undefined) {
      return found;
    }
    const created = new Uint32Array(CHUNK_WORDS);
    const distance = address - this.base;
    const index = (distance * PER_REGION) | 0;
    let region = this.#regions[index];
    if (region === undefined) {
      region = [];
      this.#regions[index] = region;
    }
    region[(distance * PER_CHUNK) & (REGION_CHUNKS - 1)] = created;
    return created;
  }
}

function byNumber<T>(map: ReadonlyMap<number, T>): [number, T][] {
  return [...map].toSorted(([a], [b]) => a - b);
}
