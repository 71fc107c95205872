import { amdvi } from "@iommu-lab/amd-vi";
import { vtd } from "@iommu-lab/intel-vtd";
import { cellAt, compare } from "@iommu-lab/matrix";
import { type Backend, atsLifecycle, nic } from "@iommu-lab/scenario";
import { describe, expect, it } from "vitest";

const intel: Backend = {
  id: "intel",
  title: "VT-d, scalable mode",
  cmdline: "intel_iommu=on,sm_on",
  plugins: () => [vtd({ mode: "scalable" })],
};
const amd: Backend = { id: "amd", title: "AMD-Vi", cmdline: "", plugins: () => [amdvi()] };

describe("a device whose owner has attached nothing (BLOCKED)", () => {
  const comparison = compare(atsLifecycle, { backends: [intel, amd], devices: [nic] });

  it.each([
    { column: "intel/linux-7.2/nic", enabled: true, forged: "ok" },
    { column: "amd/linux-7.2/nic", enabled: false, forged: "refused" },
  ])("$column: ATS $enabled, a forged Translated write is $forged", ({ column, enabled, forged }) => {
    const cell = cellAt(comparison, "blocked", column);
    expect(cell.ats.enabled).toBe(enabled);
    expect(cell.hostile.translated.forged).toBe(forged);
  });
});
