import {
  decodeBufferBase,
  decodeDeviceTableBase,
  decodeFeatures,
  encodeBufferBase,
  encodeDeviceTableBase,
  encodeFeatures,
  invalidationTimeout,
} from "@iommu-lab/amd-vi";
import { InputError, hex64 } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";

describe("base registers", () => {
  test("device table of 2 MiB", () => {
    const words = encodeDeviceTableBase(0x4000000, 2 ** 21);
    expect(hex64(...words)).toBe("0x00000000040001ff");
    expect(decodeDeviceTableBase(...words)).toEqual({ address: 0x4000000, bytes: 2 ** 21 });
  });

  test("command buffer of 8 KiB", () => {
    const words = encodeBufferBase(0x5000000, 9);
    expect(hex64(...words)).toBe("0x0900000005000000");
    expect(decodeBufferBase(...words)).toEqual({ address: 0x5000000, bytes: 8192 });
  });

  test("invalidation timeout", () => {
    expect([0, 1, 4, 6, 7].map((value) => invalidationTimeout(value << 5))).toEqual([
      Infinity,
      1_000_000,
      1_000_000_000,
      100_000_000_000,
      Infinity,
    ]);
  });
});

describe("features", () => {
  test("a real EFR", () => {
    expect(decodeFeatures(0x246577efa2254afan, 0n)).toMatchObject({
      ppr: true,
      nx: true,
      gt: true,
      invalidateAll: true,
      ga: true,
      counters: true,
      xt: false,
      hats: 2,
      gats: 0,
      glx: 1,
      gam: 1,
      secureAts: true,
      pasMax: 15,
      gio: true,
      eph: true,
      iotlbType: true,
      hostAccessed: false,
      hostDirty: false,
      snp: false,
    });
  });

  test("the emulator's EFR lacks what Linux 7.2 wants for ATS", () => {
    const features = decodeFeatures(0x29d3n, 0n);
    expect([features.gt, features.ppr, features.gio, features.eph]).toEqual([true, true, false, false]);
  });

  test("by name", () => {
    expect(decodeFeatures(encodeFeatures({}), 0n)).toMatchObject({
      ppr: true,
      gt: true,
      gio: true,
      eph: true,
      invalidateAll: true,
      glx: 1,
      pasMax: 15,
      hats: 2,
    });
    expect(decodeFeatures(encodeFeatures({ gt: false, pasidBits: 9, hostLevels: 4 }), 0n)).toMatchObject({
      gt: false,
      glx: 0,
      pasMax: 8,
      hats: 0,
    });
    expect(() => encodeFeatures({ pasidBits: 21 })).toThrow(InputError);
  });
});
