import { PCI_BUS } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RECORDED_LEGACY, RECORDED_SCALABLE } from "./machine.ts";

const empty = "vtd-pasid 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0";
const cleared = "vtd-pasid 0x48 0x0 0x0 0x0 0x0 0x0 0x0 0x0";
const firstStage = "vtd-pasid 0x49 0x0 0x0 0x0 0x0 0x0 0x0 0x0";
const passThrough = "vtd-pasid 0x109 0x0 0x0 0x0 0x0 0x0 0x0 0x0";
const everything = "dev_tlb_inv 0x10000000003 0x7ffffffffffff001";

/** Recorded: PASID cache, IOTLB, device-TLB, each a batch of one with its wait. */
const tornDown = [cleared, "pc_inv 0x17 0x0", "wait", "p_iotlb_inv 0x26 0x0", "wait", everything, "wait", empty];

describe("scalable mode, as recorded on a unit without PASIDs and coherent walks", () => {
  function machine(): Machine {
    const made = new Machine({ vtd: RECORDED_SCALABLE, cmdline: "intel_iommu=on,sm_on" });
    made.acts();
    return made;
  }

  test("words and order of the boot", () => {
    const made = new Machine({ vtd: RECORDED_SCALABLE, cmdline: "intel_iommu=on,sm_on" });
    const own = made.events.filter((event) => event.type !== "table:write" || event.rid === 0x0100);
    const acts = own.flatMap((event) =>
      event.type === "table:write" || event.type === "capability:enable" || event.type === "config:write"
        ? [event.type === "table:write" ? `${event.kind} ${event.after[0]?.slice(-3)}` : event.type]
        : [],
    );
    expect(acts.filter((act) => act.startsWith("vtd") || act === "capability:enable")).toEqual([
      "vtd-root 001",
      "vtd-context 405",
      "vtd-pasid-directory 001",
      "vtd-pasid 049",
      "capability:enable",
    ]);
    expect(made.believes).toBe(true);
    expect(made.device.group?.domain?.type).toBe("DMA-FQ");
  });

  test("domain IDs start at 2 and the lowest free one is taken again", () => {
    const made = machine();
    const did = (): number => {
      const event = made.events.findLast((one) => one.type === "table:write" && one.kind === "vtd-pasid");
      return event?.type === "table:write" ? Number(BigInt(event.after[1] ?? "0") & 0xffffn) : -1;
    };
    expect(did()).toBe(3);
    made.storeType("DMA");
    expect(did()).toBe(3);
    made.storeType("identity");
    expect(did()).toBe(1);
  });

  test("DMA-FQ to DMA", () => {
    const made = machine();
    made.storeType("DMA");
    expect(made.acts()).toEqual([...tornDown, firstStage]);
  });

  test("DMA-FQ to IDENTITY and back: ATS stays on, domain ID 1 is flushed too", () => {
    const made = machine();
    made.storeType("identity");
    expect(made.acts()).toEqual([...tornDown, passThrough]);
    made.storeType("DMA-FQ");
    expect(made.acts()).toEqual(["vtd-pasid 0x108 0x0 0x0 0x0 0x0 0x0 0x0 0x0", ...tornDown.slice(1), firstStage]);
    expect(made.believes).toBe(true);
  });

  test("a reset: blocked, attached again, ATS Enable by the restore alone", () => {
    const made = machine();
    const bus = made.platform.host.get(PCI_BUS);
    const points: string[] = [];
    made.platform.run(
      bus.resetFunction(made.device, (point) => {
        points.push(point, ...made.acts());
      }),
    );
    expect([...points, ...made.acts()]).toEqual(["prepared", ...tornDown, "done", firstStage, "restored", "ats on"]);
  });

  test("removal and rescan", () => {
    const made = machine();
    made.platform.run(made.platform.host.get(PCI_BUS).remove(made.device));
    expect(made.acts()).toEqual([
      ...tornDown,
      "ats off",
      "vtd-context 0x404 0x0 0x0 0x0",
      "cc_inv 0x10000000031 0x0",
      "wait",
      "vtd-context 0x0 0x0 0x0 0x0",
    ]);
  });
});

describe("legacy mode, as recorded", () => {
  const translating = "vtd-context 0x5 0x2";
  const leftBehind = "vtd-context 0x4 0x2";
  const off = [
    leftBehind,
    "cc_inv 0x10000000031 0x0",
    "wait",
    "iotlb_inv 0xe2 0x0",
    "wait",
    everything,
    "wait",
    "vtd-context 0x0 0x0",
    "ats off",
  ];

  function machine(): Machine {
    const made = new Machine({ vtd: RECORDED_LEGACY, cmdline: "intel_iommu=on,sm_off" });
    made.acts();
    return made;
  }

  test("DMA-FQ to DMA: P-, invalidations, E-, P+, E+", () => {
    const made = machine();
    made.storeType("DMA");
    expect(made.acts()).toEqual([...off, translating, "ats on"]);
  });

  test("DMA to IDENTITY and back", () => {
    const made = machine();
    made.storeType("identity");
    expect(made.acts()).toEqual([...off, "vtd-context 0x9 0x2"]);
    expect(made.believes).toBe(false);
    made.storeType("DMA-FQ");
    expect(made.acts()).toEqual([
      "vtd-context 0x8 0x2",
      ...off.slice(1, 5),
      "vtd-context 0x0 0x0",
      translating,
      "ats on",
    ]);
  });

  test("a reset", () => {
    const made = machine();
    const points: string[] = [];
    made.platform.run(
      made.platform.host.get(PCI_BUS).resetFunction(made.device, (point) => {
        points.push(point, ...made.acts());
      }),
    );
    expect([...points, ...made.acts()]).toEqual([
      "prepared",
      ...off,
      "done",
      translating,
      "ats on",
      "restored",
      "ats on",
    ]);
  });

  test("removal: nothing is left to do after the blocked attach", () => {
    const made = machine();
    made.platform.run(made.platform.host.get(PCI_BUS).remove(made.device));
    expect(made.acts()).toEqual(off);
  });

  test("domain IDs of the boot start at 2", () => {
    const made = new Machine({ vtd: RECORDED_LEGACY, cmdline: "intel_iommu=on,sm_off" });
    const ids = made.events.flatMap((event) =>
      event.type === "table:write" && event.kind === "vtd-context"
        ? [Number((BigInt(event.after[1] ?? "0") >> 8n) & 0xffffn)]
        : [],
    );
    expect(ids).toEqual([2, 3]);
  });
});
