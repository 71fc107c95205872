import { PROT_READ, PROT_WRITE, getField } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { INVALIDATION, type Invalidation, InvalidationArray } from "../../src/driver/invalidation-array.ts";
import { atcRange, tlbiRange } from "../../src/driver/invalidate.ts";
import { describeCommand } from "../../src/layout/command-text.ts";
import { COMMAND } from "../../src/layout/command.ts";
import { Lab } from "../support/lab.ts";

const RW = PROT_READ | PROT_WRITE;

describe("ATC invalidation of a range", () => {
  it.each([
    [1, 3, "page 0x0 2^2 pages"],
    [1, 4, "page 0x0 2^3 pages"],
    [8, 4, "page 0x8 2^2 pages"],
    [7, 4, "page 0x0 2^4 pages"],
    [5, 1, "page 0x5 2^0 pages"],
    [2 ** 35, 2 ** 35, "page 0x800000000 2^35 pages"],
  ])("from page %i, %i pages", (page, count, text) => {
    expect(describeCommand(atcRange(0x100, 0, { page, count, leaf: true }))).toBe(`ATC_INV SID=0x100 ${text}`);
  });

  it("is the smallest aligned power of two around it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 36 - 1 }), fc.integer({ min: 1, max: 5000 }), (page, count) => {
        const words = atcRange(0x100, 7, { page, count, leaf: true });
        const log2 = getField(words, COMMAND.size);
        const first = getField(words, COMMAND.page);
        expect(first % 2 ** log2).toBe(0);
        expect(first).toBeLessThanOrEqual(page);
        expect(first + 2 ** log2).toBeGreaterThanOrEqual(page + count);
        if (log2 > 0) {
          const half = 2 ** (log2 - 1);
          expect(Math.floor(page / half)).not.toBe(Math.floor((page + count - 1) / half));
        }
      }),
    );
  });
});

describe("TLB invalidation of a range", () => {
  const { smmu } = new Lab();

  it("covers exactly the pages of a leaf range, in few commands", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 36 - 2 ** 20 }),
        fc.integer({ min: 1, max: 2 ** 20 }),
        (page, count) => {
          let next = page;
          const commands = tlbiRange(smmu, 5, { page, count, leaf: true });
          for (const words of commands) {
            expect(getField(words, COMMAND.page)).toBe(next);
            expect(getField(words, COMMAND.ttl)).toBe(3);
            next += (getField(words, COMMAND.num) + 1) * 2 ** getField(words, COMMAND.scale);
          }
          expect(next).toBe(page + count);
          expect(commands.length).toBeLessThanOrEqual(5);
        },
      ),
    );
  });

  it("never asks for the reserved range of one page without a level", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (count) => {
        for (const words of tlbiRange(smmu, 5, { page: 0, count, leaf: false })) {
          const zero = [COMMAND.num, COMMAND.scale, COMMAND.ttl].every((field) => getField(words, field) === 0);
          expect(zero).toBe(false);
        }
      }),
    );
  });

  it("without range commands goes page by page, up to 511", () => {
    const plain = new Lab({ smmu: { rangeInvalidation: false } }).smmu;
    expect(tlbiRange(plain, 5, { page: 3, count: 2, leaf: true }).map(describeCommand)).toEqual([
      "TLBI_NH_VA ASID=5 page 0x3 leaf",
      "TLBI_NH_VA ASID=5 page 0x4 leaf",
    ]);
    expect(tlbiRange(plain, 5, { page: 0, count: 511, leaf: true })).toHaveLength(511);
    expect(tlbiRange(plain, 5, { page: 0, count: 512, leaf: true }).map(describeCommand)).toEqual([
      "TLBI_NH_ASID ASID=5",
    ]);
  });
});

describe("unmapping", () => {
  let lab: Lab;
  let iova: number;
  let host: number;

  beforeEach(() => {
    lab = new Lab();
    host = lab.platform.memory.allocate(4 * 4096, 4096, "test", "buffer") / 4096;
    iova = lab.run(lab.platform.iommu.dma.map(lab.device, host, 4, RW));
  });

  it("invalidates the TLB, waits, then the ATC", () => {
    lab.endpoint.dmaWrite(iova, 0, 1);
    expect(lab.endpoint.atc.size).toBe(1);
    expect(lab.steps(lab.platform.iommu.dma.unmap(lab.device, iova, 4))).toEqual([
      "TLBI_NH_VA ASID=2 page 0xffffc 4 granules of 4 KiB leaf + SYNC",
      "ATC_INV page 0xffffc 2^2 pages + SYNC",
    ]);
    expect(lab.endpoint.atc.size).toBe(0);
    expect(lab.endpoint.dmaWrite(iova, 0, 1).fault).toBe("F_TRANSLATION");
  });

  it("sends nothing when nothing was mapped", () => {
    const { domain } = lab.group;
    expect(domain?.unmap === undefined ? [] : lab.steps(domain.unmap(0x100, 8))).toEqual([]);
  });

  it("of a domain with RID and PASID: both forms, RID first", () => {
    const { domain } = lab.group;
    if (domain?.unmap === undefined) {
      throw new Error("no paging domain");
    }
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device, 9));
    expect(lab.steps(domain.unmap(iova, 4))).toEqual([
      "TLBI_NH_VA ASID=2 page 0xffffc 4 granules of 4 KiB leaf + SYNC",
      "ATC_INV page 0xffffc 2^2 pages",
      "ATC_INV SSID=9 page 0xffffc 2^2 pages + SYNC",
    ]);
  });

  it("while the function is staged for a reset sends nothing to it", () => {
    lab.run(lab.platform.iommu.resetPrepare(lab.device));
    expect(lab.steps(lab.platform.iommu.dma.unmap(lab.device, iova, 4))).toEqual([]);
    lab.run(lab.platform.iommu.resetDone(lab.device));
    expect(lab.endpoint.dmaWrite(iova, 0, 1).fault).toBe("F_TRANSLATION");
  });

  it("a translation without ATS is not in the ATC, and still goes", () => {
    lab.endpoint.obeys.enable = true;
    expect(lab.endpoint.untranslatedWrite(iova + 1, 0, 5, NO_PASID).status).toBe("success");
    lab.run(lab.platform.iommu.dma.unmap(lab.device, iova, 4));
    expect(lab.endpoint.untranslatedWrite(iova + 1, 0, 6, NO_PASID).fault).toBe("F_TRANSLATION");
    expect(lab.platform.memory.load32((host + 1) * 4096)).toBe(5);
  });
});

describe("MSI", () => {
  it("the doorbell is mapped into a DMA domain, and reachable on IDENTITY as it is", () => {
    const lab = new Lab();
    const page = lab.run(lab.platform.iommu.dma.prepareMsi(lab.device, 0x8090));
    expect(lab.hardware.translate(0x100, NO_PASID, page, 0x40, 4)).toMatchObject({ status: "success", page: 0x8090 });
    lab.run(lab.platform.iommu.storeType(lab.group, "identity"));
    expect(lab.run(lab.platform.iommu.dma.prepareMsi(lab.device, 0x8090))).toBe(0x8090);
  });
});

describe("invalidation arrays", () => {
  const asid: Invalidation = { type: INVALIDATION.asid, id: 5, ssid: 0 };
  const atc = (id: number, ssid: number): Invalidation => ({ type: INVALIDATION.ats, id, ssid });

  it("count users and stay sorted", () => {
    const array = InvalidationArray.empty()
      .merge([asid, atc(9, 0)])
      .merge([asid, atc(3, 2), atc(3, 1)]);
    expect(array.entries.map(({ type, id, ssid }) => [type, id, ssid])).toEqual([
      [0, 5, 0],
      [1, 3, 1],
      [1, 3, 2],
      [1, 9, 0],
    ]);
    expect(array.unref([asid, atc(9, 0)])).toMatchObject([atc(9, 0)]);
    expect(array.entries).toHaveLength(3);
    expect(array.unref([asid, atc(3, 1), atc(3, 2)])).toHaveLength(3);
    expect(array.entries).toEqual([]);
  });

  it("give back what they were given, in any order", () => {
    const entry = fc.constantFrom(asid, atc(1, 0), atc(1, 1), atc(2, 0));
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        let array = InvalidationArray.empty();
        for (const one of entries) {
          array = array.merge([one]);
        }
        for (const one of entries.toReversed()) {
          array.unref([one]);
          array = array.merge([]);
        }
        expect(array.entries).toEqual([]);
        expect(array.hasAts).toBe(false);
      }),
    );
  });
});
