import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type SourceFile, breaches, mayImport } from "./architecture.ts";

const root = path.resolve(import.meta.dirname, "..");

function sources(): SourceFile[] {
  return Object.keys(mayImport).flatMap((name) => {
    const folder = path.join(root, "packages", name, "src");
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({
        path: `packages/${name}/src/${file.split(path.sep).join("/")}`,
        text: readFileSync(path.join(folder, file), "utf8"),
      }));
  });
}

describe("the dependency rule", () => {
  it("knows every package", () => {
    expect(readdirSync(path.join(root, "packages")).toSorted()).toEqual(Object.keys(mayImport).toSorted());
  });

  it("holds in every source file", () => {
    expect(breaches(sources())).toEqual([]);
  });

  it.each(Object.keys(mayImport))("%s declares no package that it must not import", (name) => {
    const manifest = JSON.parse(readFileSync(path.join(root, "packages", name, "package.json"), "utf8")) as {
      readonly dependencies?: Readonly<Record<string, string>>;
    };
    const declared = Object.keys(manifest.dependencies ?? {})
      .filter((one) => one.startsWith("@iommu-lab/"))
      .map((one) => one.slice("@iommu-lab/".length));
    expect(declared.filter((one) => !(mayImport[name] ?? []).includes(one))).toEqual([]);
  });

  it.each([
    ["packages/core/src/iommu/x.ts", 'import { pci } from "@iommu-lab/pci";', "core must not import pci"],
    [
      "packages/amd-vi/src/driver/x.ts",
      'import type { A } from "@iommu-lab/intel-vtd";',
      "amd-vi must not import intel-vtd",
    ],
    [
      "packages/scenario/src/x.ts",
      'export { smmuv3 } from "@iommu-lab/arm-smmuv3";',
      "scenario must not import arm-smmuv3",
    ],
    [
      "packages/arm-smmuv3/src/driver/x.ts",
      'import { Unit } from "../hardware/unit.ts";',
      "driver/ must not import hardware/",
    ],
    [
      "packages/arm-smmuv3/src/hardware/a/x.ts",
      'import { D } from "../../driver/d.ts";',
      "hardware/ must not import driver/",
    ],
    ["packages/pci/src/endpoint/x.ts", 'import { P } from "../linux/pci-dev.ts";', "endpoint/ must not import linux/"],
    ["packages/core/src/sim/x.ts", 'import { G } from "../iommu/group.ts";', "sim/ must not import iommu/"],
    ["packages/pci/src/x.ts", 'import { readFileSync } from "node:fs";', "node:fs in a package"],
    ["packages/core/src/x.ts", 'const lazy = await import("@iommu-lab/cxl");', "core must not import cxl"],
    ["packages/core/src/x.ts", "const now = Date.now();", "wall clock"],
  ])("fails on a forbidden import: %s %s", (file, text, message) => {
    expect(breaches([{ path: file, text }]).join("\n")).toContain(message);
  });

  it("allows what the table allows", () => {
    const text = 'import { Trace } from "@iommu-lab/core";\nimport { x } from "../layout/ste.ts";';
    expect(breaches([{ path: "packages/arm-smmuv3/src/driver/x.ts", text }])).toEqual([]);
  });
});
