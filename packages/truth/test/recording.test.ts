import { InputError } from "@iommu-lab/core";
import { parseRecording, schemaOf } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { cases, load, read } from "./support/recordings.ts";

/** A damaged copy of a recording. */
function damaged(change: (document: Record<string, unknown>) => void): string {
  const document = JSON.parse(read("vtd-legacy-dt-7.2.json")) as Record<string, unknown>;
  change(document);
  return JSON.stringify(document);
}

function phaseOf(document: Record<string, unknown>, index: number): Record<string, unknown> {
  return (document["phases"] as Record<string, unknown>[])[index] ?? {};
}

describe("parser of recordings", () => {
  it.each(cases)("reads %s whole", (name) => {
    const recording = load(name);
    expect(recording.name).toBe(name);
    expect(recording.kernel).toMatch(/^7\.2\.13/u);
    expect(recording.phases.length).toBeGreaterThan(60);
    expect(recording.phases[0]?.name).toBe("boot");
    expect(recording.roles.get("vnet_ats")).toBe("0000:01:00.0");
    expect(recording.phases.every((phase, index) => phase.index === index)).toBe(true);
  });

  it("knows what would have been seen: boot and run time differ, absent functions do not count", () => {
    const recording = load("acpi-amd-eph-7.2");
    expect(recording.bootProbes.has("pci_enable_ats")).toBe(true);
    expect(recording.bootProbes.has("pci_disable_ats")).toBe(false);
    expect(recording.probes.has("pci_disable_ats")).toBe(true);
    expect(load("vtd-legacy-dt-7.2").probes.has("iommu_disable_pci_ats")).toBe(false);
  });

  it("keeps arguments, returns and tracepoint texts of events", () => {
    const { phases } = load("vtd-legacy-dt-7.2");
    const attach = phases[0]?.events.find((event) => event.name === "__iommu_attach_device");
    expect(attach?.args.get("domain")).toBe("DMA_FQ");
    expect(phases[0]?.events[0]?.text).toBe("IOMMU: groupID=0 device=0000:00:00.0");
  });

  it("names the schema before it parses", () => {
    expect(schemaOf(read("vtd-sm-fsts-7.2.json"))).toBe("iommu-oracle/1");
    expect(schemaOf('{"other": 1}')).toBeUndefined();
  });

  it.each([
    ["not JSON", () => "{", /^x\.json: not a JSON document/u],
    [
      "another schema",
      () => damaged((document) => (document["schema"] = "iommu-oracle/9")),
      /^x\.json: schema: expected "iommu-oracle\/1", found "iommu-oracle\/9"/u,
    ],
    [
      "a missing field",
      () => damaged((document) => delete document["roles"]),
      /^x\.json: roles: expected an object, found nothing/u,
    ],
    [
      "an unknown vendor",
      () => damaged((document) => (document["vendor"] = "acme")),
      /^x\.json: vendor: expected "intel", "amd" or "arm", found "acme"/u,
    ],
    [
      "a damaged phase",
      () => damaged((document) => (phaseOf(document, 2)["events"] = {})),
      /^x\.json: phase 2 "unbind:vnet_ats"\.events: expected an array, found an object/u,
    ],
    [
      "a damaged event",
      () => damaged((document) => (phaseOf(document, 2)["events"] = [{ t: "now" }])),
      /^x\.json: phase 2 "unbind:vnet_ats"\.events\[0\]\.t: expected a number, found string "now"/u,
    ],
    [
      "a table word that is no word",
      () =>
        damaged(
          (document) =>
            ((phaseOf(document, 0)["tables"] as Record<string, unknown>)["entries"] = {
              "0000:01:00.0": { context: ["12", "0x0"] },
            }),
        ),
      /^x\.json: phase 0 "boot"\.tables\.entries\.0000:01:00\.0\.context\[0\]: expected a hexadecimal word/u,
    ],
    [
      "a difference to nothing",
      () => damaged((document) => (phaseOf(document, 0)["state_is"] = "delta")),
      /^x\.json: phase 0 "boot"\.state_is: a difference, but no full state stands before it/u,
    ],
  ])("reports %s with file, phase and field", (_what, text, message) => {
    let caught: unknown;
    try {
      parseRecording(text(), "x.json");
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(InputError);
    expect((caught as InputError).message).toMatch(message);
  });
});
