import { amdIdentityAtsOff } from "@iommu-lab/amd-vi";
import { InputError, KernelOops } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import type { LabOptions } from "./lab.ts";
import { BARE, BASE, Lab, NIC, PLAIN, USER_PAGE } from "./lab.ts";

function ats(options: LabOptions, rid: number): string {
  const lab = new Lab(options).boot();
  const { iotlb } = lab.entry(rid);
  const enabled = lab.endpoint(rid).atsEnabled;
  expect(lab.platform.iommu.driver?.believesAtsEnabled(lab.device(rid))).toBe(enabled);
  return `E=${Number(enabled)} I=${Number(iotlb)}`;
}

describe("who gets ATS", () => {
  test.each([
    ["the default unit", {}, "E=1 I=1"],
    ["without GT", { gt: false }, "E=0 I=0"],
    ["without PPR", { ppr: false }, "E=0 I=0"],
    ["without GIoSup", { gioSup: false }, "E=0 I=0"],
    ["without EPHSup", { ephSup: false }, "E=0 I=0"],
    ["the emulator's EFR", { efr: 0x29d3n }, "E=0 I=0"],
    ["the emulator's EFR raised in the IVHD alone", { efr: 0x29d3n, ivhdEfr: 0x50000000029d3n }, "E=1 I=1"],
    ["a real EFR", { efr: 0x246577efa2254afan }, "E=1 I=1"],
    ["without IotlbSup", { iotlbSup: false }, "E=0 I=0"],
    ["force_isolation", { kernel: { cmdline: "amd_iommu=force_isolation" } }, "E=0 I=0"],
    ["force_isolation, passthrough", { kernel: { cmdline: "amd_iommu=force_isolation iommu=pt" } }, "E=1 I=1"],
    ["pci=noats", { kernel: { cmdline: "pci=noats" } }, "E=0 I=0"],
  ])("%s", (_name, options, expected) => {
    expect(ats(options, PLAIN)).toBe(expected);
  });

  test("the decision names what is missing", () => {
    const lab = new Lab({ ephSup: false, gioSup: false }).boot();
    const gate = lab
      .traced("decision")
      .find((one) => one.rule === "amd-capability-gate" && one.device === "0000:02:00.0");
    expect(gate).toMatchObject({ answer: "nothing", basis: "recorded" });
    expect(gate?.reason).toContain("GIoSup, EPHSup");
  });

  test("the STU is written at probe all the same", () => {
    const lab = new Lab({ gt: false }).boot();
    expect(lab.traced("config:write").filter(({ register }) => register === "ATS Control")).toHaveLength(2);
  });
});

describe("default domain", () => {
  test("IDENTITY for a function with PASIDs, lazy DMA for others", () => {
    const lab = new Lab().boot();
    expect([NIC, PLAIN, BARE].map((rid) => lab.group(rid).domain?.type)).toEqual(["IDENTITY", "DMA-FQ", "DMA-FQ"]);
  });

  test("strict DMA with NpCache or fullflush", () => {
    expect(new Lab({ npCache: true }).boot().group(PLAIN).domain?.type).toBe("DMA");
    expect(new Lab({ kernel: { cmdline: "amd_iommu=fullflush" } }).boot().group(PLAIN).domain?.type).toBe("DMA");
  });

  test("sysfs cannot put a function with PASIDs on DMA", () => {
    const lab = new Lab().boot();
    expect(() => lab.run(lab.platform.iommu.storeType(lab.group(NIC), "DMA"))).toThrow("EINVAL");
    expect(lab.group(NIC).domain?.type).toBe("IDENTITY");
  });

  test("with memory encryption it is translated, with a guest table", () => {
    const lab = new Lab({ kernel: { cmdline: "mem_encrypt=on" } }).boot();
    expect(lab.group(NIC).domain?.type).toBe("DMA-FQ");
    expect(lab.entry(NIC)).toMatchObject({ guestValid: true, guestIo: true });
  });

  test("amd_iommu=off: nothing is behind the unit", () => {
    const lab = new Lab({ kernel: { cmdline: "amd_iommu=off" } }).boot();
    expect(lab.platform.iommu.driver).toBeUndefined();
    expect(lab.endpoint(NIC).untranslatedWrite(lab.buffer(), 0, 1).status).toBe("success");
  });
});

describe("reserved regions", () => {
  const regions = (options: LabOptions): string[] => {
    const lab = new Lab(options).boot();
    const found = lab.platform.iommu.driver?.reservedRegions(lab.device(NIC)) ?? [];
    return found.map(({ page, count, type }) => `${type} 0x${page.toString(16)}+0x${count.toString(16)}`);
  };

  test("interrupts and HyperTransport", () => {
    expect(regions({})).toEqual(["msi 0xfee00+0x100", "reserved 0xfd00000+0x300000"]);
    expect(regions({ efr2: 0x800n })).toEqual(["msi 0xfee00+0x100"]);
  });

  test("firmware's unity maps, for the devices they name", () => {
    const map = { page: 0x9b000, count: 16, read: true, write: true };
    expect(regions({ unityMaps: [{ first: NIC, last: NIC, ...map }] })[0]).toBe("direct 0x9b000+0x10");
    expect(regions({ unityMaps: [{ first: PLAIN, last: PLAIN, ...map }] })).toHaveLength(2);
  });
});

describe("options", () => {
  test("what no machine has", () => {
    expect(() => new Lab({ base: 0x1234 })).toThrow(InputError);
    expect(() => new Lab({ pasidBits: 0 })).toThrow(InputError);
  });

  test("PASIDs of more than 16 bits stop the kernel", () => {
    expect(() => new Lab({ pasidBits: 20 }).boot()).toThrow(KernelOops);
  });

  test("a slot that holds no policy", () => {
    expect(() => new Lab({ kernel: { slots: { "ats:amd-vi": { id: "x" } } } }).boot()).toThrow(InputError);
  });

  test("a device that no unit serves has no IOMMU", () => {
    const lab = new Lab({ devices: [{ first: 0, last: 0x01ff }] }).boot();
    expect(lab.device(PLAIN).iommu).toBeUndefined();
    expect(lab.device(NIC).iommu).toBeDefined();
    expect(lab.platform.mmio.at(BASE)?.name).toBe("ivhd0");
  });
});

describe("amd-identity-ats-off", () => {
  const kernel = { slots: { "ats:amd-vi": amdIdentityAtsOff } };

  test("IDENTITY without ATS; the first PASID turns it on, the last one off; I follows", () => {
    const lab = new Lab({ kernel }).boot();
    const { iommu } = lab.platform;
    const state = (): string => `E=${Number(lab.endpoint(NIC).atsEnabled)} I=${Number(lab.entry(NIC).iotlb)}`;
    expect(state()).toBe("E=0 I=0");
    const domain = iommu.allocSva(lab.device(NIC), lab.process(lab.buffer()));
    for (const pasid of [1, 2]) {
      lab.run(iommu.attachPasid(domain, lab.device(NIC), pasid));
      expect(state()).toBe("E=1 I=1");
    }
    lab.endpoint(NIC).dmaWrite(USER_PAGE, 0, 1, 2);
    expect(lab.endpoint(NIC).atc.size).toBe(1);
    lab.run(iommu.detachPasid(lab.device(NIC), 1));
    expect(state()).toBe("E=1 I=1");
    lab.run(iommu.detachPasid(lab.device(NIC), 2));
    expect(state()).toBe("E=0 I=0");
    expect(lab.traced("decision").findLast(({ rule }) => rule === "amd-identity-ats-off")?.answer).toBe("ATS off");
  });

  test("translated domains keep ATS", () => {
    const lab = new Lab({ kernel }).boot();
    expect(lab.endpoint(PLAIN).atsEnabled).toBe(true);
  });
});
