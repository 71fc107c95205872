import {
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_PRIVILEGED,
  decodeInvalidateCompletion,
  invalidateCompletionHeader,
  memoryRequestHeader,
  requestPrefix,
} from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("an Invalidate Completion", () => {
  test("for ITag 3, one copy: the third word ends in 1, the fourth is 8", () => {
    const header = invalidateCompletionHeader(0x100, 0x0008, 8, 1);
    expect(header).toEqual([0x32000000, 0x01000002, 0x00080001, 0x00000008]);
  });

  test("survives coding; CC 8 is coded as 0", () => {
    const rid = fc.integer({ min: 0, max: 0xffff });
    const itags = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(rid, rid, itags, fc.integer({ min: 1, max: 8 }), (from, target, vector, count) => {
        const header = invalidateCompletionHeader(from, target, vector, count);
        expect(header[2] & 7).toBe(count % 8);
        expect(decodeInvalidateCompletion(header)).toEqual({ rid: from, target, itags: vector, count });
      }),
    );
  });

  test("is told from other TLPs", () => {
    expect(decodeInvalidateCompletion(memoryRequestHeader(0x100, 5, 0, 0))).toBeUndefined();
    expect(decodeInvalidateCompletion([0x32000000, 0x01000004, 0, 0])).toBeUndefined();
  });
});

test("the PASID prefix of a request", () => {
  expect(requestPrefix(NO_PASID, 0)).toBe(0);
  expect(requestPrefix(5, REQUEST_PRIVILEGED)).toBe(0x91200005);
  expect(requestPrefix(5, REQUEST_EXECUTE)).toBe(0x91100005);
});
