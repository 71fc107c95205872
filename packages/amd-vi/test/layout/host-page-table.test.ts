import type { HostLeaf } from "@iommu-lab/amd-vi";
import { amdV1, codedSizeLog2, defaultSizeLog2, encodeHostLeaf, encodeHostTable, hostAddress } from "@iommu-lab/amd-vi";
import type { Word64 } from "@iommu-lab/core";
import { PROT_READ, PROT_WRITE } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wordOf } from "./golden.ts";

const RW = { read: true, write: true };

function leaf(level: number, what: HostLeaf): Word64 {
  const out = { lo: 0, hi: 0 };
  encodeHostLeaf(level, what, out);
  return out;
}

function table(next: number, address: number): string {
  const out = { lo: 0, hi: 0 };
  encodeHostTable(next, address, out);
  return wordOf(out);
}

describe("host page table", () => {
  test("leaves of the default size", () => {
    expect(wordOf(leaf(1, { address: 0x12345000, ...RW }))).toBe("0x6000000012345001");
    expect(wordOf(leaf(1, { address: 0x12345000, read: true, write: false }))).toBe("0x2000000012345001");
    expect(wordOf(leaf(1, { address: 0x12345000, ...RW, forceCoherent: true }))).toBe("0x7000000012345001");
    expect(wordOf(leaf(2, { address: 0x40000000, ...RW }))).toBe("0x6000000040000001");
  });

  test("pointers to tables, skipping a level too", () => {
    expect(table(1, 0x3001000)).toBe("0x6000000003001201");
    expect(table(2, 0x3002000)).toBe("0x6000000003002401");
    expect(table(1, 0x3003000)).toBe("0x6000000003003201");
  });

  test.each([
    [1, 16, 0x12340000, "0x6000000012347E01"],
    [1, 13, 0x12344000, "0x6000000012344E01"],
    [2, 25, 0x40000000, "0x6000000040FFFE01"],
    [3, 32, 0x100000000, "0x600000017FFFFE01"],
  ])("level %i, 2^%i bytes coded in the address", (level, sizeLog2, address, expected) => {
    const word = leaf(level, { address, ...RW, sizeLog2 });
    expect(wordOf(word)).toBe(expected);
    expect(codedSizeLog2(word.lo, word.hi)).toBe(sizeLog2);
    expect(hostAddress(word.lo, word.hi)).toBe(address);
  });

  test("address and size survive for every page size", () => {
    const size = fc.integer({ min: 1, max: 5 }).chain((level) =>
      fc.record({
        level: fc.constant(level),
        sizeLog2: fc.integer({ min: defaultSizeLog2(level), max: Math.min(51, defaultSizeLog2(level + 1) - 1) }),
        number: fc.nat(),
      }),
    );
    fc.assert(
      fc.property(size, ({ level, sizeLog2, number }) => {
        const address = (number % 2 ** Math.max(0, 52 - sizeLog2)) * 2 ** sizeLog2;
        const word = leaf(level, { address, ...RW, sizeLog2 });
        expect(hostAddress(word.lo, word.hi)).toBe(address);
      }),
    );
  });

  test("as Linux writes it: coherent leaves, permissions, three levels", () => {
    const out = { lo: 0, hi: 0 };
    amdV1.leafEntry(1, 0x12345000, PROT_READ | PROT_WRITE, out);
    expect(wordOf(out)).toBe("0x7000000012345001");
    expect(amdV1.present(1, out.lo, out.hi)).toBe(true);
    expect(amdV1.isTable(1, out.lo, out.hi)).toBe(false);
    expect(amdV1.address(1, out.lo, out.hi)).toBe(0x12345000);
    expect(amdV1.protection(1, out.lo, out.hi)).toBe(PROT_READ | PROT_WRITE);
    amdV1.tableEntry(3, 0x3002000, out);
    expect(wordOf(out)).toBe("0x6000000003002401");
    expect(amdV1.isTable(3, out.lo, out.hi)).toBe(true);
    expect([amdV1.levels, amdV1.endPage]).toEqual([3, 2 ** 27]);
  });
});
