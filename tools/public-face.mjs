// Writes test/public-face.json: the names that each package exports.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const lists = /export (type )?\{([^}]*)\} from "[^"]+";/g;

/** The exports of an index file, by kind, and whatever it has besides export lists and comments. */
export function faceOf(text) {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  const entries = [...code.matchAll(lists)].flatMap(([, allTypes, list]) =>
    list
      .split(",")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "")
      .map((entry) => ({
        type: allTypes !== undefined || entry.startsWith("type "),
        name: entry.split(/\s+/).at(-1),
      })),
  );
  const named = (type) =>
    entries
      .filter((entry) => entry.type === type)
      .map((entry) => entry.name)
      .toSorted((a, b) => (a < b ? -1 : 1));
  return { values: named(false), types: named(true), rest: code.replaceAll(lists, "").trim() };
}

/** Package folder → its face. */
export function publicFaces() {
  const folders = readdirSync(path.join(root, "packages")).toSorted();
  return Object.fromEntries(
    folders.map((folder) => [
      folder,
      faceOf(readFileSync(path.join(root, "packages", folder, "src/index.ts"), "utf8")),
    ]),
  );
}

if (process.argv[1] === import.meta.filename) {
  const faces = Object.entries(publicFaces()).map(([folder, { values, types }]) => [folder, { values, types }]);
  writeFileSync(
    path.join(root, "test/public-face.json"),
    `${JSON.stringify(Object.fromEntries(faces), undefined, 2)}\n`,
  );
}
