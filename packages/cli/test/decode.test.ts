import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runCommand } from "../src/cli.ts";

const folder = mkdtempSync(path.join(tmpdir(), "iommu-lab-decode-"));
let out = "";
let err = "";

beforeEach(() => {
  out = "";
  err = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const bypass = ["0x9", "0x0", "0x0", "0x0", "0x0", "0x0", "0x0", "0x0"];

describe("decode and encode", () => {
  it("shows what is not 0, what the hardware would do, and all fields when asked", () => {
    expect(runCommand(["decode", "ste", ...bypass])).toBe(0);
    expect(out).toMatch(/^v +1\nconfig +4\n\(\d+ fields are 0; --all shows them\)\n\nV=1 Config=bypass\.\n/);
    out = "";
    expect(runCommand(["decode", "ste", "--all", ...bypass])).toBe(0);
    expect(out).toMatch(/\ns2Vmid +0\n/);
  });

  it("takes back the document that it printed", () => {
    const file = path.join(folder, "ste.json");
    expect(runCommand(["decode", "ste", "-f", "json", "-o", file, ...bypass])).toBe(0);
    expect(runCommand(["encode", "ste", `@${file}`])).toBe(0);
    expect(out.trim().split(" ").slice(0, 9)).toEqual(["09", "00", "00", "00", "00", "00", "00", "00", "00"]);
    expect(out.trim().split(" ")).toHaveLength(64);
  });

  it("prints one JSON document of the schema", () => {
    expect(runCommand(["decode", "ats-cap", "0f 00 01 00 10 00 00 80", "--format", "json"])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ schema: "iommu-lab/layout@1", kind: "ats-cap", bytes: "0f00010010000080" });
  });

  it.each([
    [["decode", "stee", "00"], 'unknown layout "stee"'],
    [["decode", "ste", "0x9"], "8 bytes given, expected 64"],
    [["decode", "ste", "zz"], 'character 1 is "z"'],
    [["decode", "ste", "@/no/such/file"], "no such file"],
    [["decode", "dmar", "00 01 02"], "no ACPI table"],
    [["encode", "ste", "{"], "no JSON"],
    [["encode", "ste", "[]"], "expected an object of fields"],
    [["encode", "ste", '{"colour": 1}'], 'no field "colour"'],
    [["encode", "ste", '{"config": 99}'], "config"],
  ])("%j is bad input, told in words", (words, message) => {
    expect(runCommand(words)).toBe(2);
    expect(err).toContain(message);
    expect(out).toBe("");
  });

  it("a table of firmware comes from a file", () => {
    const file = path.join(folder, "cedt.bin");
    writeFileSync(
      file,
      Uint8Array.from([0x43, 0x45, 0x44, 0x54, 36, 0, 0, 0, 1, 0, ...Array.from({ length: 26 }, () => 0)]),
    );
    expect(runCommand(["decode", "cedt", `@${file}`])).toBe(0);
    expect(out).toContain("header.revision");
  });
});
