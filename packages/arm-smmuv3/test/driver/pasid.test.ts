import type { Domain } from "@iommu-lab/core";
import { KernelOops, PROT_READ, PROT_WRITE, Process } from "@iommu-lab/core";
import { NO_PASID, rootPortConfig } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { SvaDomain } from "../../src/driver/domains.ts";
import { vmsav8_64Process } from "../../src/layout/vmsav8-64.ts";
import { ACCELERATOR, Lab, type LabOptions, RECORDED } from "../support/lab.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGE = 0x12345;

const CFGI = "CFGI_CD SSID=1 leaf + SYNC";
const EMPTY = "cd 1: V=0";
const CD = "cd 1: V=1 ASID=… TTB0=… T0SZ=16 A R ASET";
const CFGI_STE = "CFGI_STE leaf + SYNC";
const PREFETCH = "PREFETCH_CONFIG";
const INV_ALL = "ATC_INV all + SYNC";
const INV_PASID = "ATC_INV SSID=1 all + SYNC";
const fills = [EMPTY, CFGI, CD, CFGI];
const clears = [EMPTY, CFGI, EMPTY, CFGI];
const table = (dss: string): string =>
  `ste: V=1 Config=S1 S1ContextPtr=… S1CDMax=10 S1Fmt=linear S1DSS=${dss} EATS=full`;

interface Attached {
  readonly lab: Lab;
  readonly domain: Domain;
  /** Host page that the domain maps at {@link PAGE}. */
  readonly host: number;
}

function start(options: LabOptions, type: "identity" | "DMA"): Attached {
  const lab = new Lab({ smmu: RECORDED, ...options });
  if (type === "identity") {
    lab.run(lab.platform.iommu.storeType(lab.group, "identity"));
  }
  const host = lab.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
  const domain = lab.platform.iommu.allocPaging(lab.device, { pasid: true });
  if (domain.map !== undefined) {
    lab.run(domain.map(PAGE, host, 1, RW));
  }
  return { lab, domain, host };
}

describe("the first and the last PASID", () => {
  it("RID on IDENTITY: ATS comes and goes with them", () => {
    const { lab, domain, host } = start({}, "identity");
    const { iommu } = lab.platform;
    expect(lab.atsEnabled).toBe(false);
    expect(lab.steps(iommu.attachPasid(domain, lab.device, 1))).toEqual([
      ...fills,
      "ste: V=1 Config=bypass",
      CFGI_STE,
      table("bypass"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
    ]);
    expect(lab.ste()).toEqual(["0x500000000000000b", "0x100000d5"]);
    expect(lab.endpoint.untranslatedRead(host, 0).status).toBe("success");
    expect(lab.endpoint.dmaWrite(PAGE, 0, 7, 1).status).toBe("success");
    expect(lab.platform.memory.load32(host * 4096)).toBe(7);
    expect(lab.steps(iommu.detachPasid(lab.device, 1))).toEqual([
      ...clears,
      INV_PASID,
      "TLBI_NH_ASID ASID=2 + SYNC",
      "ats off",
      "ste: V=1 Config=bypass",
      CFGI_STE,
      "ste: V=1 Config=bypass",
      CFGI_STE,
      PREFETCH,
      INV_ALL,
    ]);
    expect(lab.ste()).toEqual(["0x9", "0x0"]);
  });

  it("RID on IDENTITY, ATS required: ATS stays", () => {
    const { lab, domain } = start({ device: ACCELERATOR }, "identity");
    const { iommu } = lab.platform;
    expect(lab.steps(iommu.attachPasid(domain, lab.device, 1))).toEqual([...fills, INV_PASID]);
    expect(lab.steps(iommu.detachPasid(lab.device, 1))).toEqual([...clears, INV_PASID, "TLBI_NH_ASID ASID=2 + SYNC"]);
    expect(lab.atsEnabled).toBe(true);
  });

  it("RID on DMA: only the PASID's translations are invalidated", () => {
    const { lab, domain } = start({}, "DMA");
    const { iommu } = lab.platform;
    expect(lab.steps(iommu.attachPasid(domain, lab.device, 1))).toEqual([...fills, INV_PASID]);
    expect(lab.steps(iommu.detachPasid(lab.device, 1))).toEqual([...clears, INV_PASID, "TLBI_NH_ASID ASID=3 + SYNC"]);
    expect(lab.ste()).toEqual(["0x500000000000000b", "0x100000d6"]);
  });

  it("RID goes to BLOCKED while a PASID is attached: S1DSS terminates, ATS stays; then everything goes", () => {
    const { lab, domain, host } = start({}, "DMA");
    const { iommu } = lab.platform;
    lab.run(iommu.attachPasid(domain, lab.device, 1));
    expect(lab.steps(iommu.setGroupDomain(lab.group, iommu.blockingDomain(lab.group))).slice(0, 4)).toEqual([
      table("terminate"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
    ]);
    expect(lab.ste()).toEqual(["0x500000000000000b", "0x100000d4"]);
    expect(lab.endpoint.untranslatedRead(host, 0).fault).toBe("F_STREAM_DISABLED");
    expect(lab.endpoint.untranslatedRead(PAGE, 0, 1).status).toBe("success");
    expect(lab.endpoint.translatedRead(host, 0).status).toBe("success");
    expect(lab.steps(iommu.detachPasid(lab.device, 1))).toEqual([
      ...clears,
      INV_PASID,
      "TLBI_NH_ASID ASID=3 + SYNC",
      "ats off",
      "ste: V=1 Config=abort",
      CFGI_STE,
      "ste: V=1 Config=abort",
      CFGI_STE,
      PREFETCH,
      INV_ALL,
    ]);
    expect(lab.atsEnabled).toBe(false);
    lab.endpoint.obeys.enable = false;
    expect(lab.endpoint.translatedRead(host, 0).status).toBe("UR");
  });

  it("RID on BLOCKED: the first PASID turns ATS on", () => {
    const { lab, domain } = start({}, "identity");
    const { iommu } = lab.platform;
    lab.run(iommu.claimGroup(lab.group, "user"));
    expect(lab.steps(iommu.attachPasid(domain, lab.device, 1))).toEqual([
      ...fills,
      "ste: V=1 Config=abort",
      CFGI_STE,
      table("terminate"),
      CFGI_STE,
      PREFETCH,
      INV_ALL,
      "ats on",
    ]);
  });
});

describe("PASIDs", () => {
  it("survive a reset: blocked with the RID, back with it", () => {
    const { lab, domain } = start({}, "identity");
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device, 1));
    const states: [boolean, string[]][] = [];
    lab.run(
      lab.bus.resetFunction(lab.device, () => {
        states.push([lab.driver.believesAtsEnabled(lab.device), lab.ste()]);
      }),
    );
    expect(states).toEqual([
      [false, ["0x1", "0x0"]],
      [true, ["0x500000000000000b", "0x100000d5"]],
      [true, ["0x500000000000000b", "0x100000d5"]],
    ]);
    expect(lab.atsEnabled).toBe(true);
    expect(lab.endpoint.dmaRead(PAGE, 0, 1).status).toBe("success");
  });

  it("can be moved to another domain", () => {
    const { lab, domain } = start({}, "DMA");
    const { iommu } = lab.platform;
    const other = iommu.allocPaging(lab.device, { pasid: true });
    lab.run(iommu.attachPasid(domain, lab.device, 1));
    lab.endpoint.dmaRead(PAGE, 0, 1);
    expect(lab.steps(iommu.replacePasid(other, lab.device, 1))).toEqual([
      EMPTY,
      CFGI,
      EMPTY,
      CFGI,
      CD,
      CFGI,
      INV_PASID,
      "TLBI_NH_ASID ASID=3 + SYNC",
    ]);
    expect(lab.endpoint.untranslatedRead(PAGE, 0, 1).fault).toBe("F_TRANSLATION");
    expect(lab.endpoint.atc.size).toBe(0);
  });

  it("of two functions of one domain: the ASID is flushed by the last", () => {
    const { lab, domain } = start({}, "DMA");
    const { iommu } = lab.platform;
    lab.run(iommu.attachPasid(domain, lab.device, 1));
    lab.run(iommu.attachPasid(domain, lab.device, 2));
    expect(lab.steps(iommu.detachPasid(lab.device, 1))).not.toContain("TLBI_NH_ASID ASID=3 + SYNC");
    expect(lab.steps(iommu.detachPasid(lab.device, 2))).toContain("TLBI_NH_ASID ASID=3 + SYNC");
  });

  it("get a leaf of context descriptors when they first need one, and hardware is told", () => {
    const { lab, domain } = start({ smmu: {} }, "DMA");
    const steps = lab.steps(lab.platform.iommu.attachPasid(domain, lab.device, 5000));
    expect(steps.slice(0, 2)).toEqual(["l1cd: V=1 L2Ptr=…", "CFGI_CD SSID=5000 + SYNC"]);
    expect(lab.endpoint.dmaRead(PAGE, 0, 5000).status).toBe("success");
    expect(lab.steps(lab.platform.iommu.attachPasid(domain, lab.device, 5001))[0]).toBe("cd 5001: V=0");
  });

  it("whose Enable failed at probe are accepted, and cost a RID on IDENTITY its DMA", () => {
    const port = rootPortConfig({ secondary: 1, subordinate: 1, endEndTlpPrefix: false, acs: { capability: 0x5f } });
    const { lab, domain, host } = start({ port }, "identity");
    expect(lab.pciDev.pasidEnabled).toBe(false);
    expect(lab.device.iommu?.maxPasids).toBe(65536);
    expect(lab.endpoint.untranslatedRead(host, 0).status).toBe("success");
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device, 1));
    expect(lab.ste()).toEqual(["0xb", "0x100000d5"]);
    expect(lab.endpoint.untranslatedRead(host, 0).fault).toBe("C_BAD_CD");
    lab.endpoint.obeys.pasidEnable = false;
    // The port cannot read a PASID prefix; past it, the SMMU would refuse the PASID.
    expect(lab.endpoint.untranslatedRead(PAGE, 0, 1).status).toBe("malformed");
    expect(lab.hardware.translate(lab.endpoint.rid, 1, PAGE, 0, 0).fault).toBe("C_BAD_SUBSTREAMID");
    expect(
      lab.recorder.events.findLast((event) => event.type === "decision" && event.basis === "derived"),
    ).toMatchObject({
      rule: "smmuv3-pasid-beyond-table",
      answer: "accepted",
    });
    lab.run(lab.platform.iommu.detachPasid(lab.device, 1));
    expect(lab.endpoint.untranslatedRead(host, 0).status).toBe("success");
  });

  it("beyond a linear table end the kernel's operation", () => {
    const { lab, domain } = start({}, "DMA");
    expect(() => lab.run(lab.platform.iommu.attachPasid(domain, lab.device, 1024))).toThrow(KernelOops);
  });
});

describe("SVA", () => {
  function shared(): { lab: Lab; domain: SvaDomain; process: Process; host: number } {
    const lab = new Lab({ smmu: { httu: 2 } });
    const host = lab.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
    const process = new Process(lab.platform.memory, vmsav8_64Process, "process");
    process.table.map(PAGE, host, 1, RW);
    const domain = lab.platform.iommu.allocSva(lab.device, process);
    if (!(domain instanceof SvaDomain)) {
      throw new TypeError("no SVA domain");
    }
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device, 1));
    return { lab, domain, process, host };
  }

  it("lets a PASID use a process's own table", () => {
    const { lab, host } = shared();
    expect(lab.endpoint.dmaWrite(PAGE, 4, 9, 1).status).toBe("success");
    expect(lab.platform.memory.load32(host * 4096 + 4)).toBe(9);
    expect(lab.endpoint.untranslatedRead(PAGE, 4, NO_PASID).fault).toBe("F_TRANSLATION");
  });

  it("invalidates what the process unmaps: non-leaf, TLB before ATC", () => {
    const { lab, domain, process } = shared();
    lab.endpoint.dmaRead(PAGE, 0, 1);
    process.table.unmap(PAGE, 1);
    expect(lab.steps(domain.unmapped(PAGE, 1))).toEqual([
      "TLBI_NH_VA ASID=3 page 0x12345 2 granules of 4 KiB + SYNC",
      "ATC_INV SSID=1 page 0x12345 2^0 pages + SYNC",
    ]);
    expect(lab.endpoint.dmaRead(PAGE, 0, 1).fault).toBe("F_TRANSLATION");
  });

  it("after the process ended translates nothing; descriptor valid, ATS on", () => {
    const { lab, domain } = shared();
    lab.endpoint.dmaRead(PAGE, 0, 1);
    expect(lab.steps(domain.processEnds())).toEqual([
      "cd 1: V=1 ASID=… EPD0 A HA HD ASET",
      CFGI,
      "cd 1: V=1 ASID=… EPD0 A HA HD ASET",
      CFGI,
      "TLBI_NH_ASID ASID=3 + SYNC",
      INV_PASID,
    ]);
    expect(lab.endpoint.dmaRead(PAGE, 0, 1)).toMatchObject({ status: "UR", recorded: false });
    expect(lab.atsEnabled).toBe(true);
    expect(() => lab.run(domain.setPasid(lab.device, 2, undefined))).toThrow("EINVAL");
  });
});
