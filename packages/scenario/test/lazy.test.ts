import { atsLifecycle, measure, nic, subject } from "@iommu-lab/scenario";
import { expect, it } from "vitest";

const put = subject({ backend: { id: "none", title: "", cmdline: "", plugins: () => [] }, device: nic });

it("what is read first makes no difference to what is measured", () => {
  const whole = JSON.stringify(measure(atsLifecycle, put).cells);
  const { cells } = measure(atsLifecycle, put);
  for (const cell of cells.toReversed()) {
    expect(cell.evidence).toBeDefined();
    expect(cell.hostile.translated.stale).toBeDefined();
    expect(cell.hostile.untranslated.write).toBeDefined();
    expect(cell.ats.permitted).toBeDefined();
  }
  expect(JSON.stringify(cells)).toBe(whole);
});
