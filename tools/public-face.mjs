// Writes test/public-face.json: the names that each package exports.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");

/** The names in the export lists of an index file. */
export function exportedNames(text) {
  const lists = [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].map(([, list]) => list ?? "");
  return lists
    .flatMap((list) => list.split(","))
    .map(
      (entry) =>
        entry
          .replace(/\btype\b/, "")
          .split(/\bas\b/)
          .at(-1)
          ?.trim() ?? "",
    )
    .filter((name) => name !== "")
    .toSorted((a, b) => (a < b ? -1 : 1));
}

/** Package folder → exported names. */
export function publicFaces() {
  const faces = {};
  for (const folder of readdirSync(path.join(root, "packages")).toSorted()) {
    faces[folder] = exportedNames(readFileSync(path.join(root, "packages", folder, "src/index.ts"), "utf8"));
  }
  return faces;
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(path.join(root, "test/public-face.json"), `${JSON.stringify(publicFaces(), undefined, 2)}\n`);
}
