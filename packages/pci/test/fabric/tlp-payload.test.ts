import {
  type TranslationEntry,
  decodeInvalidate,
  decodePageRequest,
  decodePageResponse,
  decodePasidPrefix,
  decodeTranslation,
  encodeInvalidate,
  encodePageRequest,
  encodePageResponse,
  encodePasidPrefix,
  encodeTranslation,
  wireBytes,
} from "@iommu-lab/pci";
import { hex64 } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const none = {
  read: false,
  write: false,
  execute: false,
  privileged: false,
  global: false,
  untranslatedOnly: false,
  noSnoop: false,
  cxlIo: false,
};
const rw = { ...none, read: true, write: true };

const translations: readonly (readonly [string, TranslationEntry, string])[] = [
  ["4 KB RW", { ...rw, page: 0x123456, sizeLog2: 12 }, "0x0000000123456003"],
  ["4 KB RO", { ...none, read: true, page: 0x123456, sizeLog2: 12 }, "0x0000000123456001"],
  ["16 KB RW", { ...rw, page: 0x123454, sizeLog2: 14 }, "0x0000000123455803"],
  ["2 MB RW", { ...rw, page: 0x123400, sizeLog2: 21 }, "0x00000001234ff803"],
  ["1 GB RW", { ...rw, page: 0x140000, sizeLog2: 30 }, "0x000000015ffff803"],
  ["4 KB RWX Priv", { ...rw, execute: true, privileged: true, page: 0x123456, sizeLog2: 12 }, "0x000000012345601b"],
  ["denied", { ...none, page: 0, sizeLog2: 12 }, "0x0000000000000000"],
];

const invalidations: readonly (readonly [number, number, boolean, string])[] = [
  [0x1, 12, false, "0x0000000000001000"],
  [0x2, 13, false, "0x0000000000002800"],
  [0x0, 14, false, "0x0000000000001800"],
  [0x200, 21, false, "0x00000000002ff800"],
  [0, 64, false, "0x7ffffffffffff800"],
  [0, 64, true, "0x7ffffffffffff801"],
];

describe("TLP payloads", () => {
  test.each(translations)("Translation Completion %s", (_name, entry, word) => {
    const { lo, hi } = encodeTranslation(entry);
    expect(hex64(lo, hi)).toBe(word);
    expect(decodeTranslation(lo, hi)).toEqual(entry);
  });

  test("the most significant byte goes first", () => {
    const word = encodeTranslation({ ...rw, page: 0x123400, sizeLog2: 21 });
    expect([...wireBytes(word)]).toEqual([0x00, 0x00, 0x00, 0x01, 0x23, 0x4f, 0xf8, 0x03]);
  });

  test.each(invalidations)("Invalidate Request of page 0x%x, 2^%i bytes, global %s", (page, sizeLog2, global, word) => {
    const { lo, hi } = encodeInvalidate({ page, sizeLog2, global });
    expect(hex64(lo, hi)).toBe(word);
    expect(decodeInvalidate(lo, hi)).toEqual({ page, sizeLog2, global });
  });

  test("Page Request and stop marker", () => {
    const request = { page: 0x7f0000001, groupIndex: 3, last: true, write: true, read: true };
    const { lo, hi } = encodePageRequest(request);
    expect(hex64(lo, hi)).toBe("0x00007f000000101f");
    expect(decodePageRequest(lo, hi)).toEqual(request);
    const marker = encodePageRequest({ page: 0, groupIndex: 0, last: true, write: false, read: false });
    expect(hex64(marker.lo, marker.hi)).toBe("0x0000000000000004");
  });

  test.each([
    [0, 0x0003],
    [1, 0x1003],
    [15, 0xf003],
  ])("PRG Response code %i for group 3", (code, word) => {
    expect(encodePageResponse({ groupIndex: 3, code })).toBe(word);
    expect(decodePageResponse(word)).toEqual({ groupIndex: 3, code });
  });

  test("PASID prefix", () => {
    const plain = { pasid: 5, execute: false, privileged: false };
    expect(encodePasidPrefix(plain)).toBe(0x91000005);
    expect(encodePasidPrefix({ ...plain, privileged: true })).toBe(0x91200005);
    expect(encodePasidPrefix({ ...plain, execute: true })).toBe(0x91100005);
    expect(decodePasidPrefix(0x91200005)).toEqual({ ...plain, privileged: true });
    expect(decodePasidPrefix(0x90000005)).toBeUndefined();
  });

  test("every aligned range survives coding", () => {
    fc.assert(
      fc.property(fc.integer({ min: 12, max: 63 }), fc.maxSafeNat(), fc.boolean(), (sizeLog2, seed, global) => {
        const units = 2 ** (64 - sizeLog2);
        const page = (seed % units) * 2 ** (sizeLog2 - 12);
        const word = encodeInvalidate({ page, sizeLog2, global });
        expect(decodeInvalidate(word.lo, word.hi)).toEqual({ page, sizeLog2, global });
      }),
    );
  });

  test("an unaligned range is refused", () => {
    expect(() => encodeInvalidate({ page: 1, sizeLog2: 13, global: false })).toThrow(/no start of a range/);
    expect(() => decodeInvalidate(0xfffff800, 0xffffffff)).toThrow(/size code/);
  });
});
