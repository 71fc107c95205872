import { InputError } from "@iommu-lab/core";
import { vtd } from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";
import { Machine, RECORDED_LEGACY, oneDevice } from "./machine.ts";
import { GLOBAL_QIE, GLOBAL_SRTP, GLOBAL_TE, registerName } from "../registers.ts";

const BASE = 0xfed90000;

/** What the boot wrote to registers and tables, in order. */
function steps(machine: Machine): string[] {
  return machine.events.flatMap((event) => {
    if (event.type === "mmio:write" && event.region === "dmar0") {
      const name = registerName(event.offset);
      return [name === "GCMD" ? `GCMD ${bits(event.value)}` : name];
    }
    return event.type === "table:write" ? [event.kind] : [];
  });
}

function bits(value: number): string {
  const names = [
    [GLOBAL_TE, "TE"],
    [GLOBAL_SRTP, "SRTP"],
    [GLOBAL_QIE, "QIE"],
  ] as const;
  return names
    .filter(([mask]) => Math.floor(value / mask) % 2 === 1)
    .map(([, name]) => name)
    .join("+");
}

describe("boot", () => {
  test("queue, root table, interrupts, then all probes, and translation last", () => {
    const all = steps(new Machine({ cmdline: "iommu.passthrough=1" }));
    const first = all.indexOf("vtd-root");
    expect(all.slice(0, first)).toEqual([
      "IQT",
      "IQA",
      "GCMD QIE",
      "RTADDR",
      "GCMD SRTP+QIE",
      "PEDATA",
      "PEADDR",
      "PEUADDR",
      "PECTL",
      "PQH",
      "PQT",
      "PQA",
      "FEDATA",
      "FEADDR",
      "FEUADDR",
      "FECTL",
    ]);
    expect(all.at(-1)).toBe("GCMD TE+QIE");
    expect(all.filter((step) => step === "GCMD TE+QIE")).toHaveLength(1);
  });

  test("a window with ATS on and translation off: everything passes", () => {
    const machine = new Machine({ boot: false });
    let answer = "";
    machine.platform.trace.subscribe((event) => {
      if (event.type === "capability:enable" && event.capability === "ats") {
        answer = machine.write(machine.platform.memory.base / 4096);
      }
    });
    machine.platform.boot();
    expect(answer).toBe("success");
    expect(machine.write(machine.platform.memory.base / 4096)).toBe("UR");
  });

  test("where hardware does not empty its caches, the driver does", () => {
    const machine = new Machine({ vtd: { cap: 0x01d2008c222f0606n }, cmdline: "iommu.passthrough=1" });
    const submitted = machine.events.flatMap((event) => (event.type === "command:submit" ? [event.text] : []));
    expect(submitted.filter((text) => !text.startsWith("wait")).slice(0, 3)).toEqual([
      "context cache, global",
      "PASID cache, global",
      "IOTLB, global",
    ]);
  });

  test("default domains are lazy, strict on request", () => {
    expect(new Machine().device.group?.domain?.type).toBe("DMA-FQ");
    expect(new Machine({ cmdline: "intel_iommu=strict" }).device.group?.domain?.type).toBe("DMA");
    expect(new Machine({ cmdline: "iommu.passthrough=1" }).device.group?.domain?.type).toBe("IDENTITY");
  });

  test("a virtual unit with second-stage tables is strict, one with first-stage tables is not", () => {
    const virtual = { cachingMode: true } as const;
    expect(new Machine({ vtd: { ...virtual, mode: "legacy" } }).device.group?.domain?.type).toBe("DMA");
    expect(new Machine({ vtd: virtual }).device.group?.domain?.type).toBe("DMA-FQ");
  });

  test("a unit without pass-through insists on DMA", () => {
    const machine = new Machine({ vtd: { passThrough: false }, cmdline: "iommu.passthrough=1" });
    expect(machine.device.group?.domain?.type).toBe("DMA");
  });

  test("intel_iommu=off leaves the devices alone", () => {
    const machine = new Machine({ cmdline: "intel_iommu=off" });
    expect(machine.device.iommu).toBeUndefined();
    expect(machine.write(machine.platform.memory.base / 4096)).toBe("success");
  });

  test("sm_off on a scalable unit: legacy tables, 256-bit descriptors, no PASIDs", () => {
    const machine = new Machine({ cmdline: "intel_iommu=on,sm_off" });
    const { mmio } = machine.platform;
    expect(mmio.read32(BASE + 0x20) & 0xc00).toBe(0);
    expect(mmio.read32(BASE + 0x90) & 0x801).toBe(0x801);
    expect(machine.device.iommu?.maxPasids).toBe(0);
    machine.acts();
    machine.storeType("DMA");
    expect(machine.acts()).toContain("vtd-context 0x5 0x2");
  });

  test("sm_on is of no use without the hardware", () => {
    const machine = new Machine({ vtd: RECORDED_LEGACY, cmdline: "intel_iommu=on,sm_on" });
    expect(machine.platform.mmio.read32(BASE + 0x20) & 0xc00).toBe(0);
    expect(machine.platform.mmio.read32(BASE + 0x90) & 0x801).toBe(0);
  });

  test("MSI region and group", () => {
    const machine = new Machine();
    const { driver } = machine.device.iommu ?? {};
    expect(driver?.reservedRegions(machine.device)).toEqual([{ page: 0xfee00, count: 0x100, prot: 0, type: "msi" }]);
    expect(machine.device.group?.members.map(({ device }) => device.name)).toEqual(["0000:01:00.0"]);
  });

  test("a function that no unit serves has no IOMMU", () => {
    const machine = new Machine({ vtd: { serves: (rid) => rid !== 0x0100 } });
    expect(machine.device.iommu).toBeUndefined();
    expect(machine.deviceAt(0x0008).iommu).toBeDefined();
    expect(machine.write(machine.platform.memory.base / 4096)).toBe("success");
  });
});

describe("options", () => {
  test.each([
    ["a base that is not aligned", { base: 0x1234 }],
    ["too many PASID bits", { pasidBits: 21 }],
    ["a host address width that no machine has", { hostAddressWidth: 60 }],
    ["a unit without queued invalidation", { ecap: 0n }],
    ["a register of more than 64 bits", { cap: 1n << 64n }],
  ])("%s is refused", (_name, options) => {
    expect(() => vtd(options)).toThrow(InputError);
  });

  test("features that are not modelled read 0", () => {
    const ecap = 0x0000880000f00f4en | (1n << 26n) | (1n << 45n);
    const machine = new Machine({ vtd: { ecap, cap: 0x91d2008c222f0e06n } });
    const read64 = (offset: number): bigint =>
      (BigInt(machine.platform.mmio.read32(BASE + offset + 4)) << 32n) |
      BigInt(machine.platform.mmio.read32(BASE + offset));
    expect(read64(0x10)).toBe(0x0000880000f00f4en);
    expect(read64(0x08)).toBe(0x81d2008c222f0606n);
  });

  test("two platforms can be made from one description", () => {
    const topology = oneDevice();
    const first = new Machine({ topology });
    const second = new Machine({ topology });
    first.storeType("DMA");
    expect(second.device.group?.domain?.type).toBe("DMA-FQ");
  });
});

describe("the fault interrupt", () => {
  test("takes the record out, so that the next fault is recorded too", () => {
    const machine = new Machine();
    const fault = (): boolean => {
      const { recorded } = machine.endpoint.untranslatedWrite(0x99, 0, 1, -1);
      machine.platform.scheduler.settle();
      return recorded;
    };
    expect([fault(), fault(), fault()]).toEqual([true, true, true]);
    expect(machine.platform.mmio.read32(BASE + 0x34)).toBe(0);
  });
});
