import type { DomainType } from "@iommu-lab/core";
import { InputError, linux } from "@iommu-lab/core";
import type { AtsEvent, AtsPolicy, AtsState } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { ATS_SLOT, atsPolicyOf, smmuv3OnDemand } from "../../src/ats-policy.ts";
import { ACCELERATOR, Lab, NIC } from "../support/lab.ts";

const events: readonly AtsEvent[] = ["probe-finalize", "rid-attach", "pasid-set", "pasid-remove", "release"];

describe("the shipped rule", () => {
  it.each([
    ["none", 0, false, false],
    ["IDENTITY", 0, false, false],
    ["IDENTITY", 1, false, true],
    ["IDENTITY", 0, true, true],
    ["DMA", 0, false, true],
    ["DMA-FQ", 0, false, true],
    ["UNMANAGED", 0, false, true],
    ["BLOCKED", 0, false, false],
    ["BLOCKED", 0, true, false],
    ["BLOCKED", 2, false, true],
  ] as const)("RID on %s, %i PASIDs, required %s: %s", (ridDomain, livePasids, required, on) => {
    for (const event of events) {
      expect(smmuv3OnDemand.wants(event, { ridDomain, livePasids, required })).toBe(on);
    }
  });

  it("a nested guest decides for itself", () => {
    const state: AtsState = { ridDomain: "UNMANAGED", livePasids: 0, required: true };
    expect(smmuv3OnDemand.wants("rid-attach", { ...state, guestWantsAts: false })).toBe(false);
    expect(smmuv3OnDemand.wants("rid-attach", { ...state, guestWantsAts: true })).toBe(true);
  });

  it("says where it was seen", () => {
    const state: AtsState = { ridDomain: "DMA", livePasids: 0, required: false };
    expect(smmuv3OnDemand.basis("rid-attach", state)).toBe("recorded");
    expect(smmuv3OnDemand.basis("pasid-set", state)).toBe("source");
    expect(smmuv3OnDemand.basis("rid-attach", { ...state, livePasids: 1 })).toBe("source");
  });
});

function policy(id: string, rule: (state: AtsState) => boolean): AtsPolicy {
  return { id, source: "test", wants: (_event, state) => rule(state), basis: () => "derived" };
}

function lab(other: AtsPolicy, device: typeof NIC = NIC, cmdline: string = "iommu.passthrough=1"): Lab {
  return new Lab({ device, kernel: { cmdline, slots: { [ATS_SLOT]: other } } });
}

describe("another policy in the kernel's slot", () => {
  it("always: IDENTITY and BLOCKED keep ATS by S1DSS", () => {
    const one = lab(policy("always", () => true));
    expect(one.ste()[1]).toBe("0x100000d5");
    expect(one.atsEnabled).toBe(true);
    expect(one.endpoint.translationRequest(0x50000)).toMatchObject({ status: "success", host: 0x50000 });
    one.run(one.platform.iommu.claimGroup(one.group, "user"));
    expect(one.ste()[1]).toBe("0x100000d4");
    expect(one.atsEnabled).toBe(true);
    expect(one.endpoint.untranslatedRead(0x50000, 0).fault).toBe("F_STREAM_DISABLED");
  });

  it("always, on an SMMU without SubstreamIDs: not possible, and said so", () => {
    const one = new Lab({
      smmu: { ssidBits: 0 },
      kernel: { cmdline: "iommu.passthrough=1", slots: { [ATS_SLOT]: policy("always", () => true) } },
    });
    expect(one.ste()).toEqual(["0x9", "0x0"]);
    expect(one.atsEnabled).toBe(false);
    expect(one.recorder.events.findLast((event) => event.type === "decision")).toMatchObject({
      answer: "ATS off",
      reason: expect.stringContaining("no SubstreamIDs"),
    });
  });

  it("never: nothing turns it on, not even a function that requires it", () => {
    const one = lab(
      policy("never", () => false),
      ACCELERATOR,
    );
    expect(one.ste()).toEqual(["0x9", "0x0"]);
    one.run(one.platform.iommu.storeType(one.group, "DMA"));
    expect(one.ste()[1]).toBe("0xd6");
    expect(one.atsEnabled).toBe(false);
    expect(one.recorder.events.findLast((event) => event.type === "decision")).toMatchObject({
      rule: "never",
      answer: "ATS off",
      reason: "the policy never says so; the shipped one does not",
      basis: "derived",
    });
  });

  it("only with PASIDs: comes with the first, goes with the last, whatever the RID is on", () => {
    for (const type of ["identity", "DMA"]) {
      const one = lab(policy("pasids", (state) => state.livePasids > 0));
      const { iommu } = one.platform;
      if (type === "DMA") {
        one.run(iommu.storeType(one.group, "DMA"));
      }
      const domain = iommu.allocPaging(one.device, { pasid: true });
      const before = one.ste()[1];
      expect(one.atsEnabled).toBe(false);
      one.run(iommu.attachPasid(domain, one.device, 1));
      expect(one.atsEnabled).toBe(true);
      one.run(iommu.detachPasid(one.device, 1));
      expect(one.atsEnabled).toBe(false);
      expect(one.ste()[1]).toBe(before);
    }
  });

  it("asks with the state after the event", () => {
    const asked: [AtsEvent, DomainType | "none", number][] = [];
    const spy: AtsPolicy = {
      ...smmuv3OnDemand,
      wants(event, state) {
        asked.push([event, state.ridDomain, state.livePasids]);
        return smmuv3OnDemand.wants(event, state);
      },
    };
    const one = lab(spy);
    const { iommu } = one.platform;
    const domain = iommu.allocPaging(one.device, { pasid: true });
    asked.length = 0;
    one.run(iommu.attachPasid(domain, one.device, 1));
    one.run(iommu.attachPasid(domain, one.device, 2));
    one.run(iommu.detachPasid(one.device, 2));
    one.run(iommu.detachPasid(one.device, 1));
    const distinct = asked.filter((one_, index) => String(one_) !== String(asked[index - 1]));
    expect(distinct).toEqual([
      ["pasid-set", "IDENTITY", 1],
      ["pasid-set", "IDENTITY", 2],
      ["pasid-remove", "IDENTITY", 0],
      ["rid-attach", "IDENTITY", 0],
    ]);
  });

  it("must be a policy", () => {
    expect(() => atsPolicyOf(linux("7.2", { slots: { [ATS_SLOT]: { id: "x" } } }))).toThrow(InputError);
    expect(atsPolicyOf(linux("7.2"))).toBe(smmuv3OnDemand);
  });
});
