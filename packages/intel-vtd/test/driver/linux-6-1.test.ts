import { KernelError } from "@iommu-lab/core";
import { PCI_BUS } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RECORDED_LEGACY } from "./machine.ts";

const version = "6.1";
/** Entries, flushes and Enable bits, without the words of each. */
const kinds = (acts: readonly string[]): string[] =>
  acts.map((act) => {
    const [what = "", word = ""] = act.split(" ");
    return /^(?:vtd|ats|pri|pasid)/.test(what) ? `${what} ${word}` : what;
  });

function booted(options: ConstructorParameters<typeof Machine>[0] = {}): Machine {
  const machine = new Machine({ ...options, version });
  machine.acts();
  return machine;
}

function claim(machine: Machine): void {
  const { group } = machine.device;
  machine.platform.run(machine.platform.iommu.claimGroup(group ?? expect.fail("no group"), "user"));
}

const cleared = ["vtd-pasid 0x48", "pc_inv", "wait", "p_iotlb_inv", "wait", "vtd-pasid 0x0"];
const off = ["ats off", "pri off", "pasid off"];
const on = ["pasid on", "pri on", "ats on"];

describe("scalable mode of Linux 6.1 (linux-ats-by-vendor §6.1)", () => {
  test("boot: PASID entry, then context entry with DTE and PRE, then PASID, PRI, ATS", () => {
    const machine = new Machine({ version });
    const nic = machine.events.filter((event) => event.type !== "table:write" || event.rid === 0x0100);
    const acts = nic.flatMap((event) => {
      if (event.type === "table:write") {
        return event.kind === "vtd-root" || event.kind === "vtd-pasid-directory"
          ? []
          : [`${event.kind} ${event.after[0]?.slice(-3)}`];
      }
      return event.type === "capability:enable" ? [`${event.capability} ${event.enabled ? "on" : "off"}`] : [];
    });
    expect(acts).toEqual(["vtd-pasid 049", "vtd-context e1d", ...on]);
  });

  test("paging to paging: everything off in reverse, no device-TLB flush, the context entry stays", () => {
    const machine = booted();
    machine.storeType("DMA");
    expect(kinds(machine.acts())).toEqual([...off, ...cleared, "vtd-pasid 0x49", ...on]);
  });

  test("IDENTITY: pass-through, ATS on", () => {
    const machine = booted();
    machine.storeType("identity");
    expect(kinds(machine.acts())).toEqual([...off, ...cleared, "vtd-pasid 0x109", ...on]);
  });

  test("a claim attaches an empty paging domain: ATS on", () => {
    const machine = booted();
    claim(machine);
    expect(machine.device.group?.domain?.type).toBe("UNMANAGED");
    expect(machine.believes).toBe(true);
    expect(machine.write(0x100)).not.toBe("success");
  });

  test("release: entry and device-TLB while ATS is on, then Enable bits, then the context entry", () => {
    const machine = booted();
    machine.platform.run(machine.platform.host.get(PCI_BUS).remove(machine.device));
    expect(kinds(machine.acts())).toEqual([
      "vtd-pasid 0x48",
      "pc_inv",
      "wait",
      "p_iotlb_inv",
      "wait",
      "dev_tlb_inv",
      "wait",
      "vtd-pasid 0x0",
      ...off,
      "vtd-context 0xe1c",
      "cc_inv",
      "wait",
      "pc_inv",
      "wait",
      "iotlb_inv",
      "wait",
      "vtd-context 0x0",
    ]);
  });

  test("rescan: attached, enabled, and the whole domain flushed after the direct mappings", () => {
    const machine = booted();
    const bus = machine.platform.host.get(PCI_BUS);
    machine.platform.run(bus.remove(machine.device));
    machine.acts();
    machine.platform.run(bus.scan());
    expect(kinds(machine.acts()).slice(-7)).toEqual([...on, "p_iotlb_inv", "wait", "dev_tlb_inv", "wait"]);
  });

  test("neither SVA nor another PASID", () => {
    const machine = booted();
    const core = machine.platform.iommu;
    const attach = (): void =>
      machine.platform.run(core.attachPasid(core.allocPaging(machine.device, { pasid: true }), machine.device, 1));
    expect(attach).toThrow(KernelError);
    expect(attach).toThrow(/EOPNOTSUPP/);
  });
});

describe("legacy mode of Linux 6.1", () => {
  const legacy = { vtd: RECORDED_LEGACY };

  test("paging: ATS off, context cleared without a device-TLB flush, context with TT=01, ATS on", () => {
    const machine = booted(legacy);
    machine.storeType("DMA");
    expect(kinds(machine.acts())).toEqual([
      "ats off",
      "vtd-context 0x4",
      "cc_inv",
      "wait",
      "iotlb_inv",
      "wait",
      "vtd-context 0x0",
      "vtd-context 0x5",
      "ats on",
    ]);
  });

  test("IDENTITY: TT=10 under a domain ID of its own, ATS off", () => {
    const machine = booted(legacy);
    machine.storeType("identity");
    const acts = kinds(machine.acts());
    expect(acts.at(-1)).toBe("vtd-context 0x9");
    expect(machine.believes).toBe(false);
    const entry = machine.events.findLast((event) => event.type === "table:write" && event.kind === "vtd-context");
    const did = entry?.type === "table:write" ? (BigInt(entry.after[1] ?? "0") >> 8n) & 0xffffn : 0n;
    expect(did).toBeGreaterThan(1n);
  });

  test("a claim toggles ATS and leaves it on", () => {
    const machine = booted(legacy);
    claim(machine);
    const acts = kinds(machine.acts()).filter((act) => act.startsWith("ats"));
    expect(acts).toEqual(["ats off", "ats on"]);
  });

  test("unmap: IOTLB and device-TLB with a wait each", () => {
    const machine = booted(legacy);
    const { dma } = machine.platform.iommu;
    const page = machine.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
    const iova = machine.platform.run(dma.map(machine.device, page, 1, 3));
    machine.acts();
    machine.platform.run(dma.unmap(machine.device, iova, 1));
    expect(kinds(machine.acts())).toEqual(["iotlb_inv", "wait", "dev_tlb_inv", "wait"]);
  });
});
