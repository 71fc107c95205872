import { readFileSync } from "node:fs";
import path from "node:path";
import * as amdVi from "@iommu-lab/amd-vi";
import * as armSmmuv3 from "@iommu-lab/arm-smmuv3";
import * as bench from "@iommu-lab/bench";
import * as core from "@iommu-lab/core";
import * as cxl from "@iommu-lab/cxl";
import * as intelVtd from "@iommu-lab/intel-vtd";
import * as matrix from "@iommu-lab/matrix";
import * as pci from "@iommu-lab/pci";
import * as scenario from "@iommu-lab/scenario";
import * as truth from "@iommu-lab/truth";
import * as cli from "iommu-lab";
import { describe, expect, it } from "vitest";
import { faceOf, publicFaces } from "../tools/public-face.mjs";

const golden: unknown = JSON.parse(readFileSync(path.join(import.meta.dirname, "public-face.json"), "utf8"));
const faces = publicFaces();

/** What a program really gets that imports the package by its name. */
const imported: Readonly<Record<string, object>> = {
  core,
  pci,
  cxl,
  "arm-smmuv3": armSmmuv3,
  "intel-vtd": intelVtd,
  "amd-vi": amdVi,
  scenario,
  matrix,
  truth,
  bench,
  cli,
};

describe("the public face", () => {
  it("has the same packages as the list", () => {
    expect(Object.keys(faces).toSorted()).toEqual(Object.keys(golden as object).toSorted());
    expect(Object.keys(faces).toSorted()).toEqual(Object.keys(imported).toSorted());
  });

  // After a wanted change: pnpm public-face
  it.each(Object.keys(faces))("%s exports exactly the listed names", (name) => {
    const { values, types } = faces[name] ?? faceOf("");
    expect({ values, types }).toEqual((golden as Readonly<Record<string, unknown>>)[name]);
  });

  it.each(Object.keys(faces))("%s: the index is a list and nothing else", (name) => {
    expect(faces[name]?.rest).toBe("");
  });

  it.each(Object.keys(faces))("%s: every listed value is there at run time", (name) => {
    expect(Object.keys(imported[name] ?? {}).toSorted()).toEqual([...(faces[name]?.values ?? [])].toSorted());
  });

  it("is read from lists of every form", () => {
    const text = `/** export { no } from "x"; */
export { b, type A } from "./a.ts"; // export { no } from "x";
export type { C } from "./c.ts";
export { d as e } from "./d.ts";
export const f = 1;`;
    expect(faceOf(text)).toEqual({ values: ["b", "e"], types: ["A", "C"], rest: "export const f = 1;" });
  });
});
