import { type Domain, type Op, PROT_READ, PROT_WRITE } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { makeCdTableSte, makeAbortSte, steKind, steKindWithoutSafeBits } from "../../src/driver/stream-entry.ts";
import { updateSteps } from "../../src/driver/entry-update.ts";
import { S1_DSS, S1_FMT } from "../../src/layout/stream-table-entry.ts";
import { ACCELERATOR, Lab, type LabOptions, NIC } from "../support/lab.ts";

const RW = PROT_READ | PROT_WRITE;

function lab612(options: LabOptions = {}): Lab {
  return new Lab({ version: "6.12", ...options });
}

/** Commands and Enable bits, one word each. */
function orderOf(lab: Lab, op: Op<unknown>): string[] {
  return lab.steps(op).flatMap((step) => {
    if (step.startsWith("warn")) {
      return [step];
    }
    const word = /^(?:ATC_INV|TLBI_\w+|ats on|ats off)/.exec(step)?.[0];
    return word === undefined ? [] : [word];
  });
}

function domainOf(lab: Lab): Domain {
  const domain = lab.platform.iommu.allocPaging(lab.device, { pasid: false });
  if (domain.map !== undefined) {
    lab.run(domain.map(7, 0x50000, 1, RW));
  }
  return domain;
}

describe("Linux 6.12", () => {
  it("probes a function when a driver binds to it, and then attaches its default domain with ATS", () => {
    const lab = lab612();
    const told = lab.recorder.events.flatMap((event) =>
      (event.type === "device:probe" || event.type === "driver:bind") && event.device === "0000:01:00.0"
        ? [event.type]
        : [],
    );
    expect(told).toEqual(["device:probe", "driver:bind"]);
    // The root port was probed, and bound, before it.
    expect(lab.deviceAt("00:01.0").iommu).toBeDefined();
    expect(lab.group.domain?.type).toBe("DMA");
    expect(lab.atsEnabled).toBe(true);
  });

  it("knows no function that requires ATS: IDENTITY is a plain bypass", () => {
    const lab = lab612({ device: ACCELERATOR });
    lab.run(lab.platform.iommu.storeType(lab.group, "identity"));
    expect(lab.ste()).toEqual(["0x9", "0x0"]);
    expect(lab.atsEnabled).toBe(false);
    const now = new Lab({ device: ACCELERATOR });
    now.run(now.platform.iommu.storeType(now.group, "identity"));
    expect(now.atsEnabled).toBe(true);
  });

  it("boots where 7.2 refuses such a function: no ATS on the SMMU", () => {
    expect(lab612({ device: ACCELERATOR, smmu: { ats: false } }).group.domain?.type).toBe("DMA");
    expect(new Lab({ device: ACCELERATOR, smmu: { ats: false } }).device.iommu).toBeUndefined();
  });

  it("a replaced domain's tag is flushed when the domain is freed, not when its last function goes", () => {
    const lab = lab612();
    const [one, other] = [domainOf(lab), domainOf(lab)];
    const { iommu } = lab.platform;
    lab.run(iommu.setGroupDomain(lab.group, one));
    expect(orderOf(lab, iommu.setGroupDomain(lab.group, other))).toEqual(["ATC_INV"]);
    const from = lab.platform.trace.nextId;
    one.free?.();
    expect(lab.since(from)).toEqual([expect.stringMatching(/^TLBI_NH_ASID ASID=\d+ \+ SYNC$/)]);
    const now = new Lab();
    const [a, b] = [domainOf(now), domainOf(now)];
    now.run(now.platform.iommu.setGroupDomain(now.group, a));
    expect(orderOf(now, now.platform.iommu.setGroupDomain(now.group, b))).toEqual(["ATC_INV", "TLBI_NH_ASID"]);
  });

  it("a domain without functions is flushed on unmap", () => {
    const lab = lab612();
    const domain = domainOf(lab);
    expect(orderOf(lab, domain.unmap?.(7, 1) ?? lab.platform.iommu.detachGroup(lab.group))).toEqual(["TLBI_NH_VA"]);
    const now = new Lab();
    const idle = domainOf(now);
    expect(orderOf(now, idle.unmap?.(7, 1) ?? now.platform.iommu.detachGroup(now.group))).toEqual([]);
  });

  it("BLOCKED, the first and the last PASID move ATS as 7.2 does", () => {
    const lab = lab612({ device: NIC });
    const { iommu } = lab.platform;
    const domain = domainOf(lab);
    expect(orderOf(lab, iommu.setGroupDomain(lab.group, iommu.blockingDomain(lab.group)))).toEqual([
      "ats off",
      "ATC_INV",
    ]);
    expect(orderOf(lab, iommu.attachPasid(domain, lab.device, 1))).toEqual(["ATC_INV", "ats on"]);
    expect(orderOf(lab, iommu.detachPasid(lab.device, 1))).toEqual(["ATC_INV", "ats off", "ATC_INV"]);
    expect(lab.ste()).toEqual(["0x1", "0x0"]);
  });

  it("a function that goes is blocked by the driver itself", () => {
    const lab = lab612();
    expect(orderOf(lab, lab.bus.remove(lab.device))).toEqual(["ats off", "ATC_INV", "TLBI_NH_ASID"]);
    expect(lab.ste()).toEqual(["0x1", "0x0"]);
    expect(lab.driver.releaseDomain).toBeUndefined();
  });
});

describe("entry updates", () => {
  it("EATS may not change early: another table and ATS at once make the entry invalid in between", () => {
    const features = { attributeTypesOverride: false, stalls: false, e2h: false };
    const table = { address: 0x40000, s1Fmt: S1_FMT.linear, s1CdMax: 1 };
    const from = makeCdTableSte(features, table, false, false, S1_DSS.ssid0);
    const to = makeCdTableSte(features, { ...table, address: 0x80000 }, false, true, S1_DSS.ssid0);
    const valid = (kind: typeof steKind): boolean =>
      updateSteps(kind, from, to).every(({ words, first }) => first !== 0 || ((words[0] ?? 0) & 1) === 1);
    expect(valid(steKind)).toBe(true);
    expect(valid(steKindWithoutSafeBits)).toBe(false);
    expect(updateSteps(steKindWithoutSafeBits, makeAbortSte(), to)).toHaveLength(3);
  });
});
