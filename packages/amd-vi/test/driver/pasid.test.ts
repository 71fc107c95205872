import { KernelError, KernelOops } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { Lab, NIC, PLAIN, USER_PAGE } from "./lab.ts";

/** The errno of a refused operation. */
function errno(body: () => void): string {
  try {
    body();
  } catch (error) {
    if (error instanceof KernelError) {
      return error.errno;
    }
    throw error;
  }
  return "0";
}

/** A machine whose NIC has the process's page at PASIDs. */
function withPasid(...pasids: readonly number[]): { lab: Lab; target: number; domain: ReturnType<Lab["paging"]> } {
  const lab = new Lab().boot();
  const target = lab.buffer();
  const domain = lab.platform.iommu.allocSva(lab.device(NIC), lab.process(target));
  for (const pasid of pasids) {
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device(NIC), pasid));
  }
  return { lab, target, domain };
}

function write(lab: Lab, pasid: number): string {
  const result = lab.endpoint(NIC).untranslatedWrite(USER_PAGE, 0, 0x1234, pasid);
  return result.sent ? result.status : result.reason;
}

describe("SVA", () => {
  test("a PASID gets the process's table: entry, IOTLB, ATC, wait; ATS stays as it is", () => {
    const { lab, target, domain } = withPasid();
    const lines = lab.watch(() => {
      lab.run(lab.platform.iommu.attachPasid(domain, lab.device(NIC), 0x203));
    });
    const id = lab.entry(NIC).domainId.toString(16).padStart(4, "0");
    expect(lines[0]).toMatch(/^gcr3\[515\] 0x[0-9a-f]+001$/);
    expect(lines.slice(1)).toEqual([
      `0x3000${id}00000203 0x7ffffffffffff007`,
      "0x4003010020020100 0x7ffffffffffff005",
      "wait",
    ]);
    expect(write(lab, 0x203)).toBe("success");
    expect(lab.platform.memory.load32(target * 4096)).toBe(0x1234);
    expect(write(lab, 0x202)).toBe("CA");
  });

  test("removed: the page is out of reach, for the ATC too", () => {
    const { lab } = withPasid(1);
    const endpoint = lab.endpoint(NIC);
    endpoint.dmaWrite(USER_PAGE, 0, 1, 1);
    expect(endpoint.atc.size).toBe(1);
    const lines = lab.watch(() => {
      lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 1));
    });
    expect(lines.map((line) => line.split(" ")[0]?.slice(0, 8))).toEqual(["gcr3[1]", "0x300000", "0x400101", "wait"]);
    expect(endpoint.atc.size).toBe(0);
    expect(write(lab, 1)).toBe("CA");
    expect(lab.entry(NIC).iotlb).toBe(true);
  });

  test("beside a v2 domain on the RID", () => {
    const { lab, domain } = withPasid();
    const target = lab.buffer();
    lab.attach(NIC, lab.paging(NIC, target, true));
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device(NIC), 1));
    expect(write(lab, 1)).toBe("success");
    lab.endpoint(NIC).untranslatedWrite(USER_PAGE, 0, 0x77);
    expect(lab.platform.memory.load32(target * 4096)).toBe(0x77);
  });
});

describe("what is refused", () => {
  test("a paging domain on a PASID", () => {
    const { lab } = withPasid();
    const paging = lab.paging(NIC, lab.buffer(), true);
    expect(errno(() => lab.run(lab.platform.iommu.attachPasid(paging, lab.device(NIC), 1)))).toBe("EOPNOTSUPP");
  });

  test("a replacement", () => {
    const { lab } = withPasid(1);
    const other = lab.platform.iommu.allocSva(lab.device(NIC), lab.process(lab.buffer()));
    expect(errno(() => lab.run(lab.platform.iommu.replacePasid(other, lab.device(NIC), 1)))).toBe("EOPNOTSUPP");
  });

  test("a PASID beyond 16 bits, on a RID in BLOCKED, on a RID with a v1 table", () => {
    const { lab, domain } = withPasid();
    const { iommu } = lab.platform;
    const attach = (pasid: number): string => errno(() => lab.run(iommu.attachPasid(domain, lab.device(NIC), pasid)));
    expect(attach(0xffff)).toBe("EINVAL");
    expect(attach(0xfffe)).toBe("0");
    lab.run(iommu.detachPasid(lab.device(NIC), 0xfffe));
    lab.attach(NIC, iommu.driver?.blocked);
    expect(attach(1)).toBe("EINVAL");
    lab.attach(NIC, lab.paging(NIC, lab.buffer()));
    expect(attach(1)).toBe("EINVAL");
  });

  test("more PASIDs than the unit's GCR3 tables hold: IDENTITY cannot be attached", () => {
    const lab = new Lab({ pasidBits: 16, glx: 0 }).boot();
    expect(lab.traced("domain:attached").find(({ device }) => device === "0000:01:00.0")?.result).toBe("EINVAL");
    expect(lab.entry(NIC)).toMatchObject({ valid: true, read: false, write: false });
  });

  test("process tables of another format", () => {
    const { lab } = withPasid();
    const process = { name: "arm", root: 0x1000, formatName: "vmsav8-64" };
    expect(errno(() => lab.platform.iommu.allocSva(lab.device(NIC), process))).toBe("EINVAL");
  });
});

describe("BLOCKED on the RID while a PASID is attached", () => {
  function blocked(...pasids: readonly number[]): ReturnType<typeof withPasid> {
    const made = withPasid();
    const { lab, domain } = made;
    lab.attach(NIC, lab.paging(NIC, lab.buffer(), true));
    for (const pasid of pasids) {
      lab.run(lab.platform.iommu.attachPasid(domain, lab.device(NIC), pasid));
    }
    lab.attach(NIC, lab.platform.iommu.driver?.blocked);
    return made;
  }

  test("the GCR3 table goes with the RID's domain: the core still lists the PASID, which reaches nothing", () => {
    const { lab } = blocked(1);
    expect(lab.group(NIC).pasids.size).toBe(1);
    expect(lab.dte(NIC).slice(0, 2)).toEqual(["0x0000000000000001", "0x0000000000000000"]);
    const endpoint = lab.endpoint(NIC);
    expect(endpoint.atsEnabled).toBe(false);
    endpoint.obeys.pasidEnable = false;
    expect(write(lab, 1)).toBe("CA");
    expect(lab.traced("decision").at(-1)).toMatchObject({
      rule: "amd-gcr3-goes-with-rid-domain",
      answer: "GCR3 table freed",
    });
  });

  test("removing the PASID then stores through a NULL pointer; the locks stay held", () => {
    const { lab } = blocked(1);
    expect(() => lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 1))).toThrow(KernelOops);
    expect(() => lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 1))).toThrow(/mutex, held by/);
    expect(lab.traced("pasid:done").at(-1)).toMatchObject({ pasid: 1, result: "oops" });
  });

  test("the message names the address and how sure this is", () => {
    const { lab } = blocked(3);
    expect(() => lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 3))).toThrow(
      /NULL pointer dereference, address 0x18, in update_gcr3\(\): PASID 3 of 0000:01:00.0.*derived, not executed/,
    );
  });

  test("a PASID whose entry is the first of a table looks like a failed allocation, which nobody looks at", () => {
    const { lab } = blocked(0x200);
    const lines = lab.watch(() => {
      lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 0x200));
    });
    expect(lines).toEqual([]);
    expect(lab.group(NIC).pasids.size).toBe(0);
  });

  test("attached to a domain again, the RID has a new table without the PASID; then it can be removed", () => {
    const { lab } = blocked(1);
    lab.attach(NIC, lab.platform.iommu.driver?.identity);
    const { iotlb } = lab.entry(NIC);
    expect(iotlb).toBe(true);
    lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 1));
    expect(write(lab, 1)).toBe("CA");
  });

  test("its translations outlive the table: no command named the PASID, and the domain ID is handed out again", () => {
    const { lab, domain, target } = withPasid();
    lab.attach(NIC, lab.paging(NIC, lab.buffer(), true));
    lab.run(lab.platform.iommu.attachPasid(domain, lab.device(NIC), 1));
    const { domainId } = lab.entry(NIC);
    expect(write(lab, 1)).toBe("success");
    lab.attach(NIC, lab.platform.iommu.driver?.blocked);
    lab.attach(NIC, lab.platform.iommu.driver?.identity);
    expect(lab.entry(NIC).domainId).toBe(domainId);
    lab.platform.memory.store32(target * 4096, 0);
    expect(write(lab, 1)).toBe("success");
    expect(lab.platform.memory.load32(target * 4096)).toBe(0x1234);
    lab.run(lab.platform.iommu.detachPasid(lab.device(NIC), 1));
    expect(write(lab, 1)).toBe("CA");
  });

  test("a reset does the same to itself: prepare blocks the RID, then removes the PASID", () => {
    const { lab } = withPasid(1);
    expect(() => lab.run(lab.bus.resetFunction(lab.device(NIC)))).toThrow(KernelOops);
  });

  test("a reset of a PASID that does not oops: the core puts it back, the driver refuses", () => {
    const { lab } = withPasid(0x200);
    lab.run(lab.bus.resetFunction(lab.device(NIC)));
    expect(lab.traced("warn").map(({ where, what }) => `${where} ${what.slice(0, 10)}`)).toEqual([
      "pci_dev_reset_iommu_done EOPNOTSUPP",
    ]);
    expect(write(lab, 0x200)).toBe("CA");
  });
});

test("a function without PASIDs is in IDENTITY without a GCR3 table", () => {
  const lab = new Lab({ kernel: { cmdline: "iommu.passthrough=1" } }).boot();
  expect(lab.entry(PLAIN)).toMatchObject({ guestValid: false, mode: 0, iotlb: true });
});
