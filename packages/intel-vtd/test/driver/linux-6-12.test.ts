import { KernelError, Process, x86_64 } from "@iommu-lab/core";
import type { AtsEvent } from "@iommu-lab/pci";
import { PCI_BUS, pciDev } from "@iommu-lab/pci";
import { vtdWithAnyDomain } from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";
import { Machine } from "./machine.ts";

const version = "6.12";
/** Entries, flushes and Enable bits, without the words of each. */
const short = (acts: readonly string[]): string[] => acts.map((act) => act.split(" ").slice(0, 2).join(" "));

function scalable(): Machine {
  const machine = new Machine({ version });
  machine.acts();
  return machine;
}

/** Cleared entry, its caches, and nothing to the device, since ATS is off by then. */
const cleared = ["vtd-pasid 0x48", "pc_inv 0x200000017", "wait", "p_iotlb_inv 0x26", "wait", "vtd-pasid 0x0"];
const masked = (acts: readonly string[]): string[] =>
  short(acts).map((act) => act.replace("pc_inv 0x17", "pc_inv 0x200000017"));

describe("scalable mode of Linux 6.12 (linux-ats-by-vendor §5.1)", () => {
  test("probe: DTE and PASIDE, no PRE, PASID on; the first attach sets ATS", () => {
    const machine = new Machine({ version });
    const acts = short(machine.acts()).filter((act) => /^(?:vtd-context|vtd-pasid |ats|pasid|pri)/.test(act));
    // The port above comes first: it has neither ATS nor PASID.
    expect(acts).toEqual([
      "vtd-context 0x401",
      "vtd-context 0xe0d",
      "pasid on",
      "vtd-pasid 0x49",
      "vtd-pasid 0x49",
      "ats on",
    ]);
    expect(machine.believes).toBe(true);
  });

  test("paging to paging: ATS off, entry cleared without a device-TLB flush, new entry, ATS on", () => {
    const machine = scalable();
    machine.storeType("DMA");
    expect(masked(machine.acts())).toEqual(["ats off", ...cleared, "vtd-pasid 0x49", "ats on"]);
  });

  test("to IDENTITY: ATS off and on", () => {
    const machine = scalable();
    machine.storeType("identity");
    const acts = short(machine.acts());
    expect(acts[0]).toBe("ats off");
    expect(acts.slice(-2)).toEqual(["vtd-pasid 0x109", "ats on"]);
  });

  test("BLOCKED: ATS off, DTE stays, nothing is sent to the device", () => {
    const machine = scalable();
    const { group } = machine.device;
    machine.platform.run(machine.platform.iommu.claimGroup(group ?? expect.fail("no group"), "user"));
    expect(masked(machine.acts())).toEqual(["ats off", ...cleared]);
    expect(machine.believes).toBe(false);
    machine.platform.run(machine.platform.iommu.releaseGroup(group ?? expect.fail("no group")));
    expect(short(machine.acts())).toEqual(["vtd-pasid 0x49", "ats on"]);
  });

  test("a RID change under a live PASID toggles ATS; the PASID entry stays", () => {
    const machine = scalable();
    const core = machine.platform.iommu;
    machine.platform.run(core.attachPasid(core.allocPaging(machine.device, { pasid: true }), machine.device, 1));
    expect(short(machine.acts()).filter((act) => act.startsWith("ats"))).toEqual([]);
    const other = core.allocPaging(machine.device, { pasid: true });
    machine.platform.run(core.setGroupDomain(machine.device.group ?? expect.fail("no group"), other));
    expect(short(machine.acts()).filter((act) => /^(?:ats|vtd)/.test(act))).toEqual([
      "ats off",
      "vtd-pasid 0x48",
      "vtd-pasid 0x0",
      "vtd-pasid 0x49",
      "ats on",
    ]);
    machine.platform.run(core.detachPasid(machine.device, 1));
    expect(short(machine.acts()).filter((act) => /^(?:ats|vtd|p_dev)/.test(act))).toEqual(
      ["vtd-pasid 0x48", "p_dev_tlb_inv 0x1010001000001f8", "vtd-pasid 0x0"].map((act) =>
        act.startsWith("p_dev") ? expect.stringMatching(/^p_dev_tlb_inv/) : act,
      ),
    );
  });

  test("a reset is not told to the IOMMU", () => {
    const machine = scalable();
    const bus = machine.platform.host.get(PCI_BUS);
    machine.platform.run(bus.resetFunction(machine.device));
    expect(short(machine.acts()).filter((act) => !/^(?:ats|pasid|pri)/.test(act))).toEqual([]);
  });

  test("release: BLOCKED, PASID off, context cleared", () => {
    const machine = scalable();
    machine.platform.run(machine.platform.host.get(PCI_BUS).remove(machine.device));
    const acts = masked(machine.acts());
    expect(acts.slice(0, 7)).toEqual(["ats off", ...cleared]);
    expect(acts.filter((act) => /^(?:pasid|vtd-context)/.test(act))).toEqual([
      "pasid off",
      "vtd-context 0xe0c",
      "vtd-context 0x0",
    ]);
  });
});

describe("page requests and SVA of Linux 6.12", () => {
  const errno = (body: () => unknown): string => {
    try {
      body();
    } catch (error) {
      if (error instanceof KernelError) {
        return error.errno;
      }
      throw error;
    }
    return "0";
  };

  test("SVA needs page requests on, and those need ATS", () => {
    const machine = scalable();
    const core = machine.platform.iommu;
    const enable = (feature: "iopf" | "sva"): string =>
      errno(() => machine.platform.run(core.enableFeature(machine.device, feature)));
    expect(enable("sva")).toBe("EINVAL");
    expect(enable("iopf")).toBe("0");
    expect(short(machine.acts()).slice(0, 2)).toEqual(
      ["vtd-context 0xe1d", "cc_inv 0x10000000031"].map((act) =>
        act.startsWith("cc") ? expect.stringMatching(/^cc_inv/) : act,
      ),
    );
    expect(pciDev(machine.device).priEnabled).toBe(true);
    expect(enable("iopf")).toBe("EBUSY");
    expect(enable("sva")).toBe("0");
    const process = new Process(machine.platform.memory, x86_64, "process");
    machine.platform.run(core.attachPasid(core.allocSva(machine.device, process), machine.device, 1));
    machine.platform.run(core.detachPasid(machine.device, 1));
    machine.platform.run(core.disableFeature(machine.device, "iopf"));
    expect(pciDev(machine.device).priEnabled).toBe(false);
    expect(errno(() => machine.platform.run(core.disableFeature(machine.device, "iopf")))).toBe("EINVAL");
  });

  test("with the RID blocked neither can be had", () => {
    const machine = scalable();
    const core = machine.platform.iommu;
    machine.platform.run(core.claimGroup(machine.device.group ?? expect.fail("no group"), "user"));
    expect(errno(() => machine.platform.run(core.enableFeature(machine.device, "iopf")))).toBe("ENODEV");
    expect(errno(() => machine.platform.run(core.enableFeature(machine.device, "sva")))).toBe("EINVAL");
  });
});

test("the policy that 6.12 ships tells its reasons", () => {
  const reason = (event: AtsEvent, ridDomain: "DMA" | "BLOCKED"): string =>
    vtdWithAnyDomain.reason(event, { ridDomain, livePasids: 0, required: false });
  expect(reason("rid-attach", "DMA")).toMatch(/ATS on$/);
  expect(reason("rid-attach", "BLOCKED")).toMatch(/ATS off$/);
  expect(reason("release", "DMA")).toMatch(/ATS off$/);
});
