import type { PhaseReport } from "@iommu-lab/truth";
import { parseRecording, replay } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { read } from "./support/recordings.ts";

type Json = Record<string, unknown>;

interface Event {
  readonly ev: string;
}

/** Replays a recording after one of its phases was made to say something else. */
function falsified(name: string, phase: string, lie: (phase: Json) => void): readonly PhaseReport[] {
  const document = JSON.parse(read(`${name}.json`)) as { readonly phases: Json[] };
  const found = document.phases.find((one) => one["name"] === phase);
  if (found === undefined) {
    throw new Error(`no phase ${phase}`);
  }
  lie(found);
  const file = `${name}.lspci-xxxx.txt`;
  return replay(parseRecording(JSON.stringify(document), `${name}.json`), { text: read(file), file }, []);
}

/** Puts a value where a path of keys leads. */
function put(root: Json, path: readonly string[], value: unknown): void {
  const last = path.at(-1) ?? "";
  let at: Json = root;
  for (const key of path.slice(0, -1)) {
    at = at[key] as Json;
  }
  at[last] = value;
}

/** Moves the first event of a name in front of the first of another. */
function swap(phase: Json, name: string, before: string): void {
  const events = phase["events"] as Event[];
  const at = events.findIndex((event) => event.ev === name);
  const moved = events.splice(at, 1);
  events.splice(
    events.findIndex((event) => event.ev === before),
    0,
    ...moved,
  );
}

const address = "0000:01:00.0";
const legacy = "vtd-legacy-dt-7.2";
const scalable = "vtd-sm-fsts-7.2";
const amd = "acpi-amd-eph-7.2";
const arm = "poke-smmu-ats-ssid-7.2";
const identity = "type-unbound:vnet_ats:identity";

/** Recording, phase, the aspect that must be reported, and where which lie stands. */
const lies: readonly (readonly [string, string, string, readonly string[], unknown])[] = [
  [legacy, identity, "ats", ["state", "devices", address, "cfg", "ats", "ctrl"], "0x8000"],
  [legacy, identity, "table context[0]", ["tables", "entries", address, "context", "0"], "0x0000000000000001"],
  [scalable, "boot", "table context[0]", ["tables", "entries", address, "context", "0"], "0x0000000003a51401"],
  [scalable, "boot", "table pasid0[0]", ["tables", "entries", "0000:00:02.0", "pasid0", "0"], "0x0000000000000089"],
  [scalable, "boot", "register gcmd_gsts", ["tables", "gcmd_gsts"], "0x4700000000000000"],
  [scalable, "boot", "acs", ["state", "devices", "0000:00:02.0", "cfg", "acs", "ctrl"], "0x001f"],
  [scalable, "boot", "group", ["state", "groups", "16", "devices"], [address, "0000:00:02.0"]],
  [scalable, "boot", "reserved", ["state", "groups", "16", "reserved_regions"], []],
  [scalable, "unbind:vnet_ats", "driver", ["state", "devices", address, "driver"], "other"],
  [scalable, "type-unbound:vnet_ats:auto", "type", ["state", "groups", "16", "type"], "DMA"],
  [amd, "boot", "table dte[1]", ["tables", "entries", address, "dte", "1"], "0x0000000000000012"],
  [amd, "boot", "register control", ["tables", "control"], "0x000000000003f48f"],
  [arm, "rescan:vnet_ats", "table ste[1]", ["tables", "entries", address, "ste", "1"], "0x00000000000000d6"],
  [arm, "boot", "table cd0[0]", ["tables", "entries", address, "cd0", "0"], "0x0014e204c0003519"],
  [arm, "boot", "register cr0", ["tables", "cr0"], "0x0000000d"],
  [arm, "rescan:f_pasid", "pasid", ["state", "devices", "0000:12:00.0", "cfg", "pasid", "ctrl"], "0x0000"],
  [amd, "remove:vnet_ats", "presence", ["state", "devices", address], { cfg: null }],
  [legacy, "type-bound:vnet_ats:identity", "result", ["output"], "DMA-FQ\nrc=0\nDMA-FQ"],
  [legacy, "set-identity-before-bind:vnet_ats", "type", ["output"], "DMA"],
];

describe("a recording that says something else", () => {
  it.each(lies)("%s, %s: %s differs, from there on, and nothing else", (name, phase, aspect, path, value) => {
    const reports = falsified(name, phase, (found) => put(found, path, value));
    const differing = reports.filter((report) => report.verdict === "differ");
    expect(differing[0]?.name).toBe(phase);
    const aspects = differing.flatMap((report) => report.differences.map((difference) => difference.aspect));
    expect(new Set(aspects)).toStrictEqual(new Set([aspect]));
  });

  it("ATS switched off before the context entry is cleared: the order differs", () => {
    const reports = falsified(legacy, "type-unbound:vnet_ats:DMA", (phase) =>
      swap(phase, "pci_disable_ats", "domain_context_clear_one"),
    );
    const differing = reports.filter((report) => report.verdict === "differ");
    expect(differing.map((report) => report.name)).toStrictEqual(["type-unbound:vnet_ats:DMA"]);
    expect(differing[0]?.differences).toMatchObject([
      {
        aspect: "events",
        recorded: "attach DMA (was DMA-FQ) | ATS off | context cleared | context translates | ATS on | attached: 0",
        model: "attach DMA (was DMA-FQ) | context cleared | ATS off | context translates | ATS on | attached: 0",
      },
    ]);
  });

  it("a call that returned an error", () => {
    const reports = falsified(scalable, identity, (phase) => {
      const events = phase["events"] as { readonly ev: string; args: Json }[];
      const returned = events.find((event) => event.ev === "__iommu_attach_device__ret");
      put(returned ?? {}, ["args", "ret"], "-16");
    });
    expect(reports.find((report) => report.verdict === "differ")?.differences[0]?.recorded).toMatch(
      /attached: EBUSY$/u,
    );
  });

  it("another command between entry and return of an attach", () => {
    const reports = falsified(legacy, "type-unbound:vnet_ats:DMA", (phase) => {
      const events = phase["events"] as { readonly ev: string; args: Json }[];
      const first = events.find((event) => event.ev === "qi_submit_sync");
      put(first ?? {}, ["args", "desc0"], "0x1200e2");
    });
    const differing = reports.find((report) => report.commands === "differ");
    expect(differing?.verdict).toBe("differ");
    expect(differing?.differences).toMatchObject([
      {
        aspect: "commands of attach 1",
        recorded: "iotlb wait iotlb wait device-tlb wait",
        model: "context wait iotlb wait device-tlb wait",
      },
    ]);
  });
});
