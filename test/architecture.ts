import { isBuiltin } from "node:module";
import path from "node:path";

/** Which packages a package may import, by folder. The arrows point down only. */
export const mayImport: Readonly<Record<string, readonly string[]>> = {
  core: [],
  pci: ["core"],
  cxl: ["core", "pci"],
  "arm-smmuv3": ["core", "pci", "cxl"],
  "intel-vtd": ["core", "pci", "cxl"],
  "amd-vi": ["core", "pci", "cxl"],
  scenario: ["core", "pci", "cxl"],
  matrix: ["core", "pci", "cxl", "scenario"],
  truth: ["core", "pci", "cxl", "scenario", "matrix", "arm-smmuv3", "intel-vtd", "amd-vi"],
  bench: ["core", "pci", "cxl", "scenario", "matrix", "arm-smmuv3", "intel-vtd", "amd-vi"],
  cli: ["core", "pci", "cxl", "scenario", "matrix", "arm-smmuv3", "intel-vtd", "amd-vi"],
};

/** Folders of one package that must not reach another one of it, directly or by way of a third file. */
const apart: readonly (readonly [owner: string, from: string, to: string])[] = [
  ["core", "sim", "iommu"],
  ["core", "page-table", "iommu"],
  ...["config-space", "fabric", "endpoint", "topology", "import", "reset"].map(
    (folder) => ["pci", folder, "linux"] as const,
  ),
  ...["arm-smmuv3", "intel-vtd", "amd-vi"].flatMap((vendor) => [
    [vendor, "driver", "hardware"] as const,
    [vendor, "hardware", "driver"] as const,
    [vendor, "layout", "hardware"] as const,
    [vendor, "layout", "driver"] as const,
    [vendor, "firmware", "driver"] as const,
    [vendor, "firmware", "hardware"] as const,
    [vendor, "hardware", "firmware"] as const,
  ]),
];

/** Packages that may use Node, the clock and the console. */
const outside: ReadonlySet<string> = new Set(["cli", "truth", "bench"]);
const world = /\b(?:Date\.now|new Date|Math\.random|performance\.now|setTimeout|setInterval|console\.)/;
const unfinished = /\b(?:TODO|FIXME|XXX)\b/;

/** A source file: its path from the repository's root, with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The folder of a workspace package, from the name that it is published under; undefined for all else. */
export function folderOf(name: string): string | undefined {
  if (name === "iommu-lab") {
    return "cli";
  }
  return name.startsWith("@iommu-lab/") ? name.slice("@iommu-lab/".length).split("/")[0] : undefined;
}

/** What a file imports or exports from, in whatever way. */
function specifiersOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["'`]([^"'`]+)["'`]/g)].map(([, specifier]) => specifier ?? "");
}

function packageOf(file: string): string {
  return file.split("/")[1] ?? "";
}

/** The folder directly below `src` in which a file lies; "" at the top. */
function partOf(file: string): string {
  const [, , , part = "", ...rest] = file.split("/");
  return rest.length === 0 ? "" : part;
}

/** The files that a file imports by a relative path. */
function neighboursOf(file: SourceFile): string[] {
  return specifiersOf(file.text)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => path.posix.join(path.posix.dirname(file.path), specifier));
}

/** Every breach of the rules in these files, one line each. */
export function breaches(files: readonly SourceFile[]): string[] {
  const neighbours = new Map(files.map((file) => [file.path, neighboursOf(file)]));
  return files.flatMap((file) => [...importBreaches(file), ...wordBreaches(file), ...apartBreaches(file, neighbours)]);
}

function importBreaches(file: SourceFile): string[] {
  const owner = packageOf(file.path);
  return specifiersOf(file.text).flatMap((specifier) => {
    const target = folderOf(specifier);
    if (target !== undefined && !(mayImport[owner] ?? []).includes(target)) {
      return [`${file.path}: ${owner} must not import ${target}`];
    }
    if (target !== undefined && specifier.split("/").length > (specifier.startsWith("@") ? 2 : 1)) {
      return [`${file.path}: ${specifier} goes past the public face of ${target}`];
    }
    if (specifier.startsWith(".") && !inOwnSources(file.path, specifier)) {
      return [`${file.path}: ${specifier} leaves the package; import another one by its name`];
    }
    return isBuiltin(specifier) && !outside.has(owner)
      ? [`${file.path}: ${specifier} in a package that runs in a browser`]
      : [];
  });
}

/** Tests may import every package by its name; by path, hidden files of their own one and what all tests share. */
export function testBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    neighboursOf(file)
      .filter((target) => !target.startsWith(`packages/${packageOf(file.path)}/`) && !target.startsWith("test/"))
      .map((target) => `${file.path}: ${target} is in another package; import that by its name`),
  );
}

function inOwnSources(file: string, specifier: string): boolean {
  const target = path.posix.join(path.posix.dirname(file), specifier);
  return target.startsWith(`packages/${packageOf(file)}/src/`);
}

function wordBreaches(file: SourceFile): string[] {
  const found: string[] = [];
  if (!outside.has(packageOf(file.path)) && world.test(file.text)) {
    found.push(`${file.path}: wall clock, chance or console in a package that runs everywhere`);
  }
  if (unfinished.test(file.text)) {
    found.push(`${file.path}: unfinished`);
  }
  return found;
}

function apartBreaches(file: SourceFile, neighbours: ReadonlyMap<string, readonly string[]>): string[] {
  const rules = apart.filter(([owner, from]) => owner === packageOf(file.path) && from === partOf(file.path));
  if (rules.length === 0) {
    return [];
  }
  const reached = reachedFrom(file.path, neighbours);
  return rules.flatMap(([, from, to]) => {
    const hit = reached.find((one) => partOf(one) === to);
    return hit === undefined ? [] : [`${file.path}: ${from}/ must not reach ${to}/ (${path.posix.basename(hit)})`];
  });
}

/** Every file that an import leads to, step by step. */
function reachedFrom(start: string, neighbours: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const seen = new Set([start]);
  // A set grows while it is walked: what is added is visited too.
  for (const file of seen) {
    for (const next of neighbours.get(file) ?? []) {
      seen.add(next);
    }
  }
  return [...seen];
}
