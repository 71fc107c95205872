import { Digest, InputError, PhysicalMemory, hex64, high32, join64, low32 } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

const u32 = fc.integer({ min: 0, max: 0xffffffff });

describe("physical memory", () => {
  it("is little-endian and starts as zeros", () => {
    const memory = new PhysicalMemory();
    const at = memory.base + 0x10000;
    memory.store64(at, 0x89abcdef, 0x01234567);
    expect([...memory.readBytes(at, 8)]).toEqual([0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
    expect(memory.load32(at + 4)).toBe(0x01234567);
    expect(memory.load64(at + 8)).toBe(true);
    expect([memory.lo, memory.hi]).toEqual([0, 0]);
  });

  it("loads several words at once as one by one", () => {
    const memory = new PhysicalMemory();
    const at = memory.base + 0x1fc0;
    for (let index = 0; index < 16; index += 1) {
      memory.store32(at + index * 4, index + 1);
    }
    const words = new Uint32Array(8);
    expect(memory.loadWords(at + 32, words)).toBe(true);
    expect([...words]).toEqual([9, 10, 11, 12, 13, 14, 15, 16]);
    expect(memory.loadWords(memory.base + 0x800000, words)).toBe(true);
    expect(words.every((word) => word === 0)).toBe(true);
    words.fill(1);
    expect(memory.loadWords(memory.end, words)).toBe(false);
    expect(words.every((word) => word === 0)).toBe(true);
  });

  it("keeps what was stored, wherever it is", () => {
    const memory = new PhysicalMemory();
    const slots = fc.integer({ min: 0, max: 16 * 2 ** 27 - 1 });
    fc.assert(
      fc.property(fc.uniqueArray(slots, { maxLength: 20 }), u32, u32, (indices, lo, hi) => {
        for (const index of indices) {
          memory.store64(memory.base + index * 8, (lo + index) >>> 0, hi);
        }
        for (const index of indices) {
          memory.load64(memory.base + index * 8);
          expect([memory.lo, memory.hi]).toEqual([(lo + index) >>> 0, hi]);
        }
      }),
    );
  });

  it("does not answer outside RAM", () => {
    const memory = new PhysicalMemory({ base: 0x10000, size: 0x10000 });
    memory.store64(0x20000, 1, 2);
    expect(memory.load64(0x20000)).toBe(false);
    expect(memory.load64(0xfff8)).toBe(false);
    expect(memory.load64(0x1fff8)).toBe(true);
    expect(() => new PhysicalMemory({ base: 1 })).toThrow(InputError);
  });

  it("allocations say whose bytes they are, never overlap, and come back zeroed", () => {
    const memory = new PhysicalMemory();
    const first = memory.allocate(4096, 4096, "arm-smmuv3", "stream table");
    const second = memory.allocate(20, 64, "driver", "queue");
    expect(second).toBeGreaterThanOrEqual(first + 4096);
    expect(second % 64).toBe(0);
    expect(memory.allocationAt(first + 100)).toMatchObject({ owner: "arm-smmuv3", name: "stream table" });
    memory.store32(first, 7);
    memory.release(first);
    expect(memory.allocationAt(first)).toBeUndefined();
    const third = memory.allocate(4096, 4096, "x", "y");
    expect(third).toBe(first);
    expect(memory.load32(first)).toBe(0);
    expect(() => memory.release(0x1234)).toThrow(/not allocated/);
  });

  it("new contents have no writer yet", () => {
    const memory = new PhysicalMemory();
    const first = memory.allocate(64, 64, "a", "queue");
    const other = memory.allocate(64, 64, "a", "queue");
    memory.noteWriter(first, 7, 16);
    memory.noteWriter(other, 8);
    memory.release(first);
    expect(memory.writerOf(first)).toBe(7);
    expect(memory.allocate(64, 64, "b", "table")).toBe(first);
    expect([memory.writerOf(first), memory.writerOf(other)]).toEqual([0, 8]);
    const large = memory.allocate(4096, 4096, "a", "table");
    memory.noteWriter(large + 4080, 9, 16);
    memory.release(large);
    expect(memory.allocate(4096, 4096, "b", "table")).toBe(large);
    expect([memory.writerOf(large + 4080), memory.writerOf(other)]).toEqual([0, 8]);
  });

  it("runs out with an error that says who wanted what", () => {
    const memory = new PhysicalMemory({ base: 0x10000, size: 0x10000 });
    memory.allocate(0xf000, 4096, "a", "b");
    expect(() => memory.allocate(0x2000, 4096, "driver", "ring")).toThrow("driver wants 8192 bytes for ring");
  });

  it("digests to the same value exactly when the bytes are the same", () => {
    const digestOf = (stores: readonly number[]): string => {
      const memory = new PhysicalMemory();
      for (const value of stores) {
        memory.store32(memory.base + value * 4, value);
      }
      const digest = new Digest();
      memory.digest(digest);
      return digest.value;
    };
    expect(digestOf([1, 2, 3])).toBe(digestOf([3, 1, 2]));
    expect(digestOf([1, 2, 3])).not.toBe(digestOf([1, 2, 4]));
  });
});

describe("64-bit pairs", () => {
  it("split and join", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (value) => {
        expect(join64(low32(value), high32(value))).toBe(value);
      }),
    );
    expect(hex64(0x1, 0x80000000)).toBe("0x8000000000000001");
  });
});
