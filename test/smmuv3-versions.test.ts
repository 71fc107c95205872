import { compare, cellAt } from "@iommu-lab/matrix";
import { accelerator, atsLifecycle, nic } from "@iommu-lab/scenario";
import { backends } from "iommu-lab";
import { describe, expect, it } from "vitest";

/** ATS Enable at each step; `-` = the kernel refuses the step. */
const expected = {
  // No PASIDs outside SVA; BLOCKED is an empty paging domain; nobody tells the driver of a reset.
  "6.1": { nic: "0 0 - 0 1 1 - 1 1 0 1 1 0", accelerator: "0 0 - 0 1 1 - 1 1 0 1 1 0" },
  // As 7.2 without functions that require ATS, and without reset staging.
  "6.12": { nic: "0 0 1 0 1 0 1 1 1 0 1 1 0", accelerator: "0 0 1 0 1 0 1 1 1 0 1 1 0" },
  "7.2": { nic: "0 0 1 0 1 0 1 1 0 1 1 1 0", accelerator: "1 1 1 1 1 0 1 1 0 1 1 1 0" },
} as const;

const smmuv3 = backends.filter(({ id }) => id === "arm-smmuv3");
const steps = atsLifecycle.steps.map(({ id }) => id);

describe.each(Object.entries(expected))("when ATS is on, SMMUv3 under Linux %s", (version, rows) => {
  const comparison = compare(atsLifecycle, { backends: smmuv3, devices: [nic, accelerator], kernels: [version] });

  it.each(Object.entries(rows))("%s", (device, row) => {
    const column = `arm-smmuv3/linux-${version}/${device}`;
    const cells = steps.map((step) => cellAt(comparison, step, column));
    expect(cells.map((cell) => (cell.status === "refused" ? "-" : String(Number(cell.ats.enabled)))).join(" ")).toBe(
      row,
    );
  });

  it("BLOCKED of 6.1 lets a Translated request through, later ones refuse it", () => {
    const cell = cellAt(comparison, "blocked", `arm-smmuv3/linux-${version}/nic`);
    expect(cell.hostile.translated.forged).toBe(version === "6.1" ? "ok" : "refused");
  });
});
