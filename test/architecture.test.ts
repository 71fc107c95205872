import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type SourceFile, breaches, folderOf, mayImport, testBreaches } from "./architecture.ts";

const root = path.resolve(import.meta.dirname, "..");
const packages = Object.keys(mayImport);

/** Every TypeScript file in one folder of each package. */
function filesIn(part: "src" | "test"): SourceFile[] {
  return packages.flatMap((name) => {
    const folder = path.join(root, "packages", name, part);
    if (!existsSync(folder)) {
      return [];
    }
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({
        path: `packages/${name}/${part}/${file.split(path.sep).join("/")}`,
        text: readFileSync(path.join(folder, file), "utf8"),
      }));
  });
}

function readJson(name: string, file: string): unknown {
  return JSON.parse(readFileSync(path.join(root, "packages", name, file), "utf8"));
}

/** The workspace packages that a manifest declares, by folder. */
function declaredBy(name: string): string[] {
  const manifest = readJson(name, "package.json") as Readonly<Record<string, Readonly<Record<string, string>>>>;
  return ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"]
    .flatMap((field) => Object.keys(manifest[field] ?? {}))
    .map((one) => folderOf(one))
    .filter((one) => one !== undefined)
    .toSorted();
}

describe("the dependency rule", () => {
  it("knows every package", () => {
    expect(readdirSync(path.join(root, "packages")).toSorted()).toEqual(packages.toSorted());
  });

  it("has no arrow that points up: a package imports only what stands above it in the table", () => {
    for (const [index, name] of packages.entries()) {
      expect(packages.slice(0, index)).toEqual(expect.arrayContaining([...(mayImport[name] ?? [])]));
    }
  });

  it("holds in every source file", () => {
    const files = filesIn("src");
    expect(files.length).toBeGreaterThan(100);
    expect(breaches(files)).toEqual([]);
  });

  it("holds in tests: no path into another package", () => {
    const files = filesIn("test");
    expect(files.length).toBeGreaterThan(50);
    expect(testBreaches(files)).toEqual([]);
  });

  it.each(packages)("%s declares no package that it must not import", (name) => {
    expect(declaredBy(name).filter((one) => !(mayImport[name] ?? []).includes(one))).toEqual([]);
  });

  it.each(packages)("%s is built after the packages that it declares, and no other", (name) => {
    const { references } = readJson(name, "tsconfig.json") as { readonly references: readonly { path: string }[] };
    expect(references.map((one) => path.basename(one.path)).toSorted()).toEqual(declaredBy(name));
  });
});

describe("the dependency rule bites", () => {
  it.each([
    ["packages/core/src/iommu/x.ts", 'import { pci } from "@iommu-lab/pci";', "core must not import pci"],
    ["packages/core/src/x.ts", 'const lazy = await import("@iommu-lab/cxl");', "core must not import cxl"],
    ["packages/core/src/x.ts", 'import "@iommu-lab/cxl";', "core must not import cxl"],
    ["packages/core/src/x.ts", 'import {\n  type A,\n  b,\n} from "@iommu-lab/pci";', "core must not import pci"],
    ["packages/cxl/src/x.ts", 'export * from "@iommu-lab/scenario";', "cxl must not import scenario"],
    ["packages/amd-vi/src/driver/x.ts", 'import type { A } from "@iommu-lab/intel-vtd";', "amd-vi must not import"],
    ["packages/scenario/src/x.ts", 'export { smmuv3 } from "@iommu-lab/arm-smmuv3";', "scenario must not import"],
    ["packages/matrix/src/x.ts", 'import { backends } from "iommu-lab";', "matrix must not import cli"],
    ["packages/truth/src/x.ts", 'import { backends } from "iommu-lab";', "truth must not import cli"],
    ["packages/pci/src/x.ts", 'import { a } from "@iommu-lab/core/dist/a.js";', "goes past the public face of core"],
    ["packages/pci/src/x.ts", 'import { a } from "../../core/src/a.ts";', "leaves the package"],
    ["packages/pci/src/x.ts", 'import { a } from "../test/a.ts";', "leaves the package"],
    ["packages/amd-vi/src/driver/x.ts", 'import { U } from "../hardware/u.ts";', "driver/ must not reach hardware/"],
    [
      "packages/amd-vi/src/hardware/a/x.ts",
      'import { D } from "../../driver/d.ts";',
      "hardware/ must not reach driver/",
    ],
    ["packages/amd-vi/src/layout/x.ts", 'import { D } from "../driver/d.ts";', "layout/ must not reach driver/"],
    ["packages/pci/src/endpoint/x.ts", 'import { P } from "../linux/pci-dev.ts";', "endpoint/ must not reach linux/"],
    ["packages/core/src/sim/x.ts", 'import { G } from "../iommu/group.ts";', "sim/ must not reach iommu/"],
    ["packages/pci/src/x.ts", 'import { readFileSync } from "node:fs";', "node:fs in a package"],
    ["packages/pci/src/x.ts", 'import { readFileSync } from "fs";', "fs in a package"],
    ["packages/core/src/x.ts", "const now = Date.now();", "wall clock"],
    ["packages/core/src/x.ts", "const dice = Math.random();", "chance"],
    ["packages/core/src/x.ts", "setTimeout(run, 1);", "wall clock"],
    ["packages/matrix/src/x.ts", "console.log(1);", "console"],
    ["packages/cli/src/x.ts", "// TODO more", "unfinished"],
  ])("%s: %s", (file, text, message) => {
    expect(breaches([{ path: file, text }]).join("\n")).toContain(message);
  });

  it("on a way round by a third file", () => {
    const files = [
      { path: "packages/amd-vi/src/driver/x.ts", text: 'import { b } from "../bridge.ts";' },
      { path: "packages/amd-vi/src/bridge.ts", text: 'export { b } from "./hardware/b.ts";' },
      { path: "packages/amd-vi/src/hardware/b.ts", text: "export const b = 1;" },
    ];
    expect(breaches(files)).toEqual(["packages/amd-vi/src/driver/x.ts: driver/ must not reach hardware/ (b.ts)"]);
  });

  it("on a test that goes into another package", () => {
    const text =
      'import { a } from "../../core/src/a.ts";\nimport { b } from "../src/b.ts";\nimport { dataFolder } from "../../../test/data-folder.ts";';
    expect(testBreaches([{ path: "packages/pci/test/x.test.ts", text }])).toEqual([
      "packages/pci/test/x.test.ts: packages/core/src/a.ts is in another package; import that by its name",
    ]);
  });

  it("and lets pass what the table allows", () => {
    const files = [
      {
        path: "packages/arm-smmuv3/src/driver/x.ts",
        text: 'import { Trace } from "@iommu-lab/core";\nimport { ste } from "../layout/ste.ts";',
      },
      { path: "packages/arm-smmuv3/src/layout/ste.ts", text: 'import { words } from "./words.ts";' },
      { path: "packages/arm-smmuv3/src/plugin.ts", text: 'import "./driver/x.ts";\nimport "./hardware/y.ts";' },
      { path: "packages/cli/src/x.ts", text: 'import process from "node:process";\nconsole.log(Date.now());' },
    ];
    expect(breaches(files)).toEqual([]);
  });
});
