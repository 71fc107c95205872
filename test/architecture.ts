/** Which packages a package may import. The arrows point down only. */
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
  cli: ["core", "pci", "cxl", "scenario", "matrix", "arm-smmuv3", "intel-vtd", "amd-vi"],
};

/** Folders of one package that must not import others of it: [package, folder, forbidden folder]. */
const apart: readonly (readonly [string, string, string])[] = [
  ["core", "sim", "iommu"],
  ["core", "page-table", "iommu"],
  ...["config-space", "fabric", "endpoint", "topology", "import"].map((folder) => ["pci", folder, "linux"] as const),
  ...["arm-smmuv3", "intel-vtd", "amd-vi"].flatMap((vendor) => [
    [vendor, "driver", "hardware"] as const,
    [vendor, "hardware", "driver"] as const,
    [vendor, "layout", "hardware"] as const,
    [vendor, "layout", "driver"] as const,
  ]),
];

/** Packages that may use Node and the outside world. */
const outside = new Set(["cli", "truth"]);
const forbiddenWords = /\b(Date\.now|new Date|Math\.random|performance\.now|setTimeout|setInterval|console\.)/;
const unfinished = /\b(TODO|FIXME|XXX)\b/;

/** A source file: its path from the repository's root, with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The name of a package's folder, from its published name. */
function folderOf(name: string): string | undefined {
  if (name === "iommu-lab") {
    return "cli";
  }
  return name.startsWith("@iommu-lab/") ? name.slice("@iommu-lab/".length).split("/")[0] : undefined;
}

function importsOf(text: string): string[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g);
  return [...found].map(([, specifier]) => specifier ?? "");
}

/** The folder below `src` that a relative import leads to. */
function targetFolder(path: string, specifier: string): string {
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") {
      parts.pop();
    } else if (part !== ".") {
      parts.push(part);
    }
  }
  return parts[3] ?? "";
}

/** Every breach of the rules in these files, one line each. */
export function breaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const [, name = "", , folder = ""] = file.path.split("/");
    const found = importsOf(file.text).flatMap((specifier) => breachOf(file.path, name, folder, specifier));
    if (!outside.has(name) && forbiddenWords.test(file.text)) {
      found.push(`${file.path}: wall clock, chance or console in a package that runs everywhere`);
    }
    if (unfinished.test(file.text)) {
      found.push(`${file.path}: unfinished`);
    }
    return found;
  });
}

function breachOf(path: string, name: string, folder: string, specifier: string): string[] {
  const target = folderOf(specifier);
  if (target !== undefined) {
    const allowed = mayImport[name] ?? [];
    return allowed.includes(target) ? [] : [`${path}: ${name} must not import ${target}`];
  }
  if (specifier.startsWith("node:")) {
    return outside.has(name) ? [] : [`${path}: ${specifier} in a package that runs in a browser`];
  }
  if (specifier.startsWith(".")) {
    const into = targetFolder(path, specifier);
    return apart
      .filter(([owner, from, to]) => owner === name && from === folder && to === into)
      .map(([, from, to]) => `${path}: ${from}/ must not import ${to}/`);
  }
  return [];
}
