import { InputError } from "@iommu-lab/core";
import { type CachePolicy, cacheLimits, cachePolicies, xorshift32 } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("cacheLimits", () => {
  test.each<[CachePolicy, number, number]>([
    ["keep-all", Infinity, -1],
    ["none", 0, -1],
    [{ lru: 1 }, 1, -1],
    [{ lru: 2 ** 31 - 1 }, 2 ** 31 - 1, -1],
    [{ random: 0 }, Infinity, 0],
    [{ random: 7 }, Infinity, 7],
  ])("%j: capacity %d, seed %d", (policy, capacity, seed) => {
    expect(cacheLimits(policy)).toEqual({ capacity, seed });
  });

  test.each<[CachePolicy, string]>([
    [{ lru: 0 }, "cache policy lru: 0, expected a whole number of at least 1"],
    [{ lru: 1.5 }, "lru: 1.5"],
    [{ lru: Number.NaN }, "lru: NaN"],
    [{ lru: Infinity }, "lru: Infinity"],
    [{ lru: 2 ** 31 }, "lru: 2147483648"],
    [{ random: -1 }, "cache policy random: -1, expected a whole number of at least 0"],
  ])("%j is refused", (policy, message) => {
    expect(() => cacheLimits(policy)).toThrow(InputError);
    expect(() => cacheLimits(policy)).toThrow(message);
  });
});

test("cachePolicies: one for all, or some by name", () => {
  const names = ["a", "b"] as const;
  expect(cachePolicies(names, "none")).toEqual({ a: "none", b: "none" });
  expect(cachePolicies(names, { lru: 3 })).toEqual({ a: { lru: 3 }, b: { lru: 3 } });
  expect(cachePolicies(names, { random: 3 })).toEqual({ a: { random: 3 }, b: { random: 3 } });
  expect(cachePolicies(names, { b: { lru: 1 } })).toEqual({ a: "keep-all", b: { lru: 1 } });
  expect(cachePolicies(names, {})).toEqual({ a: "keep-all", b: "keep-all" });
});

test("xorshift32 never comes to 0, where it would stay, and no two numbers lead to the same one", () => {
  const state = fc.integer({ min: 1, max: 0xffff_ffff });
  fc.assert(
    fc.property(state, state, (one, other) => {
      expect(xorshift32(one)).toBeGreaterThan(0);
      expect(xorshift32(one) === xorshift32(other)).toBe(one === other);
    }),
  );
  expect([xorshift32(1), xorshift32(0x8000_0000)]).toEqual([0x0004_2021, 0x8008_4000]);
});
