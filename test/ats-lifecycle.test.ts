import { readFileSync } from "node:fs";
import path from "node:path";
import { type Comparison, cellAt, compare, formatTable, views } from "@iommu-lab/matrix";
import { type Cell, accelerator, atsLifecycle, deviceFromDump, nic } from "@iommu-lab/scenario";
import { backends } from "iommu-lab";
import { describe, expect, it } from "vitest";
import { dataFolder } from "./data-folder.ts";

/** ATS Enable at each step, by column; `-` = the step does not exist there. */
const expected = {
  "arm-smmuv3/linux-7.2/nic": "0 0 1 0 1 0 1 1 0 1 1 1 0",
  "arm-smmuv3/linux-7.2/accelerator": "1 1 1 1 1 0 1 1 0 1 1 1 0",
  "intel-vtd:scalable/linux-7.2/nic": "1 1 1 1 1 1 1 1 1 0 1 1 0",
  "intel-vtd:scalable/linux-7.2/accelerator": "1 1 1 1 1 1 1 1 1 0 1 1 0",
  "intel-vtd:legacy/linux-7.2/nic": "0 0 - - 1 0 - 1 0 1 1 1 0",
  "intel-vtd:legacy/linux-7.2/accelerator": "0 0 - - 1 0 - 1 0 1 1 1 0",
  "amd-vi/linux-7.2/nic": "1 1 1 1 1 0 0 1 0 1 1 1 0",
  "amd-vi/linux-7.2/accelerator": "1 1 1 1 1 0 0 1 0 1 1 1 0",
} as const;

const columns = Object.keys(expected) as (keyof typeof expected)[];
const steps = atsLifecycle.steps.map(({ id }) => id);
const comparison: Comparison = compare(atsLifecycle, { backends, devices: [nic, accelerator] });

function at(step: string, column: string): Cell {
  return cellAt(comparison, step, column);
}

function enables(column: string): string {
  return steps
    .map((step) => at(step, column))
    .map((cell) => (cell.status === "not-applicable" ? "-" : String(Number(cell.ats.enabled))))
    .join(" ");
}

describe("when ATS is on, Linux 7.2", () => {
  it.each(columns)("%s", (column) => {
    expect(enables(column)).toBe(expected[column]);
  });

  it("the driver believes what the wire shows, except VT-d scalable between a reset and its restore", () => {
    const different = comparison.cells
      .filter((cell) => cell.status !== "not-applicable" && cell.belief.atsEnabled !== cell.ats.enabled)
      .map((cell) => `${cell.column} ${cell.step}`);
    expect(different).toEqual([
      "intel-vtd:scalable/linux-7.2/nic reset-done",
      "intel-vtd:scalable/linux-7.2/accelerator reset-done",
    ]);
  });

  it("only SMMUv3 asks whether a device needs ATS, and only the CXL.cache device does", () => {
    expect(comparison.columns.filter(({ atsRequired }) => atsRequired).map(({ device }) => device)).toEqual(
      backends.map(() => "accelerator"),
    );
    const notes = comparison.columns.filter((column) =>
      column.notes.some((note) => note.includes("cannot work without ATS")),
    );
    expect(notes.map(({ id }) => id)).toEqual(["arm-smmuv3/linux-7.2/accelerator"]);
  });
});

it("the README shows the table as it is measured now", () => {
  const readme = readFileSync(path.join(import.meta.dirname, "../README.md"), "utf8");
  const summary = views.filter(({ id }) => id === "summary");
  const tables = formatTable(comparison, summary).split("\n").slice(2, -1).join("\n");
  const [shown = ""] = tables.split("\n\namd-vi/linux-7.2/nic");
  expect(readme).toContain(shown);
});

describe("BLOCKED without PASIDs", () => {
  it.each(columns)("%s: a forged Translated write passes on VT-d scalable alone", (column) => {
    const forged = at("blocked", column).hostile.translated.forged;
    expect(forged).toBe(column.startsWith("intel-vtd:scalable") ? "ok" : "refused");
  });

  it.each(columns)("%s: no Untranslated request passes", (column) => {
    const { honest, hostile } = at("blocked", column);
    const outcomes = [honest.untranslated.read, honest.untranslated.write, hostile.untranslated.write];
    expect(outcomes.filter((outcome) => outcome === "ok")).toEqual([]);
  });
});

describe("BLOCKED with a PASID live", () => {
  it("keeps translations of the PASID where the vendor has them apart from the RID's", () => {
    expect(at("blocked-with-pasid", "arm-smmuv3/linux-7.2/nic").withPasid["1"]?.honest.untranslated.write).toBe("ok");
    expect(at("blocked-with-pasid", "intel-vtd:scalable/linux-7.2/nic").withPasid["1"]?.honest.untranslated.write).toBe(
      "ok",
    );
    expect(at("blocked-with-pasid", "amd-vi/linux-7.2/nic").withPasid["1"]?.honest.untranslated.write).not.toBe("ok");
  });
});

describe("CXL.cache", () => {
  it("works in IDENTITY where ATS is on", () => {
    expect(at("bind", "arm-smmuv3/linux-7.2/accelerator").honest.cxlCache).toBe("ok");
    expect(at("bind", "intel-vtd:legacy/linux-7.2/accelerator").honest.cxlCache).toBe("not-sent");
    expect(at("bind", "intel-vtd:scalable/linux-7.2/accelerator").honest.cxlCache).toBe("ok");
    expect(at("bind", "amd-vi/linux-7.2/accelerator").honest.cxlCache).toBe("ok");
  });

  it("is seen by no IOMMU: a hostile device reaches memory even while it is BLOCKED", () => {
    const reached = columns.filter((column) => at("blocked", column).hostile.cxlCache === "ok");
    expect(reached).toEqual(columns.filter((column) => column.endsWith("accelerator")));
  });
});

describe("a device from a dump", () => {
  const recording = "poke-smmu-ats-ssid-7.2.lspci-xxxx.txt";
  const dump = path.join(import.meta.dirname, "../packages/truth/recordings", recording);

  it("11:00.0 is CXL.cache and ATS-required: SMMUv3 keeps ATS on in IDENTITY", () => {
    const device = deviceFromDump(readFileSync(dump, "utf8"), recording, "11:00.0");
    const result = compare(atsLifecycle, { backends: backends.slice(0, 1), devices: [device] });
    expect(result.columns[0]?.atsRequired).toBe(true);
    const column = result.columns[0]?.id ?? "";
    expect(cellAt(result, "boot-identity", column).ats.enabled).toBe(true);
    expect(cellAt(result, "blocked", column).ats.enabled).toBe(false);
  });

  it("13:00.0 has PASID and PRI and is plain: SMMUv3 turns ATS on with the first PASID", () => {
    const device = deviceFromDump(readFileSync(dump, "utf8"), recording, "13:00.0");
    const result = compare(atsLifecycle, { backends: backends.slice(0, 1), devices: [device] });
    const column = result.columns[0]?.id ?? "";
    expect(result.columns[0]?.atsRequired).toBe(false);
    const states = ["boot-identity", "pasid-first", "pasid-last"].map(
      (step) => cellAt(result, step, column).ats.enabled,
    );
    expect(states).toEqual([false, true, false]);
  });

  it.skipIf(dataFolder === undefined)(
    "a vendor's own DVSEC and no Page Aligned Request: not required, no ATS on VT-d",
    () => {
      const name = "pciutils-cap-dvsec-cxl-cache-2020.txt";
      const text = readFileSync(path.join(dataFolder ?? "", "config-space", name), "utf8");
      const device = deviceFromDump(text, name);
      const result = compare(atsLifecycle, { backends, devices: [device] });
      expect(result.columns.map(({ atsRequired }) => atsRequired)).toEqual(backends.map(() => false));
      for (const column of result.columns.filter(({ backend }) => backend.startsWith("intel-vtd"))) {
        const enabled = result.cells.filter((cell) => cell.column === column.id && cell.ats.enabled);
        expect(enabled).toEqual([]);
        expect(column.notes.join("\n")).toContain("Page Aligned Request");
      }
    },
  );
});
