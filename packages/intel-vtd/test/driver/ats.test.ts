import type { DomainType, TraceEvent } from "@iommu-lab/core";
import { InputError, Process, x86_64 } from "@iommu-lab/core";
import { vtdLegacyWithPaging, vtdScalableAtProbe, vtdTrackPasids } from "@iommu-lab/intel-vtd";
import type { AtsEvent, TopologyDescription } from "@iommu-lab/pci";
import { PCI_BUS, pciDev, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, RW, nicConfig, oneDevice } from "./machine.ts";

/** A NIC below an external-facing port. */
function untrusted(): TopologyDescription {
  return pciTopology({
    rootPorts: [{ rid: 0x0008, externalFacing: true, endpoint: { rid: NIC, config: nicConfig } }],
  });
}

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

/** What was switched on, in order. */
function enables(machine: Machine): string[] {
  return machine.events.flatMap((event) =>
    event.type === "capability:enable" && event.enabled ? [event.capability] : [],
  );
}

/** The last decision about the NIC. */
function last(machine: Machine): TraceEvent | undefined {
  return machine.events.findLast((event) => event.type === "decision" && event.device === machine.device.name);
}

describe("what a device may do", () => {
  test("scalable: DTE, PASIDE and PRE at probe, then PASID, ATS, PRI", () => {
    const machine = new Machine();
    expect(word(machine, "vtd-context")).toBe("e1d");
    expect(enables(machine)).toEqual(["pasid", "ats", "pri"]);
  });

  test("scalable without Page Aligned Request: DTE=1, ATS and PRI off", () => {
    const machine = new Machine({ topology: oneDevice({ ...nicConfig, ats: { queueDepth: 32, pageAligned: false } }) });
    expect(word(machine, "vtd-context")).toBe("e1d");
    expect(machine.believes).toBe(false);
    expect(enables(machine)).toEqual(["pasid"]);
    expect(decisions(machine, "vtd-page-aligned-request")).toEqual([
      "probe-finalize: RID on DMA-FQ, 0 PASIDs -> ATS off",
    ]);
    machine.storeType("identity");
    expect(last(machine)).toMatchObject({
      answer: "ATS off",
      reason: expect.stringContaining("Page Aligned Request"),
      basis: "source",
    });
  });

  test("legacy without Page Aligned Request: TT=01 and ATS off", () => {
    const topology = oneDevice({ ...nicConfig, ats: { queueDepth: 32, pageAligned: false } });
    const machine = new Machine({ topology, vtd: { mode: "legacy" } });
    expect(word(machine, "vtd-context")).toBe("005");
    expect(machine.believes).toBe(false);
    expect(enables(machine)).toEqual([]);
    expect(last(machine)).toMatchObject({
      answer: "ATS off",
      reason: expect.stringContaining("Page Aligned Request"),
      basis: "source",
    });
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

  test.each<[string, ConstructorParameters<typeof Machine>[0], string, string]>([
    ["pci=noats", { cmdline: "pci=noats" }, "pci=noats", "recorded"],
    ["no ATSR", { vtd: { atsr: "none" } }, "no ATSR lists its root port 0000:00:01.0", "recorded"],
    ["no device-TLBs", { vtd: { ats: false } }, "ECAP.DT=0", "source"],
    ["an untrusted function", { topology: untrusted() }, "untrusted", "source"],
  ])("%s: the reason names the fact", (_name, options, reason, basis) => {
    for (const mode of ["scalable", "legacy"] as const) {
      const machine = new Machine({ ...options, vtd: { ...options?.vtd, mode } });
      expect(last(machine)).toMatchObject({
        rule: "vtd-ats-supported",
        answer: "ATS off",
        reason: expect.stringContaining(reason),
        basis,
      });
      expect(enables(machine)).not.toContain("ats");
    }
  });

  test("a VF whose PF has another STU stays off, and scalable mode does not try again", () => {
    const topology = pciTopology({
      rootPorts: [
        {
          rid: 0x0008,
          endpoint: { rid: NIC, config: nicConfig },
          functions: [{ rid: NIC + 1, config: nicConfig, virtualFunctionOf: NIC }],
        },
      ],
    });
    const machine = new Machine({ topology, boot: false });
    machine.platform.trace.subscribe((event) => {
      if (event.type === "capability:enable" && event.capability === "ats") {
        pciDev(machine.device).atsStu = 13;
      }
    });
    machine.platform.boot();
    const vf = machine.deviceAt(NIC + 1);
    const believes = (): boolean | undefined => vf.iommu?.driver.believesAtsEnabled(vf);
    expect(believes()).toBe(false);
    expect(decisions(machine, "vtd-enable-failed")).toEqual(["pci_enable_ats() = -EINVAL -> ATS stays off"]);
    pciDev(machine.device).atsStu = 12;
    if (vf.group !== undefined) {
      machine.platform.run(machine.platform.iommu.storeType(vf.group, "identity"));
    }
    expect(believes()).toBe(false);
    expect(decisions(machine, "vtd-enable-failed")).toHaveLength(2);
    const process = new Process(machine.platform.memory, x86_64, "process");
    expect(() => machine.platform.iommu.allocSva(vf, process)).toThrow("EINVAL");
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
    expect(vtdScalableAtProbe.basis("rid-attach", { ...state, livePasids: 1 })).toBe("source");
  });

  test.each<[string, AtsEvent, DomainType, number, string]>([
    ["scalable", "probe-finalize", "IDENTITY", 0, "sets ATS Enable once"],
    ["scalable", "rid-attach", "IDENTITY", 0, "PGTT=4"],
    ["scalable", "rid-attach", "DMA", 0, "DTE=1"],
    ["scalable", "rid-attach", "BLOCKED", 0, "so Translated requests pass"],
    ["scalable", "pasid-remove", "IDENTITY", 0, "its own PASID entry"],
    ["legacy", "rid-attach", "IDENTITY", 0, "TT=10, which forbids Translation Requests: ATS off"],
    ["legacy", "rid-attach", "DMA", 0, "TT=01"],
    ["legacy", "rid-attach", "BLOCKED", 0, "P=0"],
    ["tracked", "rid-attach", "IDENTITY", 0, "no PASID is attached: ATS off"],
    ["tracked", "rid-attach", "BLOCKED", 2, "2 PASIDs"],
    ["tracked", "rid-attach", "DMA", 0, "page table"],
  ])("%s, %s with RID on %s and %d PASIDs: %s", (name, event, ridDomain, livePasids, fact) => {
    const policies = { scalable: vtdScalableAtProbe, legacy: vtdLegacyWithPaging, tracked: vtdTrackPasids };
    const policy = Object.entries(policies).find(([key]) => key === name)?.[1];
    const asked = { ridDomain, livePasids, required: false };
    const reason = policy?.reason(event, asked) ?? "";
    expect(reason).toContain(fact);
    expect(reason.endsWith(" off")).toBe(policy?.wants(event, asked) === false);
  });

  test("release is told, and off whatever the policy", () => {
    const machine = new Machine({
      slots: { "ats:intel-vtd": { id: "always", source: "test", wants: () => true, basis: () => "derived" } },
    });
    expect(last(machine)).toMatchObject({
      answer: "ATS on",
      reason: "always answers so for the RID on DMA-FQ with 0 PASIDs",
    });
    const { name } = machine.device;
    machine.platform.run(machine.platform.host.get(PCI_BUS).remove(machine.device));
    const told = machine.events.findLast((event) => event.type === "decision" && event.device === name);
    expect(told).toMatchObject({ input: "release: RID on BLOCKED, 0 PASIDs", answer: "ATS off" });
  });

  test("a policy that wants ATS on IDENTITY cannot have it in legacy mode", () => {
    const always = { id: "always", source: "test", wants: () => true, basis: () => "derived" };
    const machine = new Machine({
      vtd: { mode: "legacy" },
      cmdline: "iommu.passthrough=1",
      slots: { "ats:intel-vtd": always },
    });
    expect(machine.believes).toBe(false);
    expect(last(machine)).toMatchObject({ answer: "ATS off", reason: expect.stringContaining("TT=10") });
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
