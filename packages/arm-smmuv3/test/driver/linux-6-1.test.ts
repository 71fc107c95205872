import { type Domain, type Op, PROT_READ, PROT_WRITE } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { ACCELERATOR, Lab, type LabOptions } from "../support/lab.ts";

function lab61(options: LabOptions = {}): Lab {
  return new Lab({ version: "6.1", ...options });
}

/** Commands, STE kinds and Enable bits, in order. */
function orderOf(lab: Lab, op: Op<unknown>): string[] {
  return lab.steps(op).flatMap((step) => {
    const word = /^(?:ATC_INV|TLBI_\w+|ats on|ats off|ste: V=1 Config=\w+)/.exec(step)?.[0];
    return word === undefined ? [] : [word];
  });
}

function domainOf(lab: Lab): Domain {
  const domain = lab.platform.iommu.allocPaging(lab.device, { pasid: false });
  if (domain.map !== undefined) {
    lab.run(domain.map(7, 0x50000, 1, PROT_READ | PROT_WRITE));
  }
  return domain;
}

describe("Linux 6.1", () => {
  it("every switch goes through an aborting STE with ATS off", () => {
    const lab = lab61();
    const domain = domainOf(lab);
    expect(lab.atsEnabled).toBe(true);
    expect(orderOf(lab, lab.platform.iommu.setGroupDomain(lab.group, domain))).toEqual([
      "ats off",
      "ATC_INV",
      "ste: V=1 Config=abort",
      "ste: V=1 Config=abort",
      "ste: V=1 Config=S1",
      "ATC_INV",
      "ats on",
    ]);
  });

  it("IDENTITY bypasses without ATS, also for a function that requires it", () => {
    const lab = lab61({ device: ACCELERATOR, kernel: { cmdline: "iommu.passthrough=1" } });
    expect(lab.group.domain?.type).toBe("IDENTITY");
    expect(lab.ste()).toEqual(["0x9", "0x100000000000"]);
    expect(lab.atsEnabled).toBe(false);
  });

  it("BLOCKED is an empty paging domain, so ATS is on", () => {
    const lab = lab61();
    lab.run(lab.platform.iommu.claimGroup(lab.group, "user"));
    expect(lab.group.domain?.type).toBe("UNMANAGED");
    expect(lab.atsEnabled).toBe(true);
    expect(lab.endpoint.untranslatedWrite(7, 0, 1).status).toBe("UR");
  });

  it("the table of context descriptors is the domain's: a function with other PASIDs is refused, and left blocked", () => {
    const lab = lab61();
    const port = lab.deviceAt("00:01.0");
    const domain = domainOf(lab);
    lab.run(domain.attach(lab.device, undefined));
    expect(() => lab.run(domain.attach(port, undefined))).toThrow("EINVAL");
    expect(lab.ste(8)[0]).toBe("0x1");
  });

  it("a function that goes is detached", () => {
    const lab = lab61();
    expect(orderOf(lab, lab.bus.remove(lab.device)).slice(0, 3)).toEqual([
      "ats off",
      "ATC_INV",
      "ste: V=1 Config=abort",
    ]);
    expect(lab.ste()[0]).toBe("0x1");
  });
});
