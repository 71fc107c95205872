import type { DeviceTableEntry } from "@iommu-lab/amd-vi";
import {
  EMPTY_DTE,
  decodeDte,
  decodeGcr3Entry,
  describeDte,
  describeGcr3Entry,
  encodeDte,
  encodeGcr3Entry,
  gcr3Capacity,
  gcr3Index,
} from "@iommu-lab/amd-vi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf, hexOf } from "./golden.ts";

const v1: DeviceTableEntry = {
  ...EMPTY_DTE,
  valid: true,
  translationValid: true,
  mode: 3,
  hostRoot: 0x3000000,
  read: true,
  write: true,
  domainId: 0x12,
  iotlb: true,
};

const v2: DeviceTableEntry = {
  ...EMPTY_DTE,
  valid: true,
  translationValid: true,
  guestValid: true,
  guestIo: true,
  gcr3Root: 0x123456f000,
  read: true,
  write: true,
  domainId: 0x13,
  iotlb: true,
};

const golden: readonly (readonly [string, DeviceTableEntry, string, string, string])[] = [
  ["v1 Mode 3", v1, "0x6000000003000603", "0x100000012", "0x0"],
  [
    "with interrupt remapping",
    { ...v1, interruptValid: true, interruptTableLength: 9, interruptTable: 0x3100000, interruptControl: 2 },
    "0x6000000003000603",
    "0x100000012",
    "0x2000000003100013",
  ],
  ["v1 Mode 4, HAD 3, I=0", { ...v1, mode: 4, accessDirty: 3, iotlb: false }, "0x6000000003000983", "0x12", "0x0"],
  ["blocked", { ...EMPTY_DTE, valid: true }, "0x1", "0x0", "0x0"],
  ["blocked, interrupts too", { ...EMPTY_DTE, valid: true, interruptValid: true }, "0x1", "0x0", "0x1"],
  ["boot", { ...EMPTY_DTE, valid: true, translationValid: true }, "0x3", "0x0", "0x0"],
  [
    "identity",
    { ...EMPTY_DTE, valid: true, translationValid: true, read: true, write: true, domainId: 0x11, iotlb: true },
    "0x6000000000000003",
    "0x100000011",
    "0x0",
  ],
  ["v2, 4 levels", v2, "0x7CC0000000000003", "0x1200168AD0013", "0x0"],
  ["v2, 5 levels", { ...v2, guestPagingMode: 1 }, "0x7CC0000000000003", "0x1200168AD0013", "0x40000000000000"],
  [
    "SVA on identity",
    { ...v2, guestIo: false, glx: 1, pageRequests: true },
    "0x7D90000000000003",
    "0x1200168AD0013",
    "0x0",
  ],
];

describe("device table entry", () => {
  test.each(golden)("%s", (_name, entry, ...words) => {
    expect(hexOf(encodeDte(entry))).toEqual([...words, "0x0"]);
    expect(decodeDte(encodeDte(entry))).toEqual(entry);
  });

  test("bytes in memory", () => {
    expect(bytesOf(encodeDte(v1))).toBe(`03 06 00 03 00 00 00 60 12 00 00 00 01 00 00 00${" 00".repeat(16)}`);
  });

  test("any 256 bits survive decoding and encoding, reserved bits aside", () => {
    const reserved = new Uint32Array([0x0000007c, 0x80000000, 0, 0x00000400, 0, 0x00300000, 0x00007fff, 0x003f0000]);
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffffff), { minLength: 8, maxLength: 8 }), (raw) => {
        const words = Uint32Array.from(raw, (word, index) => word & ~(reserved[index] ?? 0));
        expect(encodeDte(decodeDte(words))).toEqual(words);
      }),
    );
  });

  test("words for a reader", () => {
    expect(describeDte(encodeDte(EMPTY_DTE))).toBe("V=0: passes untranslated");
    expect(describeDte(encodeDte({ ...EMPTY_DTE, valid: true }))).toBe("V, TV=0: blocked, I=0");
    expect(describeDte(encodeDte(v1))).toBe("V, TV, 3-level host table 0x3000000, IRIW, DomainID 0x12, I=1");
    expect(describeDte(encodeDte({ ...v2, guestIo: false, glx: 1, pageRequests: true }))).toBe(
      "V, TV, GV, GCR3 table 0x123456f000 of 2 levels, 4-level guest tables, identity without PASID, IRIW, DomainID 0x13, I=1, PPR",
    );
  });
});

describe("GCR3 entry", () => {
  test("golden word", () => {
    expect(encodeGcr3Entry(0x5000000)).toEqual([0x5000001, 0]);
    expect(decodeGcr3Entry(0x5000001, 0)).toBe(0x5000000);
    expect(decodeGcr3Entry(0x5000000, 0)).toBe(-1);
    expect(describeGcr3Entry(0x5000001, 0)).toBe("guest page table 0x5000000");
    expect(describeGcr3Entry(0, 0)).toBe("not valid");
  });

  test("any page address survives", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 - 1 }), (page) => {
        expect(decodeGcr3Entry(...encodeGcr3Entry(page * 4096))).toBe(page * 4096);
      }),
    );
  });

  test("which entry a PASID has", () => {
    expect(gcr3Index(0x12345, 0)).toBe(0x145);
    expect(gcr3Index(0x12345, 1)).toBe(0x91);
    expect([0, 1, 2].map(gcr3Capacity)).toEqual([2 ** 9, 2 ** 18, 2 ** 20]);
  });
});
