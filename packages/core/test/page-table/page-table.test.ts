import { KernelError, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, hex64, x86_64 } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

const RW = PROT_READ | PROT_WRITE;

describe("x86-64 entries", () => {
  it("are the words that the fact sheets give", () => {
    const word = { lo: 0, hi: 0 };
    x86_64.leafEntry(1, 0x12345000, RW, word);
    expect(hex64(word.lo, word.hi)).toBe("0x0000000012345067");
    x86_64.leafEntry(1, 0x12345000, PROT_READ, word);
    expect(hex64(word.lo, word.hi)).toBe("0x0000000012345025");
    x86_64.tableEntry(2, 0x2001000, word);
    expect(hex64(word.lo, word.hi)).toBe("0x0000000002001027");
  });
});

describe("a page table", () => {
  it("agrees with a plain map under any sequence of maps and unmaps", () => {
    const pages = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 2 ** 35 - 40, max: 2 ** 35 - 1 }));
    const command = fc.record({
      map: fc.boolean(),
      page: pages,
      count: fc.integer({ min: 1, max: 4 }),
      target: fc.integer({ min: 1, max: 2 ** 40 - 5 }),
      prot: fc.constantFrom(PROT_READ, RW),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 30 }), (commands) => {
        const table = new PageTable(new PhysicalMemory(), x86_64, "test", "table");
        const model = new Map<number, { target: number; prot: number }>();
        for (const { map, page, count, target, prot } of commands) {
          const range = Array.from({ length: count }, (_one, index) => page + index);
          if (!map) {
            const mapped = range.filter((one) => model.delete(one)).length;
            expect(table.unmap(page, count)).toBe(mapped);
            continue;
          }
          const refused = range.some((one) => model.has(one) || one >= 2 ** 35);
          try {
            table.map(page, target, count, prot);
            expect(refused).toBe(false);
            range.forEach((one, index) => model.set(one, { target: target + index, prot }));
          } catch (error) {
            expect(error).toBeInstanceOf(KernelError);
            expect(refused).toBe(true);
          }
        }
        for (const [page, mapping] of model) {
          expect(table.lookup(page)).toEqual(mapping);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("gives its tables back", () => {
    const memory = new PhysicalMemory();
    const table = new PageTable(memory, x86_64, "test", "table");
    table.map(5, 6, 1, RW);
    expect(memory.allocationAt(table.root)?.owner).toBe("test");
    table.free();
    expect(memory.allocationAt(table.root)).toBeUndefined();
  });
});
