import type { Words } from "@iommu-lab/core";
import {
  ALL_PAGES,
  commandName,
  completePprRequest,
  completionWaitInterrupt,
  completionWaitStore,
  decodePageRange,
  describeCommand,
  describePageRange,
  encodePageRange,
  invalidateDevtabEntry,
  invalidateInterruptTable,
  invalidateIommuAll,
  invalidateIommuPages,
  invalidateIotlbPages,
  iotlbPasid,
} from "@iommu-lab/amd-vi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf, dwords } from "./golden.ts";

const domain = { domainId: 0x12 };
const device = { deviceId: 0x3a00, queueId: 0x3a00, maxPending: 32 };

const bigStore = (): Words => {
  const words = completionWaitStore(0x105003008, 0);
  words[2] = 0x55667788;
  words[3] = 0x11223344;
  return words;
};

const golden: readonly (readonly [string, Words, string])[] = [
  ["COMPLETION_WAIT store", completionWaitStore(0x5003008, 5), "05003009 10000000 00000005 00000000"],
  ["COMPLETION_WAIT store, large", bigStore(), "05003009 10000001 55667788 11223344"],
  ["COMPLETION_WAIT interrupt", completionWaitInterrupt(), "00000002 10000000 00000000 00000000"],
  ["INVALIDATE_DEVTAB_ENTRY", invalidateDevtabEntry(0x3a00), "00003A00 20000000 00000000 00000000"],
  ["all pages of a domain", invalidateIommuPages(domain, 0, ALL_PAGES, true), "00000000 30000012 FFFFF003 7FFFFFFF"],
  ["one page", invalidateIommuPages(domain, 1, 1, false), "00000000 30000012 00001000 00000000"],
  ["0x1000 to 0x3fff", invalidateIommuPages(domain, 1, 3, false), "00000000 30000012 00001001 00000000"],
  ["2 MiB", invalidateIommuPages(domain, 0x40000, 512, false), "00000000 30000012 400FF001 00000000"],
  [
    "a PASID",
    invalidateIommuPages({ domainId: 0x13, pasid: 0x12345 }, 0, ALL_PAGES, true),
    "00012345 30000013 FFFFF007 7FFFFFFF",
  ],
  ["INVALIDATE_IOTLB_PAGES all", invalidateIotlbPages(device, 0, ALL_PAGES), "20003A00 40003A00 FFFFF001 7FFFFFFF"],
  ["INVALIDATE_IOTLB_PAGES range", invalidateIotlbPages(device, 1, 3), "20003A00 40003A00 00001001 00000000"],
  [
    "INVALIDATE_IOTLB_PAGES PASID",
    invalidateIotlbPages({ ...device, pasid: 0x12345 }, 0, ALL_PAGES),
    "20233A00 41453A00 FFFFF005 7FFFFFFF",
  ],
  ["INVALIDATE_INTERRUPT_TABLE", invalidateInterruptTable(0x3a00), "00003A00 50000000 00000000 00000000"],
  ["COMPLETE_PPR_REQUEST ok", completePprRequest(0x3a00, 0x12, 5, 0), "00003A00 70000012 00000004 00000005"],
  ["COMPLETE_PPR_REQUEST invalid", completePprRequest(0x3a00, 0x12, 5, 1), "00003A00 70000012 00000004 00001005"],
  ["INVALIDATE_IOMMU_ALL", invalidateIommuAll(), "00000000 80000000 00000000 00000000"],
];

describe("commands", () => {
  test.each(golden)("%s", (_name, words, expected) => {
    expect(dwords(words)).toBe(expected);
  });

  test("bytes in memory", () => {
    expect(bytesOf(invalidateDevtabEntry(0x3a00))).toBe("00 3a 00 00 00 00 00 20 00 00 00 00 00 00 00 00");
  });

  test("words for a reader", () => {
    expect(golden.map(([, words]) => `${commandName(words)} ${describeCommand(words)}`)).toEqual([
      "COMPLETION_WAIT store 0x5 at 0x5003008",
      "COMPLETION_WAIT store 0x1122334455667788 at 0x105003008",
      "COMPLETION_WAIT interrupt",
      "INVALIDATE_DEVTAB_ENTRY device 0x3a00",
      "INVALIDATE_IOMMU_PAGES domain 0x12, all pages, directories too",
      "INVALIDATE_IOMMU_PAGES domain 0x12, page 0x1000",
      "INVALIDATE_IOMMU_PAGES domain 0x12, 0x0 + 2^14 bytes",
      "INVALIDATE_IOMMU_PAGES domain 0x12, 0x40000000 + 2^21 bytes",
      "INVALIDATE_IOMMU_PAGES domain 0x13, PASID 74565, all pages, directories too",
      "INVALIDATE_IOTLB_PAGES device 0x3a00, all pages, at most 32 pending",
      "INVALIDATE_IOTLB_PAGES device 0x3a00, 0x0 + 2^14 bytes, at most 32 pending",
      "INVALIDATE_IOTLB_PAGES device 0x3a00, PASID 74565, all pages, at most 32 pending",
      "INVALIDATE_INTERRUPT_TABLE device 0x3a00",
      "COMPLETE_PPR_REQUEST device 0x3a00, PASID 18, group 5, code 0",
      "COMPLETE_PPR_REQUEST device 0x3a00, PASID 18, group 5, code 1",
      "INVALIDATE_IOMMU_ALL everything",
    ]);
    expect(commandName([0, 0xc0000000, 0, 0])).toBe("opcode 12");
  });

  test("a PASID survives its split over two words", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 20 - 1), (pasid) => {
        expect(iotlbPasid(invalidateIotlbPages({ ...device, pasid }, 0, 1))).toBe(pasid);
      }),
    );
  });
});

describe("page ranges", () => {
  test("every coded range holds the pages asked for and is the smallest that does", () => {
    const range = fc.record({ page: fc.nat(2 ** 31 - 1), count: fc.integer({ min: 1, max: 2 ** 20 }) });
    fc.assert(
      fc.property(range, ({ page, count }) => {
        const coded = decodePageRange(...encodePageRange(page, count));
        const pages = 2 ** (coded.sizeLog2 - 12);
        expect(coded.page % pages).toBe(0);
        expect(coded.page).toBeLessThanOrEqual(page);
        expect(coded.page + pages).toBeGreaterThanOrEqual(page + count);
        const half = pages / 2;
        expect(half < 1 || Math.floor(page / half) !== Math.floor((page + count - 1) / half)).toBe(true);
      }),
    );
  });

  test("what crosses a boundary above 2^51 is everything", () => {
    expect(encodePageRange(2 ** 39 - 1, 2)).toEqual([0xfffff001, 0x7ffff]);
    expect(encodePageRange(2 ** 40 - 1, 2)).toEqual([0xfffff001, 0x7fffffff]);
    expect(decodePageRange(0xfffff001, 0x7fffffff)).toEqual({ page: 0, sizeLog2: 64 });
    expect(describePageRange({ page: 0, sizeLog2: 64 })).toBe("all pages");
  });

  test("addresses above 2^53 keep all their bits", () => {
    const page = 0xffffffffffff1;
    expect(encodePageRange(page, 1)).toEqual([0xffff1000, 0xffffffff]);
    expect(decodePageRange(0xffff1000, 0xffffffff)).toEqual({ page, sizeLog2: 12 });
  });
});
