import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";

const root = path.resolve(import.meta.dirname, "..");
const golden = JSON.parse(readFileSync(path.join(import.meta.dirname, "public-face.json"), "utf8")) as Readonly<
  Record<string, readonly string[]>
>;

/** The names in the export lists of an index file, and whether it has anything but lists. */
function face(name: string): { readonly names: readonly string[]; readonly rest: string } {
  const text = readFileSync(path.join(root, "packages", name, "src/index.ts"), "utf8");
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  const lists = /export (?:type )?\{([^}]*)\} from "[^"]+";/g;
  const names = [...code.matchAll(lists)]
    .flatMap(([, list]) => (list ?? "").split(","))
    .map((entry) => entry.replace(/\btype\b/, "").trim())
    .filter((one) => one !== "");
  return { names: names.toSorted((a, b) => (a < b ? -1 : 1)), rest: code.replace(lists, "").trim() };
}

describe("the public face", () => {
  it.each(readdirSync(path.join(root, "packages")))(
    "%s exports exactly the listed names, and its index is a list",
    (name) => {
      const { names, rest } = face(name);
      expect(names).toEqual(golden[name]);
      expect(rest).toBe("");
    },
  );
});
