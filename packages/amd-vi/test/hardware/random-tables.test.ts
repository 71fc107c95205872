import type { CachePolicy } from "@iommu-lab/amd-vi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Slot, Step } from "./random-tables.ts";
import { addressOf, plainSlots, plans, play, step } from "./random-tables.ts";

const policies: readonly CachePolicy[] = ["keep-all", "none", { lru: 3 }, { random: 7 }];

describe.each(policies)("random tables, caches %o", (policy) => {
  test("every answer is the oracle's, with exactly one event when it is refused", () => {
    const property = fc.property(plans, (plan) => play(plan, policy));
    expect(() => fc.assert(property, { numRuns: 250, seed: 20260 })).not.toThrow();
  });
});

const PLAIN: Slot = { table: 0, index: 0, oddity: 0, target: 0, next: 0, flags: 0, sizeBits: 0 };
const ASK: Step = { change: false, slot: PLAIN, kind: "ask", indices: [0, 0, 0, 0, 0, 0], upper: 2, pasid: 513 };

describe.each(policies)("PASID 513 behind a second GCR3 table, nested, caches %o", (policy) => {
  const plan = {
    slots: plainSlots(
      { ...PLAIN, table: 2, flags: 1 },
      { ...PLAIN, table: 6, index: 1, oddity: 18 },
      { ...PLAIN, table: 12, index: 1, oddity: 18, target: 4 },
    ),
    dte: { iotlb: true, write: false, mode: 4, guestValid: true, glx: 1 },
  };

  test.each([
    { where: "in the upper half", indices: [0, 0, 0, 0, 0, 0] },
    { where: "past the last page, which is the lower half again", indices: [0, 0, 0, 0, 4, 0] },
  ])("a Translation Request $where", ({ indices }) => {
    const change = { ...ASK, change: true, slot: { ...PLAIN, table: 3, flags: 25 }, upper: 0, pasid: -1 };
    const read = { ...ASK, kind: "read" as const, upper: 0, pasid: -1 };
    const steps = [read, { ...change, kind: "read" as const }, read, { ...ASK, indices }, read];
    expect(() => play({ ...plan, steps }, policy)).not.toThrow();
  });
});

test("addresses of random requests have 64 bits", () => {
  const pages = fc.property(step, fc.integer({ min: 1, max: 6 }), (one, levels) => {
    const page = addressOf(one, levels);
    return Number.isSafeInteger(page) && page >= 0 && page < 2 ** 52;
  });
  expect(() => fc.assert(pages, { numRuns: 2000, seed: 20260 })).not.toThrow();
});
