import { suites } from "@iommu-lab/bench";
import { describe, expect, test } from "vitest";

describe("every bench", () => {
  test.each(Object.keys(suites))("%s does its work", (name) => {
    const bench = suites[name]?.();
    expect(bench).toBeDefined();
    expect(bench?.run(3)).not.toBeNaN();
    expect(bench?.baseline(3)).not.toBeNaN();
  });
});
