import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConservationRun, conservationCase } from "./conservation.ts";

describe("on any machine, under any stream of requests", () => {
  test("every request has one end, writes arrive once or not at all, and the counters equal the trace", () => {
    fc.assert(
      fc.property(conservationCase, ({ shape, steps }) => {
        const run = new ConservationRun(shape);
        run.run(steps);
        expect(run.problems()).toEqual([]);
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});
