import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** Why `lspci` cannot be asked, or undefined. */
export const missingLspci: string | undefined =
  spawnSync("lspci", ["--version"], { encoding: "utf8" }).status === 0
    ? undefined
    : "lspci is not installed (Debian package pciutils)";

/** Answers by dump and options: several tests ask the same. */
const answers = new Map<string, string>();

/** What `lspci -F` with these options prints about a dump. */
export function lspci(dump: string, ...options: readonly string[]): string {
  const question = `${options.join(" ")}\n${dump}`;
  const answer = answers.get(question) ?? ask(dump, options);
  answers.set(question, answer);
  return answer;
}

function ask(dump: string, options: readonly string[]): string {
  const folder = mkdtempSync(path.join(tmpdir(), "lspci-"));
  try {
    const file = path.join(folder, "dump.txt");
    writeFileSync(file, dump);
    const { status, stdout, stderr } = spawnSync("lspci", ["-F", file, ...options], {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    });
    if (status !== 0) {
      throw new Error(`lspci: ${stderr}`);
    }
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
