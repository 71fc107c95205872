import type { CachePolicy } from "@iommu-lab/amd-vi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { plans, play } from "./random-tables.ts";

const policies: readonly CachePolicy[] = ["keep-all", "none", { lru: 3 }, { random: 7 }];

describe.each(policies)("random tables, caches %o", (policy) => {
  test("every answer is the oracle's, with exactly one event when it is refused", () => {
    const property = fc.property(plans, (plan) => play(plan, policy));
    expect(() => fc.assert(property, { numRuns: 250, seed: 20260 })).not.toThrow();
  });
});
