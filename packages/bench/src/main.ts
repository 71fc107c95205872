import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { type Timing, measure } from "./measure.ts";
import { suites } from "./suites.ts";

/** Room for everything that a round may allocate, so that no collection hides it. */
const NODE_OPTIONS = ["--max-semi-space-size=128", "--min-semi-space-size=64"];

/** One bench in a process of its own: shapes learned in one must not slow the next. */
function timed(name: string): Timing {
  const self = fileURLToPath(import.meta.url);
  const child = spawnSync(process.execPath, [...NODE_OPTIONS, self, "--only", name], { encoding: "utf8" });
  if (child.status !== 0) {
    throw new Error(`${name}: ${child.stderr}`);
  }
  return JSON.parse(child.stdout) as Timing;
}

function line(name: string, { ns, ratio, baselineNs, bytes, title, baselineTitle }: Timing): string {
  const cells = [
    name.padEnd(34),
    `${ns.toFixed(1)} ns`.padStart(12),
    `${ratio.toFixed(2)}x`.padStart(8),
    `${baselineNs.toFixed(1)} ns`.padStart(12),
    `${bytes.toFixed(1)} B`.padStart(10),
  ];
  return `${cells.join("")}   ${title} / ${baselineTitle}\n`;
}

function run(filters: readonly string[], flags: { readonly only?: string; readonly json?: boolean }): void {
  if (flags.only !== undefined) {
    const make = suites[flags.only];
    if (make === undefined) {
      throw new Error(`no bench ${flags.only}: expected one of ${Object.keys(suites).join(", ")}`);
    }
    process.stdout.write(JSON.stringify(measure(make())));
    return;
  }
  const names = Object.keys(suites).filter((name) => filters.length === 0 || filters.some((one) => name.includes(one)));
  if (names.length === 0) {
    process.stderr.write(`nothing matches ${filters.join(" ")}: expected part of ${Object.keys(suites).join(", ")}\n`);
    process.exitCode = 2;
    return;
  }
  if (flags.json !== true) {
    process.stdout.write(
      `${"bench".padEnd(34)}${"per op".padStart(12)}${"ratio".padStart(8)}${"baseline".padStart(12)}${"allocated".padStart(10)}\n`,
    );
  }
  const results: Record<string, Timing> = {};
  for (const name of names) {
    results[name] = timed(name);
    if (flags.json !== true) {
      process.stdout.write(line(name, results[name]));
    }
  }
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
  }
}

new Command("iommu-lab-bench")
  .description("times the hot paths, each beside a baseline measured in the same run")
  .argument("[names...]", "parts of bench names; none = all")
  .option("--only <name>", "one bench in this process, as JSON")
  .option("--json", "machine-readable")
  .action(run)
  .parse();
