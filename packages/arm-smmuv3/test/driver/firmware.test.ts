import { InputError, KernelError } from "@iommu-lab/core";
import { AT_UNTRANSLATED, FABRIC, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { buildIort } from "../../src/firmware/iort-build.ts";
import { encodeIort } from "../../src/firmware/iort-encode.ts";
import { REG } from "../../src/layout/registers.ts";
import { SMMUV3_INSTANCES, smmuv3 } from "../../src/plugin.ts";
import { Lab, NIC } from "../support/lab.ts";

const RMR = { rids: [0x100], base: 0x88000000, length: 0x20000 };

describe("which SMMU serves a function", () => {
  const lab = new Lab({
    smmu: {
      instances: [
        { serves: [{ first: 0, last: 0xff }] },
        { name: "second", serves: [{ first: 0x100, last: 0x1ff, sid: 0x4000 }] },
      ],
    },
  });

  it("the IORT in memory says so, with its StreamID", () => {
    expect(lab.driver.masterOf(lab.device)).toMatchObject({ streams: [0x4000], smmu: { name: "second" } });
    expect(lab.driver.masterOf(lab.deviceAt("00:01.0"))).toMatchObject({ streams: [8], smmu: { name: "smmu0" } });
  });

  it("requests go to that one alone, and ATS works there", () => {
    const [first, second] = lab.platform.host.get(SMMUV3_INSTANCES);
    expect(lab.platform.host.get(FABRIC).iommuOf(0x100)).toBe(second);
    expect(first?.read32(REG.cr0Ack)).toBe(0x1f);
    expect(second?.read32(REG.cr0Ack)).toBe(0x1f);
    expect(lab.atsEnabled).toBe(true);
  });

  it("a domain of one SMMU cannot be attached to a device of the other", () => {
    const domain = lab.platform.iommu.allocPaging(lab.deviceAt("00:01.0"), { pasid: false });
    expect(() => lab.run(domain.attach(lab.device, undefined))).toThrow(KernelError);
  });
});

describe("firmware that disagrees with the wiring", () => {
  it("leaves a function that it does not name without translation: its DMA is aborted by the STE nobody wrote", () => {
    const table = buildIort({
      smmus: [{ base: 0x09050000, flags: 1 }],
      rootComplexes: [{ segment: 0, ats: true, ranges: [{ first: 0, last: 0xff, output: 0, smmu: 0 }] }],
      reserved: [],
    });
    const lab = new Lab({ smmu: { firmware: encodeIort(table) } });
    expect(lab.device.iommu).toBeUndefined();
    const result = lab.hardware.translate(0x100, NO_PASID, 1, 0, AT_UNTRANSLATED | REQUEST_WRITE);
    expect(result.status).toBe("UR");
  });

  it("that does not say coherent makes the driver take the SMMU for incoherent: no SVA", () => {
    const table = buildIort({
      smmus: [{ base: 0x09050000, flags: 0 }],
      rootComplexes: [{ segment: 0, ats: true, ranges: [{ first: 0, last: 0xffff, output: 0, smmu: 0 }] }],
      reserved: [],
    });
    const lab = new Lab({ smmu: { firmware: encodeIort(table) } });
    expect(lab.smmu.features).toMatchObject({ coherent: false, sva: false });
  });

  it("a broken table is refused before anything boots", () => {
    expect(() => smmuv3({ firmware: new Uint8Array(36) })).toThrow(InputError);
    expect(() => smmuv3({ instances: [] })).toThrow("instances is empty");
    expect(() => smmuv3({ firmware: "device-tree", reservedMemory: [RMR] })).toThrow("needs an IORT");
  });
});

describe("reserved memory", () => {
  const regions = (lab: Lab): unknown =>
    lab.driver.reservedRegions(lab.device).map(({ type, page, count }) => [type, page, count]);

  it("is a direct region of the function, mapped 1:1 into its DMA domain", () => {
    const lab = new Lab({ smmu: { reservedMemory: [RMR] } });
    expect(regions(lab)).toEqual([
      ["sw-msi", 0x8000, 0x100],
      ["direct", 0x88000, 0x20],
    ]);
    expect(lab.group.domain?.lookup?.(0x8801f)).toBe(0x8801f);
    expect(lab.device.iommu?.requireDirect).toBe(true);
  });

  it("counts only where the PCI configuration was preserved", () => {
    expect(regions(new Lab({ smmu: { reservedMemory: [RMR], preservesConfig: false } }))).toEqual([
      ["sw-msi", 0x8000, 0x100],
    ]);
  });

  it("its streams bypass from the moment the SMMU is taken over; the others abort", () => {
    // A function that is not there yet: nobody attaches it.
    const lab = new Lab({ smmu: { reservedMemory: [{ ...RMR, rids: [0x208] }] }, device: NIC });
    expect(lab.ste(0x208)).toEqual(["0x9", "0x0"]);
    expect(lab.ste(0x209)).toEqual(["0x1", "0x0"]);
  });
});
