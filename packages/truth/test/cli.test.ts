import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TruthReport } from "@iommu-lab/truth";
import { runCommand } from "@iommu-lab/truth";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { directory, read } from "./support/recordings.ts";

let here: string;

beforeEach(() => {
  here = mkdtempSync(path.join(tmpdir(), "truth-"));
});

afterEach(() => {
  rmSync(here, { recursive: true });
});

/** Runs the command. */
function run(...argv: string[]): { readonly code: number; readonly out: string; readonly err: string } {
  let out = "";
  let err = "";
  const code = runCommand(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    color: false,
  });
  return { code, out, err };
}

function take(name: string, change: (text: string) => string = (text) => text): void {
  writeFileSync(path.join(here, `${name}.json`), change(read(`${name}.json`)));
  copyFileSync(path.join(directory, `${name}.lspci-xxxx.txt`), path.join(here, `${name}.lspci-xxxx.txt`));
}

describe("iommu-lab-truth", () => {
  it("agrees with a recording: exit code 0", () => {
    take("vtd-sm-fsts-7.2");
    const { code, out, err } = run(here);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toContain("agree      type-unbound:vnet_ats:identity");
    expect(out).toMatch(/^\d+ agree, 0 explained, 0 differ, \d+ not yet$/mu);
  });

  it("prints what differs and where: exit code 1", () => {
    take("vtd-sm-fsts-7.2", (text) => text.replaceAll('"0x0000000000000109"', '"0x000000000000010b"'));
    const { code, out } = run(here);
    expect(code).toBe(1);
    expect(out).toMatch(
      /differ {5}type-unbound:vnet_ats:identity\n.*vnet_ats 0000:01:00\.0: table pasid0\[0\]\n.*recorded 0x000000000000010b\n.*model {4}0x0000000000000109/u,
    );
  });

  it("prints JSON of a named schema", () => {
    take("vtd-legacy-dt-7.2");
    const { code, out } = run(here, "--format", "json");
    const report = JSON.parse(out) as TruthReport;
    expect(code).toBe(0);
    expect(report.schema).toBe("iommu-lab/truth@1");
    expect(report.files[0]?.phases[0]).toMatchObject({ index: 0, name: "boot", verdict: "agree" });
    expect(report.totals.agree).toBeGreaterThan(20);
  });

  it("lists what it cannot replay, with the reason", () => {
    writeFileSync(path.join(here, "qtest-x.json"), '{"schema": "iommu-oracle-qtest/1", "vectors": []}');
    writeFileSync(path.join(here, "other.json"), '{"schema": "other/3"}');
    writeFileSync(path.join(here, "none.json"), "[]");
    take("vtd-legacy-dt-7.2", (text) => text.replaceAll("7.2.13", "5.10.1"));
    const { code, out } = run(here);
    expect(code).toBe(0);
    expect(out).toContain("not yet    table vectors are not replayed by this version");
    expect(out).toContain("not yet    schema other/3 is not read by this version");
    expect(out).toContain("not yet    not a recording: it names no schema");
    expect(out).toContain("not yet    kernel 5.10 is not modelled by this version");
    expect(out).toContain("0 agree, 0 explained, 0 differ, 4 not yet");
  });

  it("a damaged file is bad input, and the others still run: exit code 2", () => {
    writeFileSync(path.join(here, "a.json"), '{"schema": "iommu-oracle/1", "phases": [');
    take("vtd-sm-fsts-7.2");
    const { code, out } = run(here);
    expect(code).toBe(2);
    expect(out).toContain("error      a.json: not a JSON document");
    expect(out).toContain("agree      boot");
  });

  it("says which dump is missing", () => {
    take("vtd-sm-fsts-7.2");
    rmSync(path.join(here, "vtd-sm-fsts-7.2.lspci-xxxx.txt"));
    const { code, out } = run(here);
    expect(code).toBe(2);
    expect(out).toContain("needs vtd-sm-fsts-7.2.lspci-xxxx.txt beside it");
  });

  it("refuses a directory without recordings", () => {
    expect(run(here)).toMatchObject({ code: 2, out: "" });
    expect(run(here).err).toContain("no recordings here");
    expect(run(path.join(here, "nowhere")).err).toContain("no such directory");
  });

  it("has help with examples, and refuses unknown options", () => {
    const help = run("--help");
    expect(help.code).toBe(0);
    expect(help.out).toContain("Examples:");
    expect(help.out).toContain("default: the recordings of this package");
    expect(run("--format", "xml").code).toBe(2);
    expect(run("--nonsense").code).toBe(2);
  });
});
