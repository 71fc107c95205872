import { InputError } from "@iommu-lab/core";
import { encodeDmar } from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";
import { Machine, nicConfig, oneDevice } from "./machine.ts";

const NIC_PATH = "00:01.0/00.0";

function reason(machine: Machine): string {
  const found = machine.recorder.events.findLast(
    (event) => event.type === "decision" && event.rule === "vtd-ats-supported",
  );
  return found?.type === "decision" ? found.reason : "";
}

describe("what the DMAR says of ATS", () => {
  test("a root port that an ATSR names", () => {
    expect(new Machine({ vtd: { atsr: ["00:01.0"] } }).believes).toBe(true);
    expect(new Machine({ vtd: { atsr: ["00:02.0"] } }).believes).toBe(false);
  });

  test("an SATC counts before any ATSR", () => {
    const satc = [{ devices: [NIC_PATH] }];
    expect(new Machine({ vtd: { atsr: "none", satc } }).believes).toBe(true);
    expect(new Machine({ vtd: { atsr: "none", satc: [{ devices: ["00:05.0"] }] } }).believes).toBe(false);
  });

  test("a required ATC is the hardware's own business in legacy mode, and the kernel's in scalable mode", () => {
    const satc = [{ devices: [NIC_PATH], required: true }];
    const legacy = new Machine({ vtd: { mode: "legacy", satc } });
    expect(legacy.believes).toBe(false);
    expect(reason(legacy)).toMatch(/in legacy mode the hardware handles ATS by itself/);
    expect(new Machine({ vtd: { satc } }).believes).toBe(true);
  });
});

describe("reserved memory", () => {
  const rmrr = [{ base: 0x50000000, limit: 0x50002fff, devices: [NIC_PATH] }];

  test.each<[string, number, string]>([
    ["an RMRR is mapped 1:1", 0x020000, "direct"],
    ["that of a USB controller is relaxable", 0x0c0330, "direct-relaxable"],
    ["that of a graphics device is relaxable", 0x030000, "direct-relaxable"],
  ])("%s", (_name, classCode, type) => {
    const machine = new Machine({ topology: oneDevice({ ...nicConfig, class: classCode }), vtd: { rmrr } });
    const [region] = machine.device.iommu?.driver.reservedRegions(machine.device) ?? [];
    expect(region).toEqual({ page: 0x50000, count: 3, prot: 3, type });
    expect([0x50000, 0x50002].map((page) => machine.device.group?.domain?.lookup?.(page))).toEqual([0x50000, 0x50002]);
    expect(machine.device.group?.domain?.lookup?.(0x50003)).toBeUndefined();
  });

  test("another function's is not", () => {
    const other = [{ base: 0x50000000, limit: 0x50000fff, devices: ["00:02.0"] }];
    const machine = new Machine({ vtd: { rmrr: other } });
    expect(machine.device.group?.domain?.lookup?.(0x50000)).toBeUndefined();
  });

  test("must be whole pages, and paths must be paths", () => {
    expect(() => new Machine({ vtd: { rmrr: [{ base: 0x1001, limit: 0x1fff, devices: [] }] } })).toThrow(InputError);
    expect(() => new Machine({ vtd: { atsr: ["0000:00:01.0"] } })).toThrow(/no path of a function, expected such as/);
  });
});

describe("a table that the wiring contradicts", () => {
  test("a unit at another address than the one that is there serves nobody", () => {
    const dmar = encodeDmar({
      hostAddressWidth: 48,
      flags: 0,
      structures: [{ kind: "drhd", flags: 1, size: 0, segment: 0, base: 0xfed91000, scopes: [] }],
    });
    expect(new Machine({ vtd: { dmar } }).device.iommu).toBeUndefined();
  });

  test("no unit for the function: it has no IOMMU, though its requests pass one", () => {
    const scope = { type: 1, flags: 0, reserved: 0, enumerationId: 0, startBus: 0, path: [{ device: 2, function: 0 }] };
    const dmar = encodeDmar({
      hostAddressWidth: 48,
      flags: 0,
      structures: [{ kind: "drhd", flags: 0, size: 0, segment: 0, base: 0xfed90000, scopes: [scope] }],
    });
    expect(new Machine({ vtd: { dmar } }).device.iommu).toBeUndefined();
    expect(new Machine().device.iommu).toBeDefined();
  });
});
