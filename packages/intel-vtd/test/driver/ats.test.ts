import { InputError } from "@iommu-lab/core";
import { vtdLegacyWithPaging, vtdScalableAtProbe, vtdTrackPasids } from "@iommu-lab/intel-vtd";
import { PCI_BUS, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, RW, nicConfig, oneDevice } from "./machine.ts";

const onDemand = { slots: { "ats:intel-vtd": vtdTrackPasids } };

function word(machine: Machine, kind: string, rid = NIC): string {
  const event = machine.events.findLast((one) => one.type === "table:write" && one.kind === kind && one.rid === rid);
  return event?.type === "table:write" ? (event.after[0] ?? "").slice(-3) : "";
}

function decisions(machine: Machine, rule: string): string[] {
  return machine.events.flatMap((event) =>
    event.type === "decision" && event.rule === rule ? [`${event.input} -> ${event.answer}`] : [],
  );
}

describe("what a device may do", () => {
  test("scalable: DTE, PASIDE and PRE at probe, then PASID, ATS, PRI", () => {
    const machine = new Machine();
    expect(word(machine, "vtd-context")).toBe("e1d");
    const enables = machine.events.flatMap((event) => (event.type === "capability:enable" ? [event.capability] : []));
    expect(enables).toEqual(["pasid", "ats", "pri"]);
  });

  test("scalable without Page Aligned Request: DTE=1, ATS and PRI off", () => {
    const machine = new Machine({ topology: oneDevice({ ...nicConfig, ats: { queueDepth: 32, pageAligned: false } }) });
    expect(word(machine, "vtd-context")).toBe("e1d");
    expect(machine.believes).toBe(false);
    expect(decisions(machine, "vtd-page-aligned-request")).toEqual(["Page Aligned Request=0 -> ATS stays off"]);
  });

  test("legacy without Page Aligned Request: TT=01 and ATS off", () => {
    const topology = oneDevice({ ...nicConfig, ats: { queueDepth: 32, pageAligned: false } });
    const machine = new Machine({ topology, vtd: { mode: "legacy" } });
    expect(word(machine, "vtd-context")).toBe("005");
    expect(machine.believes).toBe(false);
  });

  test("PRI stays off, and PRE on, when responses would carry an unwanted PASID", () => {
    const pri = { capacity: 512, responsePasidRequired: false };
    const machine = new Machine({ topology: oneDevice({ ...nicConfig, pri }) });
    expect(word(machine, "vtd-context")).toBe("e1d");
    expect(machine.acts().filter((act) => act.startsWith("pri"))).toEqual([]);
    expect(decisions(machine, "vtd-pri-response-pasid")).toHaveLength(1);
  });

  test.each<[string, ConstructorParameters<typeof Machine>[0]]>([
    ["pci=noats", { cmdline: "pci=noats" }],
    ["no ATSR", { vtd: { atsr: "none" } }],
    ["a unit without device-TLBs", { vtd: { ats: false } }],
  ])("%s: neither DTE nor ATS", (_name, options) => {
    const machine = new Machine(options);
    expect(word(machine, "vtd-context")).toBe("e09");
    expect(machine.believes).toBe(false);
    const legacy = new Machine({ ...options, vtd: { ...options?.vtd, mode: "legacy" } });
    expect(word(legacy, "vtd-context")).toBe("001");
    expect(legacy.believes).toBe(false);
  });

  test("an integrated function needs no ATSR", () => {
    const topology = pciTopology({ integrated: [{ rid: 0x0028, config: { ...nicConfig, pcieType: 9 } }] });
    const machine = new Machine({ topology, vtd: { atsr: "none" } });
    expect(word(machine, "vtd-context", 0x0028)).toBe("e1d");
  });

  test("BLOCKED in scalable mode: ATS stays on and a forged Translated write passes", () => {
    const machine = new Machine({ cmdline: "iommu.passthrough=1" });
    const { group } = machine.device;
    const { platform, endpoint } = machine;
    if (group !== undefined) {
      platform.run(platform.iommu.claimGroup(group, "user"));
    }
    const page = platform.memory.base / 4096 + 0x100;
    expect([machine.believes, machine.write(page), endpoint.translatedWrite(page, 0, 1).status]).toEqual([
      true,
      "UR",
      "success",
    ]);
  });

  test("BLOCKED in legacy mode: ATS off and Translated writes refused", () => {
    const machine = new Machine({ vtd: { mode: "legacy" } });
    const { group } = machine.device;
    const { platform, endpoint } = machine;
    if (group !== undefined) {
      platform.run(platform.iommu.claimGroup(group, "user"));
    }
    endpoint.obeys.enable = false;
    const page = platform.memory.base / 4096 + 0x100;
    expect([machine.believes, endpoint.translatedWrite(page, 0, 1).status]).toEqual([false, "UR"]);
  });
});

describe("the shipped policies", () => {
  const state = { ridDomain: "IDENTITY", livePasids: 0, required: false } as const;

  test("scalable: on until release", () => {
    expect(vtdScalableAtProbe.wants("rid-attach", { ...state, ridDomain: "BLOCKED" })).toBe(true);
    expect(vtdScalableAtProbe.wants("release", state)).toBe(false);
    expect(vtdScalableAtProbe.basis("rid-attach", state)).toBe("recorded");
    expect(vtdScalableAtProbe.basis("pasid-set", state)).toBe("source");
  });

  test("legacy: with paging", () => {
    expect(vtdLegacyWithPaging.wants("rid-attach", state)).toBe(false);
    expect(vtdLegacyWithPaging.wants("rid-attach", { ...state, ridDomain: "DMA-FQ" })).toBe(true);
  });

  test("something else in the slot is refused", () => {
    expect(() => new Machine({ slots: { "ats:intel-vtd": "on" } })).toThrow(InputError);
  });
});

describe("ATS on demand in scalable mode", () => {
  test("off on IDENTITY, on with the first PASID, off with the last", () => {
    const machine = new Machine({ ...onDemand, cmdline: "iommu.passthrough=1" });
    const { platform, device } = machine;
    expect(machine.believes).toBe(false);
    const domain = platform.iommu.allocPaging(device, { pasid: true });
    machine.acts();
    platform.run(platform.iommu.attachPasid(domain, device, 1));
    expect(machine.acts()).toEqual(["vtd-pasid 0x49 0x800000 0x0 0x0 0x0 0x0 0x0 0x0", "ats on", "pri on"]);
    platform.run(platform.iommu.detachPasid(device, 1));
    const acts = machine.acts();
    expect(acts.slice(0, 5)).toEqual([
      "pri off",
      "ats off",
      "dev_tlb_inv 0x10000000003 0x7ffffffffffff001",
      "wait",
      "vtd-pasid 0x48 0x800000 0x0 0x0 0x0 0x0 0x0 0x0",
    ]);
    expect(acts.filter((act) => act.startsWith("p_dev_tlb"))).toEqual([]);
    expect(machine.believes).toBe(false);
  });

  test("BLOCKED with a PASID live keeps it on, without it goes off first", () => {
    const machine = new Machine({ ...onDemand, cmdline: "iommu.passthrough=1" });
    const { platform, device } = machine;
    const { group } = device;
    const { iommu } = platform;
    if (group === undefined) {
      throw new Error("no group");
    }
    const domain = iommu.allocPaging(device, { pasid: true });
    platform.run(iommu.attachPasid(domain, device, 1));
    platform.run(iommu.setGroupDomain(group, iommu.blockingDomain(group)));
    expect(machine.believes).toBe(true);
    platform.run(iommu.detachPasid(device, 1));
    expect(machine.believes).toBe(false);
  });

  test("a PASID that was attached while ATS was off is flushed on the device once it is on", () => {
    const machine = new Machine({ ...onDemand, cmdline: "iommu.passthrough=1" });
    const { platform, device } = machine;
    const { iommu } = platform;
    const domain = iommu.allocPaging(device, { pasid: true });
    const target = platform.memory.allocate(4096, 4096, "user", "page") / 4096;
    if (domain.map === undefined || domain.unmap === undefined) {
      throw new Error("no table");
    }
    platform.run(domain.map(0x10, target, 1, RW));
    platform.run(iommu.attachPasid(domain, device, 1));
    machine.acts();
    platform.run(domain.unmap(0x10, 1));
    expect(machine.acts()).toEqual(["p_iotlb_inv 0x100000036 0x10040", "p_dev_tlb_inv 0x101000008 0x10000", "wait"]);
  });

  test("DMA: on after the entry, off before IDENTITY", () => {
    const machine = new Machine({ ...onDemand, cmdline: "iommu.passthrough=1" });
    machine.acts();
    machine.storeType("DMA");
    expect(machine.acts().slice(-3)).toEqual(["vtd-pasid 0x49 0x800000 0x0 0x0 0x0 0x0 0x0 0x0", "ats on", "pri on"]);
    machine.storeType("identity");
    expect(machine.acts().slice(0, 2)).toEqual(["pri off", "ats off"]);
  });

  test("release leaves nothing on", () => {
    const machine = new Machine(onDemand);
    machine.acts();
    machine.platform.run(machine.platform.host.get(PCI_BUS).remove(machine.device));
    const acts = machine.acts();
    expect(acts.filter((act) => act.endsWith("off"))).toEqual(["pri off", "ats off", "pasid off"]);
    expect(acts.at(-1)).toBe("vtd-context 0x0 0x0 0x0 0x0");
  });
});
