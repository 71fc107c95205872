import { InputError } from "@iommu-lab/core";
import type { Difference } from "@iommu-lab/truth";
import { explanationOf, parseExplanations } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";

const entry = {
  recording: "a-7.2",
  phase: "reset-*",
  role: "vnet_ats",
  aspect: "ats",
  recorded: "0x8000",
  model: "0x0000",
  cause: "because",
};
const difference: Difference = { device: "0000:01:00.0", aspect: "ats", recorded: "0x8000", model: "0x0000" };
const place = { recording: "a-7.2", phase: "reset-unbound:vnet_ats:flr", role: "vnet_ats" };

function parse(list: unknown): ReturnType<typeof parseExplanations> {
  return parseExplanations(JSON.stringify({ differences: list }), "explained.json");
}

describe("understood differences", () => {
  it("fit exactly: place, aspect and both values", () => {
    const list = parse([entry]);
    expect(explanationOf(list, place, difference)?.cause).toBe("because");
    expect(explanationOf(list, { ...place, recording: "b-7.2" }, difference)).toBeUndefined();
    expect(explanationOf(list, { ...place, role: "f_gpu" }, difference)).toBeUndefined();
    expect(explanationOf(list, { ...place, phase: "boot" }, difference)).toBeUndefined();
    expect(explanationOf(list, place, { ...difference, model: "0x8001" })).toBeUndefined();
    expect(explanationOf(list, place, { ...difference, recorded: "0x0000" })).toBeUndefined();
  });

  it("a phase without a star is one phase", () => {
    const list = parse([{ ...entry, phase: "reset-unbound" }]);
    expect(explanationOf(list, place, difference)).toBeUndefined();
  });

  it("damaged lists name entry and field", () => {
    expect(() => parse([entry, { ...entry, cause: 5 }])).toThrow(
      new InputError("differences[1].cause: expected a string, found number 5", { file: "explained.json" }),
    );
  });
});
