import { KernelError, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, x86_64 } from "@iommu-lab/core";
import { secondStage } from "@iommu-lab/intel-vtd";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

function leaf(prot: number, snoop: boolean, level = 1, address = 0x12345000): number {
  const out = { lo: 0, hi: 0 };
  secondStage(4, snoop).leafEntry(level, address, prot, out);
  return out.lo;
}

describe("second-stage entries", () => {
  test("golden words", () => {
    expect(leaf(PROT_READ | PROT_WRITE, false)).toBe(0x12345003);
    expect(leaf(PROT_READ, false)).toBe(0x12345001);
    expect(leaf(PROT_READ | PROT_WRITE, true)).toBe(0x12345803);
    expect(leaf(PROT_READ | PROT_WRITE, false, 2, 0x40000000)).toBe(0x40000083);
    const out = { lo: 0, hi: 0 };
    secondStage(4).tableEntry(2, 0x1005000, out);
    expect(out).toEqual({ lo: 0x1005003, hi: 0 });
  });

  test("a mapping without permission is refused", () => {
    expect(() => leaf(0, false)).toThrow(KernelError);
  });

  test("the first-stage format writes the words of the specification", () => {
    const out = { lo: 0, hi: 0 };
    x86_64.leafEntry(1, 0x12345000, PROT_READ | PROT_WRITE, out);
    expect(out.lo).toBe(0x12345067);
    x86_64.leafEntry(1, 0x12345000, PROT_READ, out);
    expect(out.lo).toBe(0x12345025);
    x86_64.tableEntry(2, 0x2001000, out);
    expect(out.lo).toBe(0x2001027);
  });

  test.each([3, 4] as const)("a table of %i levels gives back what was mapped", (levels) => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(2 ** 27 - 1), { maxLength: 12 }),
        fc.constantFrom(PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE),
        (pages, prot) => {
          const table = new PageTable(new PhysicalMemory(), secondStage(levels), "test", "table");
          for (const [index, page] of pages.entries()) {
            table.map(page, 0x40000 + index, 1, prot);
          }
          for (const [index, page] of pages.entries()) {
            expect(table.lookup(page)).toEqual({ target: 0x40000 + index, prot });
            expect(table.unmap(page, 1)).toBe(1);
            expect(table.lookup(page)).toBeUndefined();
          }
        },
      ),
    );
  });

  test("the range ends with the levels", () => {
    expect(secondStage(3).endPage).toBe(2 ** 27);
    expect(secondStage(4).endPage).toBe(2 ** 36);
  });
});
