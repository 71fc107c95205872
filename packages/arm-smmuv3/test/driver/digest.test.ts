import { Digest, type Domain, type Op } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { Lab } from "../support/lab.ts";

function digestOf(lab: Lab): string {
  const digest = new Digest();
  lab.driver.digest(digest);
  return digest.value;
}

function domainOf(lab: Lab): Domain {
  return lab.platform.iommu.allocPaging(lab.device, { pasid: true });
}

describe("the digest of the driver", () => {
  it("is the same for the same history", () => {
    const [one, other] = [new Lab(), new Lab()];
    expect(digestOf(one)).toBe(digestOf(other));
    for (const lab of [one, other]) {
      lab.run(lab.platform.iommu.setGroupDomain(lab.group, domainOf(lab)));
    }
    expect(digestOf(one)).toBe(digestOf(other));
  });

  it.each<[string, (lab: Lab, domain: Domain) => Op<unknown>]>([
    ["another domain", (lab, domain) => lab.platform.iommu.setGroupDomain(lab.group, domain)],
    ["BLOCKED", (lab) => lab.platform.iommu.setGroupDomain(lab.group, lab.platform.iommu.blockingDomain(lab.group))],
    ["a PASID", (lab, domain) => lab.platform.iommu.attachPasid(domain, lab.device, 1)],
    ["a PASID in another leaf", (lab, domain) => lab.platform.iommu.attachPasid(domain, lab.device, 5000)],
    ["a function that goes", (lab) => lab.bus.remove(lab.device)],
  ])("changes with %s", (_what, change) => {
    const lab = new Lab();
    const domain = domainOf(lab);
    const before = digestOf(lab);
    lab.run(change(lab, domain));
    expect(digestOf(lab)).not.toBe(before);
  });

  it("changes with a domain that nobody is on, and comes back when it is freed", () => {
    const lab = new Lab();
    const before = digestOf(lab);
    const domain = domainOf(lab);
    expect(digestOf(lab)).not.toBe(before);
    domain.free?.();
    expect(digestOf(lab)).toBe(before);
  });
});
