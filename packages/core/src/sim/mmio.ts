import type { Trace } from "./trace.ts";

/** A block of memory-mapped registers. Values are (lo, hi) pairs of u32; a 4-byte access uses `lo` alone. */
export interface MmioRegion {
  /** Printed in traces, such as `smmu0`. */
  readonly name: string;
  /** Reads 4 bytes at a 4-byte aligned offset; unsigned. */
  read32(offset: number): number;
  /** Writes 4 bytes at a 4-byte aligned offset. */
  write32(offset: number, value: number): void;
  /** Writes 8 bytes at once, where the register is 64 bits wide; otherwise the two halves are written low first. */
  write64?(offset: number, lo: number, hi: number): void;
}

interface Window {
  readonly base: number;
  readonly size: number;
  readonly region: MmioRegion;
}

/** The register windows of a platform. Drivers reach their hardware through it and through memory, and in no other way. */
export class Mmio {
  readonly #trace: Trace;
  #windows: Window[] = [];

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /** Places a region. Throws when it overlaps another one. */
  map(base: number, size: number, region: MmioRegion): void {
    for (const other of this.#windows) {
      if (base < other.base + other.size && other.base < base + size) {
        throw new Error(`MMIO ${region.name} at 0x${base.toString(16)} overlaps ${other.region.name}`);
      }
    }
    this.#windows.push({ base, size, region });
  }

  /** The region at an address, if there is one. */
  at(address: number): MmioRegion | undefined {
    return this.#find(address)?.region;
  }

  /** Reads 4 bytes; all ones where nothing answers. */
  read32(address: number): number {
    const window = this.#find(address);
    return window === undefined ? 0xffffffff : window.region.read32(address - window.base) >>> 0;
  }

  /** Writes 4 bytes; lost where nothing answers. */
  write32(address: number, value: number): void {
    const window = this.#find(address);
    if (window === undefined) {
      return;
    }
    if (this.#trace.active) {
      this.#trace.emit("mmio:write", { region: window.region.name, offset: address - window.base, size: 4, value });
    }
    window.region.write32(address - window.base, value >>> 0);
  }

  /** Writes 8 bytes. */
  write64(address: number, lo: number, hi: number): void {
    const window = this.#find(address);
    if (window === undefined) {
      return;
    }
    if (this.#trace.active) {
      this.#trace.emit("mmio:write", {
        region: window.region.name,
        offset: address - window.base,
        size: 8,
        value: lo >>> 0,
        high: hi >>> 0,
      });
    }
    const offset = address - window.base;
    if (window.region.write64 === undefined) {
      window.region.write32(offset, lo >>> 0);
      window.region.write32(offset + 4, hi >>> 0);
    } else {
      window.region.write64(offset, lo >>> 0, hi >>> 0);
    }
  }

  #find(address: number): Window | undefined {
    return this.#windows.find((window) => address >= window.base && address < window.base + window.size);
  }
}
