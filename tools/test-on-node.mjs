// Runs the tests on other versions of Node: `node tools/test-on-node.mjs 22 24`. The npm package `node` brings each version
// into a temporary folder; this machine's own stays as it is. Needs an installed workspace.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const versions = process.argv.slice(2);
const vitest = path.join(root, "node_modules/vitest/vitest.mjs");
const scratch = mkdtempSync(path.join(tmpdir(), "iommu-lab-node-"));
const failed = [];

try {
  for (const version of versions) {
    const folder = path.join(scratch, version);
    // The platform's own package holds the program; `node` alone would fetch it in an install script.
    const name = `node-${process.platform}-${process.arch}@${version}`;
    execFileSync("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder, name], {
      cwd: scratch,
    });
    const node = path.join(folder, "node_modules", `node-${process.platform}-${process.arch}`, "bin/node");
    if (!existsSync(node)) {
      throw new Error(`${name} has no bin/node`);
    }
    console.log(`\n== Node ${execFileSync(node, ["--version"], { encoding: "utf8" }).trim()}`);
    const { status } = spawnSync(node, [vitest, "run", "--project", "node"], { cwd: root, stdio: "inherit" });
    if (status !== 0) {
      failed.push(version);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(failed.length === 0 ? `\n${versions.length} versions passed` : `\nfailed on Node ${failed.join(", ")}`);
process.exitCode = versions.length > 0 && failed.length === 0 ? 0 : 1;
