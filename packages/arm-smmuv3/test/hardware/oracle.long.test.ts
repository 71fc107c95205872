import { expect, test } from "vitest";
import { comparedWithOracle, modes } from "../support/random-streams.ts";

test.each(modes)("caches %j: what an oracle says, 20000 random streams", { timeout: 600_000 }, (caches) => {
  expect(comparedWithOracle(caches, 20_000).size).toBeGreaterThan(30);
});
