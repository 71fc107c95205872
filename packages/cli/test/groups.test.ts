import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { endpointConfig, rootPortConfig } from "@iommu-lab/pci";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runCommand } from "../src/cli.ts";

const folder = mkdtempSync(path.join(tmpdir(), "iommu-lab-groups-"));
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

function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.slice(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${at.toString(16).padStart(2, "0")}: ${row.join(" ")}`);
  }
  return lines.join("\n");
}

/** A port without ACS with a network function below it. */
const dump = [
  `00:1c.0 PCI bridge: a port\n${hexDump(rootPortConfig({ secondary: 1, subordinate: 1 }))}`,
  `01:00.0 Ethernet controller: a card\n${hexDump(endpointConfig({ vendor: 0x8086, device: 0x1592, class: 0x020000 }))}`,
].join("\n\n");

interface GroupsDocument {
  readonly schema: string;
  readonly kernel: string;
  readonly groups: readonly {
    readonly members: readonly string[];
    readonly reasons: readonly Record<string, unknown>[];
  }[];
  readonly whatIf?: { readonly changes: readonly object[]; readonly groups: readonly object[] };
  readonly why?: { readonly function: string; readonly steps: readonly object[]; readonly isolated: boolean };
}

function document(...words: readonly string[]): GroupsDocument {
  expect(runCommand(["groups", file("lspci.txt", dump), "-f", "json", ...words])).toBe(0);
  return JSON.parse(out) as GroupsDocument;
}

describe("groups", () => {
  it("lists groups with the place and the bits that are missing", () => {
    expect(runCommand(["groups", file("lspci.txt", dump)])).toBe(0);
    expect(out).toContain("1 group of 2 functions, Linux 7.2");
    expect(out).toContain("belongs together with 0000:00:1c.0, because on the way to the root 0000:00:1c.0 has no ACS");
  });

  it("prints one JSON document of the schema", () => {
    const { schema, kernel, groups } = document("--kernel", "6.12");
    expect([schema, kernel]).toEqual(["iommu-lab/groups@1", "linux-6.12"]);
    expect(groups.map(({ members }) => members)).toEqual([["0000:00:1c.0", "0000:01:00.0"]]);
    expect(groups[0]?.reasons.at(-1)).toEqual({
      member: "0000:01:00.0",
      rule: "path",
      hop: "0000:00:1c.0",
      with: "0000:00:1c.0",
      missing: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"],
      acsRule: "no-capability",
      source: "Linux 6.12 pci_device_group(), pci_acs_flags_enabled()",
      text: "0000:01:00.0 belongs together with 0000:00:1c.0, because on the way to the root 0000:00:1c.0 has no ACS capability",
    });
  });

  it("--why names the hop, the bits, the source, and what would make the function alone", () => {
    expect(runCommand(["groups", file("lspci.txt", dump), "--why", "01:00.0"])).toBe(0);
    expect(out).toContain(
      "at 0000:00:1c.0; missing SrcValid, ReqRedir, CmpltRedir, UpstreamFwd; Linux 7.2 pci_device_group()",
    );
    expect(out).toContain("ACS at 0000:00:1c.0 (SrcValid, ReqRedir, CmpltRedir, UpstreamFwd): alone");
    out = "";
    expect(document("--why", "01:00.0").why).toMatchObject({ function: "0000:01:00.0", isolated: true, steps: [{}] });
  });

  it("--what-if shows groups before and after", () => {
    const words = ["--what-if", "acs=on:00:1c.0"];
    expect(runCommand(["groups", file("lspci.txt", dump), ...words])).toBe(0);
    expect(out).toContain("  - 0000:00:1c.0 0000:01:00.0\n  + 0000:00:1c.0\n  + 0000:01:00.0\n");
    out = "";
    expect(document(...words).whatIf?.changes).toHaveLength(1);
    out = "";
    expect(document("--what-if", "quirk=off", "--what-if", "acs=off:01:00.0").whatIf).toMatchObject({
      changes: [],
    });
  });

  it("prints Markdown", () => {
    expect(runCommand(["groups", file("lspci.txt", dump), "-f", "markdown", "--what-if", "acs=on:00:1c.0"])).toBe(0);
    expect(out).toContain("| 0 | 0000:01:00.0 | Ethernet controller: a card | belongs together with");
    expect(out).toContain("| 0000:00:1c.0 0000:01:00.0 | 0000:00:1c.0<br>0000:01:00.0 |");
  });

  it("reads a machine description too", () => {
    const devices = [{ bdf: "0000:00:02.0", capabilities: [], class: "0300", pcie: { type: "Endpoint" } }];
    expect(runCommand(["groups", file("machine.json", JSON.stringify({ devices }))])).toBe(0);
    expect(out).toContain("starts a group: it is the only function of its slot");
  });

  it("a conventional function alone in its slot is not said to lack what nobody asked for", () => {
    const devices = [
      { bdf: "0000:00:00.0", capabilities: [], class: "0600" },
      { bdf: "0000:00:1f.0", capabilities: [], class: "0601", multiFunction: true },
      { bdf: "0000:00:1f.3", capabilities: [], class: "0403", multiFunction: true },
      { bdf: "0000:00:02.0", capabilities: [], class: "0300", pcie: { type: "Endpoint" } },
    ];
    expect(runCommand(["groups", file("machine.json", JSON.stringify({ devices }))])).toBe(0);
    expect(out).toContain("0000:00:00.0\n    starts a group: it is the only function of its slot\n");
    expect(out).toContain(
      "shares its slot with 0000:00:1f.0 and neither is kept apart: each has no PCI Express capability, so the kernel takes it for conventional PCI",
    );
  });

  it.each([
    [["--why", "02:00.0"], "no function at 02:00.0: the machine has 2"],
    [["--why", "nonsense"], '"nonsense" is no function address'],
    [["--what-if", "acs=maybe:00:1c.0"], "expected acs=on:BDF, acs=off:BDF or quirk=off"],
    [["--kernel", "5.4"], "Allowed choices are 6.1, 6.12, 7.2"],
  ])("bad words %j end with 2 and say what was expected", (words, message) => {
    expect(runCommand(["groups", file("lspci.txt", dump), ...words])).toBe(2);
    expect(err).toContain(message);
  });

  it("reads decoded text, also of a user who sees no capabilities: then it says so", () => {
    const text = [
      "00:1c.0 PCI bridge: Intel Corporation Device 7ab8 (prog-if 00 [Normal decode])",
      "\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0",
      "\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00",
      "\tCapabilities: [220 v1] Access Control Services",
      "\t\tACSCap:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
      "\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
      "",
      "01:00.0 Ethernet controller: Intel Corporation Device 1592",
      "\tCapabilities: [40] Express (v2) Endpoint, MSI 00",
      "",
    ].join("\n");
    expect(runCommand(["groups", file("text.txt", text)])).toBe(0);
    expect(out).toContain("2 groups of 2 functions");
    const blind = text
      .replaceAll(/^\tCapabilities:.*$/gm, "\tCapabilities: <access denied>")
      .replaceAll(/^\t\tACS.*\n/gm, "");
    expect(runCommand(["groups", file("blind.txt", blind)])).toBe(2);
    expect(err).toContain("has no capability of any function");
  });

  it.each([
    ["hello\n", "is neither the text of lspci"],
    ["{]", "is no JSON"],
    [JSON.stringify({ devices: [{ bdf: "0000:00:02.0", capabilities: [] }] }), "has no capability of any function"],
  ])("a file %j is refused", (text, message) => {
    expect(runCommand(["groups", file("odd.txt", text)])).toBe(2);
    expect(err).toContain(message);
    expect(err).toContain("odd.txt");
  });
});
