import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ConservationRun, conservationCase } from "./conservation.ts";

test("20,000 machines: every request has one end, writes arrive once or not at all, the counters equal the trace", () => {
  fc.assert(
    fc.property(conservationCase, ({ shape, steps }) => {
      const run = new ConservationRun(shape);
      run.run(steps);
      expect(run.problems()).toEqual([]);
    }),
    { numRuns: 20_000 },
  );
}, 1_800_000);
