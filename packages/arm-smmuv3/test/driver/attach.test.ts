import type { Domain, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { ACCELERATOR, Lab, RECORDED, WITHOUT_PASID } from "../support/lab.ts";

const EMPTY = "cd: V=0";
const CD = "cd: V=1 ASID=… TTB0=… T0SZ=16 A R ASET";
const CFGI_CD = "CFGI_CD SSID=0 leaf + SYNC";
const CFGI_STE = "CFGI_STE leaf + SYNC";
const PREFETCH = "PREFETCH_CONFIG";
const INV_ALL = "ATC_INV all + SYNC";
const ABORT = "ste: V=1 Config=abort";
const BYPASS = "ste: V=1 Config=bypass";

const clearsCd = [EMPTY, CFGI_CD, EMPTY, CFGI_CD];
const fillsCd = [EMPTY, CFGI_CD, CD, CFGI_CD];

/** Order and number of all that each attach does, as the recorded kernel did it (7.2, function without PASIDs). */
describe("a function with ATS", () => {
  const S1 = "ste: V=1 Config=S1 S1ContextPtr=… S1CDMax=0 EATS=full";

  function lab(): Lab {
    return new Lab({ device: WITHOUT_PASID, smmu: RECORDED });
  }

  it("first attach, DMA: table, permission, ATC, Enable", () => {
    const one = lab();
    const attach = one.recorder.events.find(
      (event) => event.type === "domain:attach" && event.device === "0000:01:00.0",
    );
    expect(one.since(attach?.id ?? 0)).toEqual([
      ...fillsCd,
      ABORT,
      CFGI_STE,
      S1,
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
    ]);
    expect(one.ste()).toEqual(["0xb", "0x100000d6"]);
    expect(one.driver.believesAtsEnabled(one.device)).toBe(true);
  });

  it("DMA → IDENTITY: Enable, permission, ATC; then the ASID and the descriptor go", () => {
    const one = lab();
    expect(one.steps(one.platform.iommu.storeType(one.group, "identity"))).toEqual([
      "ats off",
      BYPASS,
      CFGI_STE,
      BYPASS,
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "TLBI_NH_ASID ASID=2 + SYNC",
      ...clearsCd,
    ]);
    expect(one.ste()).toEqual(["0x9", "0x0"]);
  });

  it("IDENTITY → DMA", () => {
    const one = lab();
    one.run(one.platform.iommu.storeType(one.group, "identity"));
    expect(one.steps(one.platform.iommu.storeType(one.group, "DMA"))).toEqual([
      ...fillsCd,
      BYPASS,
      CFGI_STE,
      S1,
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
    ]);
    expect(one.ste()).toEqual(["0xb", "0x100000d6"]);
  });

  it("DMA → another DMA: the descriptor is invalid for a moment, the STE is not touched", () => {
    const one = lab();
    one.run(one.platform.iommu.storeType(one.group, "DMA-FQ"));
    expect(one.steps(one.platform.iommu.storeType(one.group, "DMA"))).toEqual([
      EMPTY,
      CFGI_CD,
      EMPTY,
      CFGI_CD,
      CD,
      CFGI_CD,
      PREFETCH,
      INV_ALL,
      "TLBI_NH_ASID ASID=2 + SYNC",
    ]);
  });

  it("IDENTITY → BLOCKED → IDENTITY: the STE alone", () => {
    const one = lab();
    const { iommu } = one.platform;
    one.run(iommu.storeType(one.group, "identity"));
    expect(one.steps(iommu.claimGroup(one.group, "user"))).toEqual([ABORT, CFGI_STE, PREFETCH]);
    expect(one.ste()).toEqual(["0x1", "0x0"]);
    expect(one.steps(iommu.releaseGroup(one.group))).toEqual([BYPASS, CFGI_STE, PREFETCH]);
  });

  const blocks = [
    "ats off",
    ABORT,
    CFGI_STE,
    ABORT,
    CFGI_STE,
    PREFETCH,
    INV_ALL,
    "TLBI_NH_ASID ASID=2 + SYNC",
    ...clearsCd,
  ];

  it("a function level reset: blocked, then the same domain again, then config space", () => {
    const one = lab();
    expect(one.steps(one.bus.resetFunction(one.device))).toEqual([
      ...blocks,
      ...fillsCd,
      ABORT,
      CFGI_STE,
      S1,
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
      "ats on",
    ]);
  });

  it("removal: blocked; its StreamID may be taken again", () => {
    const one = lab();
    const { device } = one;
    expect(one.steps(one.bus.remove(device))).toEqual(blocks);
    expect(one.ste()).toEqual(["0x1", "0x0"]);
    expect(one.driver.believesAtsEnabled(device)).toBe(false);
  });

  it("binding and unbinding a driver changes nothing", () => {
    const one = lab();
    expect(one.steps(one.bus.bind(one.device, { name: "nic", managesDma: false }))).toEqual([]);
    expect(one.steps(one.bus.unbind(one.device))).toEqual([]);
  });
});

/** The recorded kernel with a function that requires ATS. */
describe("a function that requires ATS", () => {
  function lab(): Lab {
    return new Lab({ device: { ...WITHOUT_PASID, cxl: { cache: true, io: true, mem: false } }, smmu: RECORDED });
  }
  const S1 = (dss: string): string => `ste: V=1 Config=S1 S1ContextPtr=… S1CDMax=1 S1Fmt=linear S1DSS=${dss} EATS=full`;

  it("has two context descriptors, so that S1DSS counts", () => {
    const one = lab();
    expect(one.ste()).toEqual(["0x80000000000000b", "0x100000d6"]);
  });

  it("keeps ATS on IDENTITY", () => {
    const one = lab();
    expect(one.steps(one.platform.iommu.storeType(one.group, "identity"))).toEqual([
      S1("bypass"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "TLBI_NH_ASID ASID=2 + SYNC",
      ...clearsCd,
    ]);
    expect(one.ste()).toEqual(["0x80000000000000b", "0x100000d5"]);
    expect(one.steps(one.platform.iommu.storeType(one.group, "DMA"))).toEqual([
      ...fillsCd,
      S1("SSID0"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
    ]);
  });

  it("loses ATS on BLOCKED", () => {
    const one = lab();
    one.run(one.platform.iommu.storeType(one.group, "identity"));
    expect(one.steps(one.platform.iommu.claimGroup(one.group, "user"))).toEqual([
      "ats off",
      ABORT,
      CFGI_STE,
      ABORT,
      CFGI_STE,
      PREFETCH,
      INV_ALL,
    ]);
    expect(one.ste()).toEqual(["0x1", "0x0"]);
    expect(one.steps(one.platform.iommu.releaseGroup(one.group))).toEqual([
      ABORT,
      CFGI_STE,
      S1("bypass"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
    ]);
  });

  it("first attach to IDENTITY: no context descriptor is needed", () => {
    const one = new Lab({ device: ACCELERATOR, kernel: { cmdline: "iommu.passthrough=1" } });
    expect(one.ste()).toEqual(["0xa00000000000002b", "0x100000d5"]);
    expect(one.atsEnabled).toBe(true);
    expect(one.since(0).filter((text) => text.startsWith("l1cd") || text.startsWith("warn"))).toEqual([]);
  });
});

describe("attaches that are refused", () => {
  function errno(one: Lab, op: Op<unknown>): string {
    try {
      one.run(op);
      return "0";
    } catch (error) {
      if (error instanceof KernelError) {
        return error.errno;
      }
      throw error;
    }
  }

  it("an SVA domain on the RID", () => {
    const one = new Lab();
    const process = { name: "p", root: 0x50000000, formatName: "vmsav8-64-process-4k" };
    const domain = one.platform.iommu.allocSva(one.device, process);
    const before = one.ste();
    expect(errno(one, domain.attach(one.device, one.group.domain))).toBe("EOPNOTSUPP");
    expect(one.ste()).toEqual(before);
  });

  it("a process in another table format, and SVA on an SMMU with 8-bit ASIDs", () => {
    const one = new Lab();
    const process = { name: "p", root: 0x50000000, formatName: "x86-64" };
    expect(() => one.platform.iommu.allocSva(one.device, process)).toThrow("EINVAL");
    const small = new Lab({ smmu: { idr: { idr0: 0x0dc9049b } } });
    expect(() =>
      small.platform.iommu.allocSva(small.device, { ...process, formatName: "vmsav8-64-process-4k" }),
    ).toThrow("EOPNOTSUPP");
  });

  it("a device that no SMMU serves", () => {
    const one = new Lab({ smmu: { instances: [{ serves: [{ first: 0, last: 0xff }] }] } });
    expect(one.device.iommu).toBeUndefined();
    expect(() => one.driver.allocPaging(one.device, { type: "UNMANAGED", pasid: false })).toThrow("ENODEV");
  });

  it("a paging domain on an SMMU without stage 1", () => {
    const one = new Lab({ smmu: { idr: { idr0: 0x0dcd1499 } }, kernel: { cmdline: "iommu.passthrough=1" } });
    expect(() => one.driver.allocPaging(one.device, { type: "UNMANAGED", pasid: false })).toThrow("EOPNOTSUPP");
  });
});

it("ASIDs: the lowest free one, given back with the domain", () => {
  const one = new Lab();
  const { iommu } = one.platform;
  const asidOf = (domain: Domain): unknown => ("asid" in domain ? domain.asid : undefined);
  const first = iommu.allocPaging(one.device, { pasid: false });
  const second = iommu.allocPaging(one.device, { pasid: true });
  expect([asidOf(first), asidOf(second)]).toEqual([3, 4]);
  first.free?.();
  expect(asidOf(iommu.allocPaging(one.device, { pasid: false }))).toBe(3);
});

it("the STE of a bypass uses incoming attributes where they can be overridden", () => {
  const one = new Lab({ smmu: { attributeOverride: true }, kernel: { cmdline: "iommu.passthrough=1" } });
  expect(one.ste()).toEqual(["0x9", "0x100000000000"]);
});

it("with EL2 the EL2-E2H regime and its commands are used", () => {
  const one = new Lab({ smmu: { el2: true } });
  expect(one.ste()[1]).toBe("0x900000d6");
  expect(one.since(0).slice(0, 3)).toEqual(["CFGI_ALL + SYNC", "TLBI_EL2_ALL + SYNC", "TLBI_NSNH_ALL + SYNC"]);
  const iova = one.run(one.platform.iommu.dma.map(one.device, 0x50000, 1, 3));
  expect(one.steps(one.platform.iommu.dma.unmap(one.device, iova, 1))[0]).toBe(
    "TLBI_EL2_VA ASID=2 page 0xfffff 1 granules of 4 KiB leaf + SYNC",
  );
});

it("where faults may stall, a PCI function's may not", () => {
  const one = new Lab({ smmu: { stall: true } });
  expect(one.ste()[1]).toBe("0x180000d6");
});
