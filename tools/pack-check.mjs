// Packs every package that is published, and lets publint and attw judge the tarballs. Needs the build, and pnpm on the
// path: `pnpm pack:check` has both.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const bin = path.join(root, "node_modules/.bin");
const out = mkdtempSync(path.join(tmpdir(), "iommu-lab-pack-"));

/** What a command printed; it throws an Error with that text when the command failed. */
function run(command, args, cwd = root) {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    throw new Error(`${error.stdout ?? ""}${error.stderr ?? ""}`.trim() || String(error), { cause: error });
  }
}

/** What is wrong with a packed package, one text per finding. */
function findings(folder, name) {
  let packed;
  try {
    packed = JSON.parse(run("pnpm", ["pack", "--json", "--pack-destination", out], folder));
  } catch (error) {
    return [error.message];
  }
  const tarball = packed.filename;
  const files = new Set(packed.files.map((file) => file.path));
  const found = ["LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "src/index.ts"]
    .filter((file) => !files.has(file))
    .map((file) => `${file} is missing`);
  const checks = [
    { command: "publint", args: ["run", tarball, "--strict"] },
    { command: "attw", args: [tarball, "--profile", "esm-only"] },
  ];
  for (const { command, args } of checks) {
    try {
      run(path.join(bin, command), args);
    } catch (error) {
      found.push(`${command} on ${name}:\n${error.message}`);
    }
  }
  return found;
}

let checked = 0;
let failed = 0;
try {
  for (const entry of readdirSync(path.join(root, "packages")).toSorted()) {
    const folder = path.join(root, "packages", entry);
    const { name, private: kept } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
    if (kept === true) {
      continue;
    }
    checked += 1;
    const found = findings(folder, name);
    console.log([`${found.length === 0 ? "ok  " : "FAIL"} ${name}`, ...found].join("\n"));
    failed += found.length === 0 ? 0 : 1;
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
console.log(`${checked} packages checked, ${failed} with findings`);
process.exitCode = checked > 0 && failed === 0 ? 0 : 1;
