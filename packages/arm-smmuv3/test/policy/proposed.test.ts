import type { AtsPolicy } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { ATS_SLOT } from "../../src/ats-policy.ts";
import { blockedMeansAtsOff, identityAtsOff, smmuv3AtProbe, userspaceOptIn } from "../../src/policy/proposed.ts";
import { ACCELERATOR, Lab, NIC } from "../support/lab.ts";

function lab(policy: AtsPolicy, device: typeof NIC = NIC, cmdline: string = ""): Lab {
  return new Lab({ device, kernel: { cmdline, slots: { [ATS_SLOT]: policy } } });
}

describe("policies that were discussed", () => {
  it("blocked-means-ats-off: with a PASID attached, Translated requests of the RID are refused too", () => {
    const one = lab(blockedMeansAtsOff);
    const shipped = new Lab();
    for (const each of [one, shipped]) {
      const { iommu } = each.platform;
      each.run(iommu.attachPasid(iommu.allocPaging(each.device, { pasid: true }), each.device, 1));
      each.run(iommu.setGroupDomain(each.group, iommu.blockingDomain(each.group)));
    }
    expect([one.atsEnabled, shipped.atsEnabled]).toEqual([false, true]);
    // EATS of the STE that terminates requests without PASID.
    expect([one.ste()[1], shipped.ste()[1]]).toEqual(["0xd4", "0x100000d4"]);
  });

  it("userspace-opt-in: nobody gets ATS, and a function that requires it probes all the same", () => {
    const one = lab(userspaceOptIn, ACCELERATOR);
    expect(one.group.domain?.type).toBe("DMA");
    expect(one.atsEnabled).toBe(false);
  });

  it("smmuv3-identity-ats-off: a function that requires ATS has none in IDENTITY, and has it in DMA", () => {
    expect(lab(identityAtsOff, ACCELERATOR, "iommu.passthrough=1").atsEnabled).toBe(false);
    expect(lab(identityAtsOff, ACCELERATOR).atsEnabled).toBe(true);
  });

  it("smmuv3-at-probe: ATS stays on in IDENTITY and in BLOCKED", () => {
    const one = lab(smmuv3AtProbe, NIC, "iommu.passthrough=1");
    expect(one.atsEnabled).toBe(true);
    one.run(one.platform.iommu.setGroupDomain(one.group, one.platform.iommu.blockingDomain(one.group)));
    expect(one.atsEnabled).toBe(true);
  });
});
