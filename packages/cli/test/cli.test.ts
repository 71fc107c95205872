import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runCommand } from "../src/cli.ts";

const dataFolder = process.env["IOMMU_LAB_DATA"] ?? path.resolve(import.meta.dirname, "../../../../shared/data");
const folder = mkdtempSync(path.join(tmpdir(), "iommu-lab-cli-"));
/** What is built: a pipe is a matter of the process. Absent in a clone that was not built yet. */
const built = path.resolve(import.meta.dirname, "../dist/main.js");
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

function file(name: string, text: string): string {
  const at = path.join(folder, name);
  writeFileSync(at, text);
  return at;
}

describe("compare", () => {
  it("prints one JSON document of the schema, with every field of a cell", () => {
    const target = path.join(folder, "result.json");
    const words = ["compare", "ats-lifecycle", "-b", "intel-vtd:scalable", "-d", "nic", "-f", "json", "-o", target];
    expect(runCommand(words)).toBe(0);
    const document = JSON.parse(readFileSync(target, "utf8")) as {
      readonly schema: string;
      readonly columns: readonly { readonly id: string }[];
      readonly cells: readonly { readonly step: string }[];
    };
    expect(document.schema).toBe("iommu-lab/comparison@1");
    expect(document.columns.map(({ id }) => id)).toEqual(["intel-vtd:scalable/linux-7.2/nic"]);
    expect(document.cells).toHaveLength(13);
    expect(document.cells.find(({ step }) => step === "blocked")).toMatchObject({
      status: "measured",
      domain: "BLOCKED",
      owner: "user",
      pasids: {},
      ats: { enabled: true, permitted: true, stu: 0 },
      pri: { enabled: true },
      pasid: { enabled: true },
      honest: {
        untranslated: { read: "fault", write: "fault" },
        translationRequest: { completion: "success", read: false, write: false },
        cxlCache: "not-sent",
      },
      hostile: { translated: { forged: "ok", stale: "ok" } },
      withPasid: {},
      atc: [],
      invalidations: { dropped: 0, timedOut: 0 },
      msi: "not-applicable",
      belief: { atsEnabled: true },
      basis: "recorded",
    });
    expect(out).toBe("");
  });

  it.each([
    ["intel-vtd:scalable", "vtd-track-pasids", "off on off on off on"],
    ["amd-vi", "amd-identity-ats-off", "off on off off off off"],
  ])("%s tries %s in the place of the shipped policy", (backend, policy, expected) => {
    const words = ["compare", "ats-lifecycle", "-b", backend, "-d", "nic", "--show", "ats", "-p", policy];
    expect(runCommand(words)).toBe(0);
    const rows = out.split("\n").map((line) => line.trim().split(/\s+/));
    const wanted = ["boot-identity", "pasid-first", "pasid-last", "dma", "blocked", "blocked-with-pasid"];
    expect(wanted.map((step) => rows.find(([first]) => first === step)?.[1]).join(" ")).toBe(expected);
  });

  it("--why tells each rule with its source", () => {
    expect(runCommand(["compare", "ats-lifecycle", "-b", "arm-smmuv3", "-d", "nic", "--why"])).toBe(0);
    expect(out).toContain("a bypassing STE refuses ATS: ATS off (Linux 7.2 arm_smmu_attach_prepare()");
  });

  it("AMD with memory encryption takes DMA for a function with PASIDs", () => {
    const words = ["compare", "ats-lifecycle", "-b", "amd-vi", "-d", "nic", "--cmdline", "mem_encrypt=on"];
    expect(runCommand(words)).toBe(0);
    expect(out).toContain("dma                 on DMA, forged ok");
    expect(out).not.toContain("EINVAL");
  });

  it.each([
    [["compare", "nothing"], 'unknown scenario "nothing": expected one of ats-lifecycle'],
    [["compare", "ats-lifecycle", "-b", "power"], 'unknown backend "power": expected one of arm-smmuv3'],
    [
      ["compare", "ats-lifecycle", "-k", "5.4"],
      'unknown kernel "5.4": expected one of linux-6.1, linux-6.12, linux-7.2',
    ],
    [["compare", "ats-lifecycle", "-p", "x"], 'unknown policy "x"'],
    [["compare", "ats-lifecycle", "-b", "amd-vi", "-p", "vtd-track-pasids"], "policy vtd-track-pasids concerns none"],
    [["compare", "ats-lifecycle", "--show", "x"], 'unknown view "x": expected one of summary'],
    [["compare", "ats-lifecycle", "-d", "/nowhere/lspci.txt@01:00.0"], "/nowhere/lspci.txt: no such file"],
    [["list", "scenarios", "-f", "pdf"], "Allowed choices are table, json"],
    [["inspect", "/nowhere/lspci.txt"], "/nowhere/lspci.txt: no such file"],
    [["inspect", folder], "is not a file"],
    [["compare", "ats-lifecycle", "-f", "pdf"], "Allowed choices are table, json, markdown"],
    [["compare"], "missing required argument"],
    [["frobnicate"], "unknown command"],
  ])("%j is bad input, told in words", (words, message) => {
    expect(runCommand(words)).toBe(2);
    expect(err).toContain(message);
    expect(err).not.toContain("    at ");
  });
});

describe("list and help", () => {
  it.each(["scenarios", "backends", "kernels", "policies", "devices", "views"])("lists %s", (what) => {
    expect(runCommand(["list", what, "--format", "json"])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ schema: "iommu-lab/list@1", what });
  });

  it.each([[[]], [["compare"]], [["inspect"]], [["list"]]])("help of %j has examples", (words) => {
    expect(runCommand([...words, "--help"])).toBe(0);
    expect(out).toContain("Examples:");
  });
});

describe("inspect", () => {
  const header = "00: f4 1a 41 10 00 00 10 00 00 00 00 02 00 00 00 00\n";

  it("a bad line is named by its number", () => {
    const damaged = file("damaged.txt", `01:00.0 Ethernet\n${header}10: zz\n`);
    expect(runCommand(["inspect", damaged])).toBe(2);
    expect(err).toContain("damaged.txt:3");
  });

  it("a file that cannot be written is told", () => {
    const target = path.join(folder, "absent", "x.json");
    expect(runCommand(["inspect", file("one.txt", `01:00.0 Ethernet\n${header}`), "-o", target])).toBe(2);
    expect(err).toContain(`${target}: cannot be written`);
  });

  it.each(["hello", "", '{"devices":[]}', "01:00.0 Ethernet\n\tCapabilities: [40] Express (v2) Endpoint\n"])(
    "%j has no bytes to decode, and what would read it is named",
    (text) => {
      expect(runCommand(["inspect", file("words.txt", text)])).toBe(2);
      expect(err).toMatch(/words.txt: is neither the text of lspci -xxxx nor an ACPI table; .* groups/);
    },
  );

  it.skipIf(!existsSync("/dev/zero"))("a device that never ends is read up to the limit", () => {
    expect(runCommand(["inspect", "/dev/zero"])).toBe(2);
    expect(err).toContain("/dev/zero: has more than 67108864 bytes");
  });

  it.skipIf(process.platform === "win32" || !existsSync(built))("a pipe that is slow is waited for", () => {
    // More than a pipe holds, then nothing for a while, then the rest.
    const words = `yes '' | head -c 100000; sleep 0.4; printf '01:00.0 Ethernet\\n%s\\n' '${header.trim()}'`;
    const command = `(${words}) | "${process.execPath}" "${built}" inspect -`;
    expect(execFileSync("sh", ["-c", command], { encoding: "utf8" })).toContain("01:00.0 1af4:1041");
  });

  it("a short dump is read as far as it goes, with a warning", () => {
    expect(runCommand(["inspect", file("short.txt", `01:00.0 Ethernet\n${header}`), "--format", "json"])).toBe(0);
    const document = JSON.parse(out) as { readonly functions: readonly { readonly warnings: readonly string[] }[] };
    expect(document).toMatchObject({ schema: "iommu-lab/inspect@1", functions: [{ vendor: "1af4", device: "1041" }] });
    expect(document.functions[0]?.warnings.length).toBeGreaterThan(0);
  });

  it("an ACPI table is known by its signature; one that no layout is for is told", () => {
    expect(runCommand(["encode", "cedt", '{"structures":[{"type":"CHBS","uid":7,"cxlVersion":1,"size":65536}]}'])).toBe(
      0,
    );
    const bytes = Uint8Array.from(out.trim().split(" "), (pair) => Number.parseInt(pair, 16));
    const table = path.join(folder, "CEDT");
    writeFileSync(table, bytes);
    expect(runCommand(["inspect", table])).toBe(0);
    expect(out).toContain("Host bridge with _UID 7");
    out = "";
    expect(runCommand(["inspect", table, "-f", "json"])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ kind: "cedt", fields: { structures: [{ type: "CHBS", uid: 7 }] } });
    writeFileSync(table, bytes.with(0, 0x58));
    expect(runCommand(["inspect", table])).toBe(2);
    expect(err).toMatch(/is an ACPI table XEDT; known ones: .*CEDT/);
  });

  const dumps = existsSync(dataFolder) ? readdirSync(path.join(dataFolder, "config-space")) : [];
  it.skipIf(dumps.length === 0).each(dumps.length === 0 ? ["(no data)"] : dumps)("reads %s for people", (name) => {
    expect(runCommand(["inspect", path.join(dataFolder, "config-space", name)])).toBe(0);
    expect(out).toMatch(/^\S*[\da-f]{2}:[\da-f]{2}\.[0-7] [\da-f]{4}:[\da-f]{4} class/);
  });
});
