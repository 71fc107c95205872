import type { FaultRecord } from "@iommu-lab/intel-vtd";
import {
  FAULT_REASONS,
  decodeFaultRecord,
  decodePageRequest,
  encodeFaultRecord,
  encodePageRequest,
} from "@iommu-lab/intel-vtd";
import { AT_TRANSLATED, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hexOf } from "./golden.ts";

const write: FaultRecord = {
  valid: true,
  page: 0xdeadb,
  sourceId: 0x3a00,
  reason: 0x02,
  pasid: NO_PASID,
  privileged: false,
  execute: false,
  addressType: AT_UNTRANSLATED,
  access: "write",
};

describe("fault records", () => {
  test.each<[string, FaultRecord, string]>([
    ["legacy write, context not present", write, "0xDEADB000 0x8000000200003A00"],
    [
      "translated read, TT=00",
      { ...write, access: "read", addressType: AT_TRANSLATED, reason: 0x0d },
      "0xDEADB000 0xE000000D00003A00",
    ],
    [
      "scalable read, PASID entry not present",
      { ...write, access: "read", reason: 0x59 },
      "0xDEADB000 0xC000005900003A00",
    ],
    [
      "scalable write with PASID",
      { ...write, page: 0x7f0000001, pasid: 0x12, reason: 0x85 },
      "0x7F0000001000 0x8000128580003A00",
    ],
    [
      "translated write, DTE=0",
      { ...write, addressType: AT_TRANSLATED, reason: 0x44 },
      "0xDEADB000 0xA000004400003A00",
    ],
  ])("%s", (_name, record, hex) => {
    expect(hexOf(encodeFaultRecord(record))).toBe(hex);
    expect(decodeFaultRecord(encodeFaultRecord(record))).toEqual(record);
  });

  test("round trip", () => {
    fc.assert(
      fc.property(
        fc.record({
          valid: fc.boolean(),
          page: fc.nat(2 ** 31 - 1),
          sourceId: fc.nat(0xffff),
          reason: fc.nat(0xff),
          pasid: fc.oneof(fc.constant(NO_PASID), fc.nat(0xfffff)),
          privileged: fc.boolean(),
          execute: fc.boolean(),
          addressType: fc.nat(3),
          access: fc.constantFrom("write", "page-request", "read", "atomic"),
        }),
        (record) => {
          expect(decodeFaultRecord(encodeFaultRecord(record))).toEqual(record);
        },
      ),
    );
  });
});

describe("page requests", () => {
  test("golden words", () => {
    const request = {
      sourceId: 0x3a00,
      pasid: 0x12,
      read: true,
      write: false,
      last: true,
      groupIndex: 5,
      page: 0x7f0000001,
    };
    expect(hexOf(encodePageRequest(request))).toBe("0x123A000101 0x7F000000102D 0x0 0x0");
    expect(decodePageRequest(encodePageRequest(request))).toEqual(request);
  });
});

describe("fault reasons", () => {
  test("a Success without permissions is an answer to Translation Requests alone", () => {
    for (const reason of FAULT_REASONS.values()) {
      expect(reason.untranslated).toBe("UR");
      expect(reason.translated).not.toBe("S0");
    }
  });
});
