import { Digest } from "@iommu-lab/core";
import { Atc, NO_PASID, TranslationResult } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

interface Fill {
  readonly page: number;
  readonly host: number;
  readonly sizeLog2: number;
  readonly pasid: number;
  readonly global: boolean;
  readonly write: boolean;
}

function insert(atc: Atc, entry: Partial<Fill> & { readonly page: number }): void {
  const from = new TranslationResult();
  from.reset(entry.page);
  from.host = entry.host ?? 0x1000;
  from.sizeLog2 = entry.sizeLog2 ?? 12;
  from.read = true;
  from.write = entry.write ?? true;
  from.global = entry.global ?? false;
  from.event = 77;
  atc.insert(from, entry.pasid ?? NO_PASID, 5);
}

describe("lookup", () => {
  test("is by page and PASID", () => {
    const atc = new Atc();
    insert(atc, { page: 5, host: 50 });
    insert(atc, { page: 5, host: 60, pasid: 1 });
    expect(atc.lookup(5, NO_PASID)?.host).toBe(50);
    expect(atc.lookup(5, 1)?.host).toBe(60);
    expect(atc.lookup(5, 2)).toBeUndefined();
    expect(atc.lookup(6, NO_PASID)).toBeUndefined();
  });

  test("finds a page inside a large range, and prefers a smaller one", () => {
    const atc = new Atc();
    insert(atc, { page: 0x203, host: 0x80003, sizeLog2: 21 });
    expect(atc.lookup(0x3ff, NO_PASID)?.host).toBe(0x801ff);
    insert(atc, { page: 0x3ff, host: 9 });
    expect(atc.lookup(0x3ff, NO_PASID)?.host).toBe(9);
    expect(atc.lookup(0x400, NO_PASID)).toBeUndefined();
    expect(atc.entries()[0]).toMatchObject({ page: 0x200, host: 0x80000, sizeLog2: 21 });
  });

  test("a Global entry serves every PASID and no request without one", () => {
    const atc = new Atc();
    insert(atc, { page: 5, host: 50, pasid: 1, global: true });
    expect(atc.lookup(5, 9)?.host).toBe(50);
    expect(atc.lookup(5, NO_PASID)).toBeUndefined();
    insert(atc, { page: 5, host: 51, pasid: 2, global: true });
    expect(atc.size).toBe(1);
    expect(atc.lookup(5, 1)?.host).toBe(51);
  });

  test("privileged and other entries are apart", () => {
    const atc = new Atc();
    const from = new TranslationResult();
    from.reset(5);
    from.host = 50;
    from.read = true;
    from.privileged = true;
    atc.insert(from, 1, 0);
    expect(atc.lookup(5, 1, true)?.host).toBe(50);
    expect(atc.lookup(5, 1)).toBeUndefined();
  });

  test("an entry knows when it came and by which request", () => {
    const atc = new Atc();
    insert(atc, { page: 5 });
    expect(atc.entries()).toMatchObject([{ page: 5, time: 5, event: 77, read: true, write: true, pasid: NO_PASID }]);
  });

  test("pages at the top of 64 bits are exact", () => {
    const atc = new Atc();
    const top = 2 ** 52 - 1;
    insert(atc, { page: top, host: 1 });
    expect(atc.lookup(top, NO_PASID)?.host).toBe(1);
    expect(atc.lookup(top - 1, NO_PASID)).toBeUndefined();
  });

  test("a thousand entries are all found", () => {
    const atc = new Atc();
    for (let page = 0; page < 1000; page += 1) {
      insert(atc, { page, host: page + 1, pasid: page % 3 });
    }
    for (let page = 0; page < 1000; page += 1) {
      expect(atc.lookup(page, page % 3)?.host).toBe(page + 1);
    }
    expect(atc.clear()).toBe(1000);
    expect(atc.size).toBe(0);
  });
});

function three(): Atc {
  const atc = new Atc();
  insert(atc, { page: 0x10 });
  insert(atc, { page: 0x10, pasid: 1 });
  insert(atc, { page: 0x10, pasid: 2 });
  insert(atc, { page: 0x20, pasid: 1 });
  insert(atc, { page: 0x20 });
  insert(atc, { page: 0x30, pasid: 3, global: true });
  return atc;
}

function left(atc: Atc): string[] {
  return atc.entries().map(({ page, pasid }) => `${page.toString(16)}/${pasid}`);
}

describe("invalidate", () => {
  test("without PASID: its range, and every entry with a PASID", () => {
    const atc = three();
    expect(atc.invalidate(0x10, 12, NO_PASID, false)).toBe(5);
    expect(left(atc)).toEqual(["20/-1"]);
  });

  test("with a PASID: that PASID in the range, Global entries stay", () => {
    const atc = three();
    expect(atc.invalidate(0x10, 12, 1, false)).toBe(1);
    expect(atc.invalidate(0, 64, 3, false)).toBe(0);
    expect(left(atc)).toEqual(["10/-1", "10/2", "20/1", "20/-1", "30/3"]);
  });

  test("with the Global bit: all PASIDs in the range", () => {
    const atc = three();
    expect(atc.invalidate(0, 64, 1, true)).toBe(4);
    expect(left(atc)).toEqual(["10/-1", "20/-1"]);
  });

  test("takes a large entry of which it names one page", () => {
    const atc = new Atc();
    insert(atc, { page: 0x200, sizeLog2: 21 });
    expect(atc.invalidate(0x2ff, 12, NO_PASID, false)).toBe(1);
    expect(atc.lookup(0x200, NO_PASID)).toBeUndefined();
  });
});

function digestOf(atc: Atc): string {
  const into = new Digest();
  atc.digest(into);
  return into.value;
}

/** The rules of PCIe 6.0 §10.3.1 again, over a plain list. */
class Oracle {
  entries: Fill[] = [];

  insert(entry: Fill): void {
    this.entries = this.entries.filter((one) => !this.same(one, entry));
    this.entries.push(entry);
  }

  invalidate(page: number, count: number, pasid: number, global: boolean): void {
    this.entries = this.entries.filter((entry) => {
      const inRange = entry.page < page + count && entry.page + this.pages(entry) > page;
      if (pasid === NO_PASID) {
        return entry.pasid === NO_PASID && !inRange;
      }
      const touched = entry.pasid !== NO_PASID && inRange && (global || (entry.pasid === pasid && !entry.global));
      return !touched;
    });
  }

  lookup(page: number, pasid: number): number | undefined {
    const candidates = this.entries
      .filter((entry) => entry.page <= page && page < entry.page + this.pages(entry))
      .filter((entry) => entry.pasid === pasid || (entry.global && entry.pasid !== NO_PASID && pasid !== NO_PASID))
      .toSorted((a, b) => a.sizeLog2 - b.sizeLog2 || Number(a.global) - Number(b.global));
    const [best] = candidates;
    return best === undefined ? undefined : best.host + (page - best.page);
  }

  pages(entry: Fill): number {
    return 2 ** (entry.sizeLog2 - 12);
  }

  same(a: Fill, b: Fill): boolean {
    const isGlobal = (entry: Fill): boolean => entry.global && entry.pasid !== NO_PASID;
    const key = (entry: Fill): number => (isGlobal(entry) ? -2 : entry.pasid);
    return a.page === b.page && a.sizeLog2 === b.sizeLog2 && key(a) === key(b);
  }
}

const somePasid = fc.constantFrom(NO_PASID, 0, 1, 2);
const somePage = fc.integer({ min: 0, max: 0x3ff });
const fillStep = fc.record({
  kind: fc.constant("fill" as const),
  page: somePage,
  sizeLog2: fc.constantFrom(12, 13, 16),
  pasid: somePasid,
  global: fc.boolean(),
});
const invalidateStep = fc.record({
  kind: fc.constant("invalidate" as const),
  page: somePage,
  sizeLog2: fc.constantFrom(12, 14, 20, 64),
  pasid: somePasid,
  global: fc.boolean(),
});

describe("properties", () => {
  test("a lookup says what a plain list says, so nothing comes back after a matching invalidation", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fillStep, invalidateStep), { maxLength: 60 }), (steps) => {
        const atc = new Atc();
        const oracle = new Oracle();
        for (const [index, step] of steps.entries()) {
          const pages = 2 ** (step.sizeLog2 - 12);
          const page = step.page - (step.page % pages);
          if (step.kind === "fill") {
            const global = step.global && step.pasid !== NO_PASID;
            const entry = { ...step, page, global, host: (index + 1) * 0x10000, write: true };
            insert(atc, entry);
            oracle.insert(entry);
          } else {
            atc.invalidate(page, step.sizeLog2, step.pasid, step.global);
            oracle.invalidate(page, pages, step.pasid, step.global);
          }
        }
        expect(atc.size).toBe(oracle.entries.length);
        for (const pasid of [NO_PASID, 0, 1, 2, 3]) {
          for (let page = 0; page < 0x400; page += 7) {
            expect(atc.lookup(page, pasid)?.host).toBe(oracle.lookup(page, pasid));
          }
        }
      }),
    );
  });

  test("the digest tells states apart", () => {
    const one = new Atc();
    insert(one, { page: 1 });
    const same = new Atc();
    insert(same, { page: 1 });
    const other = new Atc();
    insert(other, { page: 2 });
    expect(digestOf(one)).toBe(digestOf(same));
    expect(new Set([digestOf(one), digestOf(other), digestOf(new Atc())]).size).toBe(3);
  });
});
