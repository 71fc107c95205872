import type { AmdIommuOptions } from "@iommu-lab/amd-vi";
import { defaultOpenPoints, encodeDte, encodeFeatureRegisters, encodeFeatures } from "@iommu-lab/amd-vi";
import { setBit, setBits } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { Machine, TRANSLATED } from "./machine.ts";

/** Every feature that a DTE can use. */
const all = encodeFeatures({
  pasidBits: 20,
  guestLevels: 5,
  features: { hostAccessed: true, hostDirty: true, secureAts: true, viommu: true },
});
const open = defaultOpenPoints;

function refused(change: (words: Uint32Array) => void, options: Partial<AmdIommuOptions> = {}): boolean {
  const machine = new Machine({ efr: all, ...options });
  const words = encodeDte(TRANSLATED);
  change(words);
  machine.setDte(words);
  return machine.write(0x12345).fault === "ILLEGAL_DEV_TABLE_ENTRY";
}

const ranges = (...list: readonly (readonly [number, number])[]): number[] =>
  list.flatMap(([low, high]) => Array.from({ length: high - low + 1 }, (_, index) => low + index));

/** Bits that are reserved whatever the unit can do. */
const RESERVED = ranges([2, 6], [63, 63], [192, 206], [240, 245]);
/** Bits that make this entry illegal as values, or by what they refer to: Mode, HAD, GLX 3. */
const TOUCHY = new Set([8, 11]);

describe("reserved bits", () => {
  test.each(RESERVED)("%i", (bit) => {
    expect(refused((words) => setBit(words, bit, true))).toBe(true);
  });

  test("all others may be set, one by one", () => {
    const wrong = ranges([0, 255])
      .filter((bit) => !RESERVED.includes(bit) && !TOUCHY.has(bit))
      .filter((bit) => refused((words) => setBit(words, bit, true)));
    expect(wrong).toEqual([]);
  });

  test("V=0: nothing is reserved", () => {
    for (const bit of RESERVED) {
      expect(
        refused((words) => {
          setBit(words, 0, false);
          setBit(words, bit, true);
        }),
      ).toBe(false);
    }
  });

  test("bits 6:4 are CXL memory attributes where that is asked for", () => {
    const cxl = { open: { ...open, cxlAttributes: "allowed" as const } };
    expect([3, 4, 5, 6].map((bit) => refused((words) => setBit(words, bit, true), cxl))).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("what a feature allows", () => {
  const without = (features: Parameters<typeof encodeFeatures>[0]): Partial<AmdIommuOptions> => ({
    efr: encodeFeatures(features),
  });

  test.each([
    ["PPR", 52, without({ ppr: false })],
    ["GPRP", 53, without({ ppr: false })],
    ["GV", 55, without({ gt: false })],
    ["SATS", 106, without({})],
    ["vImuEn", 207, without({})],
    ["GDeviceID", 208, without({})],
    ["GuestID", 239, without({})],
  ])("%s", (_name, bit, options) => {
    const set = (words: Uint32Array): void => setBit(words, bit, true);
    expect([refused(set), refused(set, options)]).toEqual([false, true]);
  });

  test.each([
    ["GIoV", [54, 54, 1], without({ gioSup: false })],
    ["GLX", [57, 56, 2], without({ glx: 1 })],
    ["GuestPagingMode", [183, 182, 1], without({ guestLevels: 4 })],
  ] as const)("%s beside GV", (_name, [high, low, value], options) => {
    const set = (words: Uint32Array): void => {
      setBit(words, 55, true);
      setBits(words, high, low, value);
    };
    expect([refused(set), refused(set, options)]).toEqual([false, true]);
  });

  test("GLX 3 and GuestPagingMode 2 never", () => {
    const set = (high: number, low: number, value: number) => (words: Uint32Array) => {
      setBit(words, 55, true);
      setBits(words, high, low, value);
    };
    expect([refused(set(57, 56, 3)), refused(set(183, 182, 2))]).toEqual([true, true]);
  });

  test("SNP needs a host table", () => {
    expect(refused(() => undefined, { snpActive: true })).toBe(true);
    expect(refused((words) => setBits(words, 1, 0, 1), { snpActive: true })).toBe(false);
  });

  test("GIoV, GLX and GuestPagingMode count only beside GV", () => {
    expect(refused((words) => setBits(words, 57, 56, 3))).toBe(false);
  });
});

test("features by name and as registers", () => {
  const [efr, efr2] = encodeFeatureRegisters({ gt: true, hats: 2, pasMax: 15, gcr3TrpMode: true, interruptTables: 1 });
  expect([efr.toString(16), efr2.toString(16)]).toEqual(["f00000810", "108"]);
});
