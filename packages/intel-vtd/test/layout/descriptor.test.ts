import type { Words } from "@iommu-lab/core";
import {
  ALL_PAGES_ORDER,
  GRANULARITY_DOMAIN,
  GRANULARITY_GLOBAL,
  GRANULARITY_SELECTIVE,
  PC_DOMAIN,
  PC_GLOBAL,
  PC_PASID,
  alignedRange,
  codePages,
  contextCacheInvalidation,
  decodePages,
  describeDescriptor,
  descriptorName,
  descriptorType,
  deviceTlbInvalidation,
  interruptEntryInvalidation,
  invalidationWait,
  iotlbInvalidation,
  iotlbPageInvalidation,
  pageGroupResponse,
  pasidCacheInvalidation,
  pasidDeviceTlbInvalidation,
  pasidIotlbInvalidation,
  pasidIotlbPageInvalidation,
} from "@iommu-lab/intel-vtd";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf, hexOf } from "./golden.ts";

const drain = { read: true, write: true };
const device = { sourceId: 0x3a00, physicalFunction: 0, maxPending: 0 };
const wait = { statusWrite: true, data: 2, address: 0x3000 };

function covering(first: number, last: number): Words {
  const { page, order } = alignedRange(first, last);
  return deviceTlbInvalidation(device, page, order);
}

describe("golden descriptors", () => {
  test.each<[string, Words, string]>([
    ["cc global", contextCacheInvalidation(GRANULARITY_GLOBAL, 0, 0), "0x11 0x0"],
    ["cc domain", contextCacheInvalidation(GRANULARITY_DOMAIN, 0x12, 0), "0x120021 0x0"],
    ["cc device", contextCacheInvalidation(GRANULARITY_SELECTIVE, 0x12, 0x3a00), "0x3A0000120031 0x0"],
    ["iotlb global", iotlbInvalidation(GRANULARITY_GLOBAL, 0, drain), "0xD2 0x0"],
    ["iotlb domain", iotlbInvalidation(GRANULARITY_DOMAIN, 0x12, drain), "0x1200E2 0x0"],
    ["iotlb page", iotlbPageInvalidation(0x12, 0, 2, false, drain), "0x1200F2 0x2"],
    ["iotlb 2 MiB, leaves", iotlbPageInvalidation(0x12, 0x40000, 9, true, drain), "0x1200F2 0x40000049"],
    ["dev_tlb 4 KiB", covering(1, 1), "0x3A0000000003 0x1000"],
    ["dev_tlb 0x1000..0x3fff", covering(1, 3), "0x3A0000000003 0x1001"],
    ["dev_tlb 0x1000..0x4fff", covering(1, 4), "0x3A0000000003 0x3001"],
    ["dev_tlb 2 MiB", covering(0x40000, 0x401ff), "0x3A0000000003 0x400FF001"],
    ["dev_tlb everything", deviceTlbInvalidation(device, 0, ALL_PAGES_ORDER), "0x3A0000000003 0x7FFFFFFFFFFFF001"],
    [
      "dev_tlb of a VF, throttled",
      deviceTlbInvalidation({ sourceId: 0x3a01, physicalFunction: 0x3a00, maxPending: 16 }, 0, ALL_PAGES_ORDER),
      "0x3A003A0100100003 0x7FFFFFFFFFFFF001",
    ],
    [
      "p_dev_tlb everything",
      pasidDeviceTlbInvalidation(device, 0x12, 0, ALL_PAGES_ORDER),
      "0x123A000008 0x7FFFFFFFFFFFF800",
    ],
    ["p_dev_tlb 16 KiB", pasidDeviceTlbInvalidation(device, 0x12, 0x7f0000000, 2), "0x123A000008 0x7F0000001800"],
    ["p_iotlb PASID", pasidIotlbInvalidation(5, 0x12), "0x1200050026 0x0"],
    ["p_iotlb page", pasidIotlbPageInvalidation(5, 0x12, 0x7f0000000, 2, false), "0x1200050036 0x7F0000000002"],
    ["pc domain", pasidCacheInvalidation(PC_DOMAIN, 5, 0), "0x50007 0x0"],
    ["pc PASID", pasidCacheInvalidation(PC_PASID, 5, 0x12), "0x1200050017 0x0"],
    ["pc global", pasidCacheInvalidation(PC_GLOBAL, 0, 0), "0x37 0x0"],
    ["wait SW", invalidationWait(wait), "0x200000025 0x3000"],
    ["wait SW FN", invalidationWait({ ...wait, fence: true }), "0x200000065 0x3000"],
    ["wait SW PD", invalidationWait({ ...wait, drain: true }), "0x2000000A5 0x3000"],
    ["wait IF", invalidationWait({ interrupt: true }), "0x15 0x0"],
    ["wait FN", invalidationWait({ fence: true }), "0x45 0x0"],
    ["iec global", interruptEntryInvalidation(), "0x4 0x0"],
    ["iec index", interruptEntryInvalidation(0x10, 2), "0x1010000014 0x0"],
    ["response ok", pageGroupResponse(0x3a00, 0x12, 5, 0), "0x123A000019 0x28"],
    ["response invalid", pageGroupResponse(0x3a00, 0x12, 5, 1), "0x123A001019 0x28"],
    ["response failure", pageGroupResponse(0x3a00, 0x12, 5, 0xf), "0x123A00F019 0x28"],
  ])("%s", (_name, words, hex) => {
    expect(hexOf(words)).toBe(hex);
  });

  test("bytes in memory", () => {
    expect(bytesOf(invalidationWait(wait), 16)).toBe("25 00 00 00 02 00 00 00 00 30 00 00 00 00 00 00");
    expect(bytesOf(covering(1, 3), 16)).toBe("03 00 00 00 00 3a 00 00 01 10 00 00 00 00 00 00");
  });
});

describe("decoded text", () => {
  test.each<[Words, string, string]>([
    [deviceTlbInvalidation(device, 0, ALL_PAGES_ORDER), "dev_tlb_inv", "device-TLB of 3a:00.0, everything"],
    [
      pasidDeviceTlbInvalidation(device, 0x12, 0x100, 0),
      "p_dev_tlb_inv",
      "device-TLB of 3a:00.0 PASID 18, 1 page at 0x100000",
    ],
    [
      contextCacheInvalidation(GRANULARITY_SELECTIVE, 0x12, 0x3a00),
      "cc_inv",
      "context cache, device 3a:00.0 of domain 18",
    ],
    [pasidIotlbPageInvalidation(5, 1, 0x10, 2, true), "p_iotlb_inv", "IOTLB, PASID 1 of domain 5, 4 pages at 0x10000"],
    [invalidationWait({ ...wait, fence: true }), "inv_wait", "wait: write 2 to 0x3000, fence"],
    [pasidCacheInvalidation(PC_PASID, 5, 0), "pc_inv", "PASID cache, PASID 0 of domain 5"],
  ])("%#", (words, name, text) => {
    expect(descriptorName(descriptorType(words))).toBe(name);
    expect(describeDescriptor(words)).toBe(text);
  });
});

describe("size-coded ranges", () => {
  test("round trip", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 51 }), fc.nat(0xffff), (order, index) => {
        const page = (index % 2 ** Math.min(16, 51 - order)) * 2 ** order;
        expect(decodePages(codePages(page, order))).toEqual({ page, order });
      }),
    );
    expect(decodePages(codePages(0, ALL_PAGES_ORDER))).toEqual({ page: 0, order: ALL_PAGES_ORDER });
  });

  test("the range is the smallest aligned power of two that covers first and last", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), fc.nat(5000), (first, length) => {
        const last = first + length;
        const { page, order } = alignedRange(first, last);
        expect(page % 2 ** order).toBe(0);
        expect(page).toBeLessThanOrEqual(first);
        expect(page + 2 ** order).toBeGreaterThan(last);
        const half = 2 ** (order - 1);
        expect(order === 0 || Math.floor(first / half) !== Math.floor(last / half)).toBe(true);
      }),
    );
  });
});
