// Packs every package that is published and lets publint and attw judge the tarballs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const out = mkdtempSync(path.join(tmpdir(), "iommu-lab-pack-"));
let failed = 0;

function run(command, args, cwd) {
  try {
    execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe" });
    return "";
  } catch (error) {
    return `${error.stdout ?? ""}${error.stderr ?? ""}`.trim() || String(error);
  }
}

try {
  for (const folder of readdirSync(path.join(root, "packages")).toSorted()) {
    const cwd = path.join(root, "packages", folder);
    const manifest = JSON.parse(readFileSync(path.join(cwd, "package.json"), "utf8"));
    if (manifest.private === true) {
      continue;
    }
    const tarball = path.join(out, `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`);
    const findings = [
      run("pnpm", ["pack", "--pack-destination", out], cwd),
      run(path.join(root, "node_modules/.bin/publint"), ["run", tarball, "--strict"], cwd),
      run(path.join(root, "node_modules/.bin/attw"), [tarball, "--profile", "esm-only"], cwd),
    ].filter((text) => text !== "");
    console.log(`${findings.length === 0 ? "ok  " : "FAIL"} ${manifest.name}`);
    if (findings.length > 0) {
      failed += 1;
      console.log(findings.join("\n"));
    }
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);
