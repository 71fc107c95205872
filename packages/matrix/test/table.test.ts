import type { Comparison } from "@iommu-lab/matrix";
import { COMPARISON_SCHEMA, cellAt, cellText, formatMarkdown, formatTable, views } from "@iommu-lab/matrix";
import type { Cell } from "@iommu-lab/scenario";
import { describe, expect, it } from "vitest";

const reach = {
  untranslated: { read: "ok", write: "ok" },
  translationRequest: { completion: "not-sent", read: false, write: false },
  cxlCache: "not-sent",
} as const;

function cell(step: string, column: string, changes: Partial<Cell> = {}): Cell {
  return {
    step,
    column,
    status: "measured",
    domain: "DMA",
    owner: "none",
    pasids: {},
    ats: { enabled: true, permitted: true, stu: 0 },
    pri: { enabled: false },
    pasid: { enabled: false },
    honest: reach,
    hostile: { ...reach, translated: { forged: "refused", stale: "not-sent" } },
    withPasid: {},
    atc: [],
    invalidations: { sent: 0, answered: 0, dropped: 0, timedOut: 0 },
    msi: "not-applicable",
    belief: { atsEnabled: true },
    basis: "recorded",
    evidence: [],
    ...changes,
  };
}

const comparison: Comparison = {
  schema: COMPARISON_SCHEMA,
  scenario: { id: "s", title: "A scenario", question: "Is it so?" },
  columns: ["x", "y"].map((backend) => ({
    id: `${backend}/linux-7.2/nic`,
    backend,
    kernel: "linux-7.2",
    policies: [],
    device: "nic",
    atsRequired: false,
    notes: backend === "x" ? ["a rule: because (source)"] : [],
  })),
  steps: [
    { id: "first", title: "" },
    { id: "second", title: "" },
  ],
  cells: [
    cell("first", "x/linux-7.2/nic"),
    cell("first", "y/linux-7.2/nic", { status: "not-applicable", note: "none" }),
    cell("second", "x/linux-7.2/nic", { status: "refused", errno: "EINVAL", note: "EINVAL: no" }),
    cell("second", "y/linux-7.2/nic", { ats: { enabled: false, permitted: false, stu: 0 } }),
  ],
};

describe("the table", () => {
  it("puts backends side by side, says what was refused, and tells why", () => {
    expect(formatTable(comparison).split("\n")).toEqual([
      "A scenario: Is it so?",
      "",
      "ATS Enable, what the RID is attached to, and what a forged Translated write does — nic",
      "  step    x                                     y",
      "  ------  ------------------------------------  -----------------------",
      "  first   on DMA, forged refused                not-applicable",
      "  second  on DMA, forged refused [step EINVAL]  off DMA, forged refused",
      "",
      "x/linux-7.2/nic",
      "  second refused: EINVAL: no",
      "",
    ]);
    expect(formatTable(comparison, undefined, { why: true })).toContain("\n  a rule: because (source)\n");
  });

  it("paint changes no width", () => {
    const painted = formatTable(comparison, undefined, { paint: (text) => `<${text}>` });
    expect(painted).toContain("<not-applicable>");
    expect(painted.replaceAll(/[<>]/g, "")).toBe(formatTable(comparison));
  });

  it("Markdown has a row per step and a column per column", () => {
    const shown = views.filter(({ id }) => id === "ats" || id === "forged");
    expect(formatMarkdown(comparison, shown)).toContain("| second | on DMA [step EINVAL] | off DMA |");
  });

  it("cells are found by step and column", () => {
    expect(
      cellText(cellAt(comparison, "first", "y/linux-7.2/nic"), views[0] ?? { id: "", title: "", text: String }),
    ).toBe("not-applicable");
    expect(() => cellAt(comparison, "third", "x")).toThrow("no cell third in x");
  });
});
