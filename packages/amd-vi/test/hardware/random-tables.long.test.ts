import * as fc from "fast-check";
import { expect, test } from "vitest";
import { plans, play } from "./random-tables.ts";

test("random tables: a hundred thousand plans under all caches", { timeout: 3_600_000 }, () => {
  const policies = fc.constantFrom("keep-all" as const, "none" as const, { lru: 3 }, { random: 7 });
  expect(() => fc.assert(fc.property(plans, policies, play), { numRuns: 100_000 })).not.toThrow();
});
