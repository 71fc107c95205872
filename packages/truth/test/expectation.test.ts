import type { LifecycleEvent, LifecycleKind, PhaseExpectation } from "@iommu-lab/truth";
import { condense, expectations, opcodeOf, sameOpcodes } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { load } from "./support/recordings.ts";

const device = "0000:01:00.0";

function phases(recording: string, name: string): readonly PhaseExpectation[] {
  return expectations(load(recording)).filter((one) => one.phase.name === name);
}

function texts(recording: string, name: string): readonly string[] {
  return (
    phases(recording, name)[0]
      ?.device(device)
      .events.map((one) => one.text) ?? []
  );
}

function opcodes(recording: string, name: string): readonly (readonly string[])[] {
  const view = phases(recording, name)[0]?.device(device);
  return view?.commands.map((attach) => attach.opcodes) ?? [];
}

function event(kind: LifecycleKind, text: string): LifecycleEvent {
  return { device, kind, text };
}

describe("what a recorded phase demands", () => {
  it("the device's state, with addresses left out", () => {
    const view = phases("poke-smmu-ats-ssid-7.2", "boot")[0]?.device(device);
    const state = typeof view?.state === "object" ? view.state : undefined;
    expect(state).toMatchObject({ driver: "virtio-pci", type: "DMA", ats: 0x8000, pasid: undefined });
    expect(state?.group).toStrictEqual(new Set([device]));
    expect(state?.tables.get("ste")?.[1]).toBe(0x1000_00d6n);
  });

  it("the order in which ATS and tables change: VT-d legacy", () => {
    expect(texts("vtd-legacy-dt-7.2", "type-unbound:vnet_ats:identity")).toStrictEqual([
      "attach IDENTITY (was DMA)",
      "context cleared",
      "ATS off",
      "context passes through",
      "attached: 0",
    ]);
  });

  it("the order in which ATS and tables change: AMD", () => {
    expect(texts("acpi-amd-eph-7.2", "type-unbound:vnet_ats:identity")).toStrictEqual([
      "attach IDENTITY (was DMA)",
      "ATS off",
      "dte 0x0000000000000001,0x0000000000000000",
      "ATS on",
      "dte 0x6000000000000003,0x0000000100000000",
      "attached: 0",
    ]);
  });

  it("a reset: staged, attached to BLOCKED, attached back", () => {
    expect(texts("vtd-sm-fsts-7.2", "reset-in-identity:vnet_ats")).toStrictEqual([
      "reset prepare",
      "attach BLOCKED (was IDENTITY)",
      "PASID 0 cleared",
      "attached: 0",
      "reset done",
      "attach IDENTITY (was BLOCKED)",
      "PASID 0 passes through",
      "attached: 0",
      "ATS restored",
    ]);
  });

  it("a clearing of a CD that is clear already does not count", () => {
    expect(
      texts("poke-smmu-ats-ssid-7.2", "reset-in-identity:vnet_ats").filter((text) => text.startsWith("cd0")),
    ).toEqual([]);
  });

  it("the commands of each attach", () => {
    expect(opcodes("vtd-sm-fsts-7.2", "type-unbound:vnet_ats:DMA")).toStrictEqual([
      ["pasid-cache", "wait", "pasid-iotlb", "wait", "device-tlb", "wait"],
    ]);
    expect(opcodes("poke-smmu-ats-ssid-7.2", "reset-in-identity:vnet_ats")).toStrictEqual([
      ["CFGI_STE", "SYNC", "PREFETCH_CONFIG"],
      ["CFGI_STE", "SYNC", "PREFETCH_CONFIG"],
    ]);
    expect(opcodes("acpi-amd-eph-7.2", "reset-in-identity:vnet_ats")[1]).toStrictEqual([
      "INVALIDATE_DEVTAB_ENTRY",
      "COMPLETION_WAIT",
      "INVALIDATE_DEVTAB_ENTRY",
      "INVALIDATE_IOTLB_PAGES",
      "COMPLETION_WAIT",
    ]);
  });

  it("phases with the same name stay apart, in order", () => {
    const repeated = phases("vtd-legacy-dt-7.2", "type-unbound:vnet_ats:DMA");
    expect(repeated).toHaveLength(2);
    expect(repeated[0]?.phase.index).toBeLessThan(repeated[1]?.phase.index ?? 0);
  });

  it("what was not observable is not demanded", () => {
    const [boot] = phases("acpi-amd-eph-7.2", "boot");
    expect(boot?.observable.has("attach")).toBe(true);
    expect(boot?.observable.has("ats-off")).toBe(false);
    expect(boot?.observable.has("dte")).toBe(false);
    expect(phases("acpi-amd-eph-7.2", "unbind:vnet_ats")[0]?.observable.has("dte")).toBe(true);
  });
});

describe("condensing", () => {
  it("keeps the last of several steps and drops what changes nothing", () => {
    const standing = new Map<LifecycleKind, string>([["ste", "a"]]);
    const kept = condense(
      [event("ste", "b"), event("ste", "c"), event("ats-on", "ATS on"), event("ste", "c"), event("cd0", "x")],
      standing,
    );
    expect(kept.map((one) => one.text)).toStrictEqual(["c", "ATS on", "x"]);
    expect(standing.get("ste")).toBe("c");
  });

  it("what a trace says of the old value counts more than what was known", () => {
    const clear = { ...event("cd0", "zero"), before: "zero" };
    const standing = new Map<LifecycleKind, string>([["cd0", "old"]]);
    expect(condense([clear], standing)).toStrictEqual([]);
    expect(standing.get("cd0")).toBe("zero");
    expect(condense([{ ...clear, before: "old" }, clear], new Map())).toHaveLength(1);
  });

  it("keeps the clearing of an entry that is set again", () => {
    const standing = new Map<LifecycleKind, string>([["context", "a"]]);
    const kept = condense([event("context", "b"), event("context", "b"), event("context", "a")], standing);
    expect(kept.map((one) => one.text)).toStrictEqual(["b", "a"]);
  });

  it("a detour that ends where it began does not count", () => {
    expect(condense([event("ste", "b"), event("ste", "a")], new Map([["ste", "a"]]))).toStrictEqual([]);
  });
});

describe("opcodes", () => {
  it("come from the encodings", () => {
    expect(opcodeOf("arm", 0x100_0000_0040n)).toBe("ATC_INV");
    expect(opcodeOf("intel", 0x100_0012_0031n)).toBe("context");
    expect(opcodeOf("intel", 0x12_0017n)).toBe("pasid-cache");
    expect(opcodeOf("amd", 0x4000_0100_2000_0100n)).toBe("INVALIDATE_IOTLB_PAGES");
    expect(opcodeOf("amd", 0xf000_0000_0000_0000n)).toBe("opcode 0xf");
  });

  it("a command that was only counted matches any", () => {
    expect(sameOpcodes(["a", "any", "wait"], ["a", "b", "wait"])).toBe(true);
    expect(sameOpcodes(["a", "any"], ["a"])).toBe(false);
    expect(sameOpcodes(["a"], ["b"])).toBe(false);
  });
});
