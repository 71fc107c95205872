import { amdIdentityAtsOff, amdWithAnyTranslation } from "@iommu-lab/amd-vi";
import type { AtsPolicy } from "@iommu-lab/pci";
import { pciDev } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { BARE, Lab, NIC, PLAIN } from "./lab.ts";

const ATS_RULE =
  /^amd-(with-any-translation|ats-recorded|iotlb-sup|enable-failed|blocked-dte|release-bound|same-domain)$/;

/** ATS decisions about a function while `body` runs: rule, answer, basis, reason. */
function decided(lab: Lab, rid: number, body: () => void): string[] {
  const { name } = lab.device(rid);
  const start = lab.platform.trace.nextId;
  body();
  return lab
    .traced("decision")
    .filter((one) => one.id >= start && one.device === name && ATS_RULE.test(one.rule))
    .map(({ rule, answer, basis, reason }) => `${rule} | ${answer} | ${basis} | ${reason}`);
}

function attached(lab: Lab, rid: number, domain: Parameters<Lab["attach"]>[1]): string[] {
  return decided(lab, rid, () => lab.attach(rid, domain));
}

const RULE = amdWithAnyTranslation.id;
const ENABLED = "DTE.I=1 allows ATS and the driver enables it with any translation: ATS on";
const BLOCKED =
  "BLOCKED: the DTE keeps V=1 alone, I=0 refuses Translated requests; E, PASID and PRI are cleared first: ATS off";
const KEPT = "a PASID changes its own GCR3 entry alone; neither E nor DTE.I is touched: ATS stays on";
const RELEASED = "the device is released; BLOCKED, attached before, has cleared E and DTE.I: ATS off";

describe("one decision an event, with the fact behind it", () => {
  test("IDENTITY, BLOCKED and v1 as recorded; v2 from source", () => {
    const lab = new Lab().boot();
    const { identity, blocked } = lab.platform.iommu.driver ?? {};
    expect(attached(lab, NIC, blocked)).toEqual([`${RULE} | ATS off | recorded | ${BLOCKED}`]);
    expect(attached(lab, NIC, identity)).toEqual([`${RULE} | ATS on | recorded | IDENTITY: ${ENABLED}`]);
    const v1 = lab.paging(NIC, lab.buffer());
    expect(attached(lab, NIC, v1)).toEqual([`${RULE} | ATS on | recorded | UNMANAGED: ${ENABLED}`]);
    const v2 = lab.paging(NIC, lab.buffer(), true);
    expect(attached(lab, NIC, v2)).toEqual([`${RULE} | ATS on | source | UNMANAGED: ${ENABLED}`]);
    expect(attached(lab, NIC, blocked)).toEqual([`${RULE} | ATS off | source | ${BLOCKED}`]);
  });

  test("PASIDs, and BLOCKED with one attached, from source", () => {
    const lab = new Lab().boot();
    const { iommu } = lab.platform;
    const domain = iommu.allocSva(lab.device(NIC), lab.process(lab.buffer()));
    const set = (): void => lab.run(iommu.attachPasid(domain, lab.device(NIC), 0x200));
    const remove = (): void => lab.run(iommu.detachPasid(lab.device(NIC), 0x200));
    expect(decided(lab, NIC, set)).toEqual([`${RULE} | ATS on | source | ${KEPT}`]);
    expect(decided(lab, NIC, remove)).toEqual([`${RULE} | ATS on | source | ${KEPT}`]);
    set();
    expect(attached(lab, NIC, iommu.driver?.blocked)).toEqual([`${RULE} | ATS off | source | ${BLOCKED}`]);
    expect(decided(lab, NIC, remove)).toEqual([
      `${RULE} | ATS off | source | BLOCKED: the DTE has I=0 whatever becomes of a PASID: ATS stays off`,
    ]);
  });

  test("release comes after BLOCKED; with a direct region it clears nothing", () => {
    const lab = new Lab().boot();
    expect(decided(lab, NIC, () => lab.run(lab.bus.remove(lab.device(NIC))))).toEqual([
      `${RULE} | ATS off | recorded | ${BLOCKED}`,
      `${RULE} | ATS off | recorded | ${RELEASED}`,
    ]);
    const unityMaps = [{ first: PLAIN, last: PLAIN, page: 0x9b000, count: 16, read: true, write: true }];
    const other = new Lab({ unityMaps }).boot();
    expect(decided(other, PLAIN, () => other.run(other.bus.remove(other.device(PLAIN))))).toEqual([
      `${RULE} | ATS on | recorded | IDENTITY: ${ENABLED}`,
      "amd-release-bound | ATS on | recorded | the device has a direct region: it is released on IDENTITY and nothing is cleared",
    ]);
  });
});

describe("what keeps ATS off", () => {
  const isolated = { kernel: { cmdline: "amd_iommu=force_isolation" } };
  test.each([
    ["no capability", {}, BARE, "amd-ats-recorded | ATS off | source | the function has no ATS capability: ATS off"],
    [
      "features",
      { ephSup: false, gioSup: false },
      PLAIN,
      "amd-ats-recorded | ATS off | recorded | a unit lacks GIoSup, EPHSup: the ATS capability is not recorded, ATS off",
    ],
    [
      "isolation",
      isolated,
      PLAIN,
      "amd-ats-recorded | ATS off | source | amd_iommu=force_isolation without pass-through: the ATS capability is not recorded, ATS off",
    ],
    [
      "noats",
      { kernel: { cmdline: "pci=noats" } },
      PLAIN,
      "amd-ats-recorded | ATS off | source | pci=noats: the kernel does not use the ATS capability, ATS off",
    ],
    [
      "IotlbSup",
      { iotlbSup: false },
      PLAIN,
      "amd-iotlb-sup | ATS off | source | IotlbSup=0 in the capability header of a unit: ATS off for every device",
    ],
  ])("%s", (_name, options, rid, expected) => {
    const lab = new Lab(options).boot();
    expect(attached(lab, rid, lab.paging(rid, lab.buffer()))).toEqual([expected]);
    expect(lab.endpoint(rid).atsEnabled).toBe(false);
  });

  test("a policy that wants ATS in BLOCKED: the DTE does not permit it", () => {
    const always: AtsPolicy = { id: "always", source: "test", wants: () => true, basis: () => "source" };
    const lab = new Lab({ kernel: { slots: { "ats:amd-vi": always } } }).boot();
    expect(attached(lab, PLAIN, lab.platform.iommu.driver?.blocked)).toEqual([
      "amd-blocked-dte | ATS off | source | BLOCKED: the DTE keeps V=1 alone, so I=0 whatever a policy wants: ATS off",
    ]);
    expect(lab.endpoint(PLAIN).atsEnabled).toBe(false);
  });
});

test("ATS Enable that failed at the attach is not tried again with a PASID", () => {
  const lab = new Lab().boot();
  const { iommu } = lab.platform;
  const { identity, blocked } = iommu.driver ?? {};
  lab.attach(NIC, blocked);
  const dev = pciDev(lab.device(NIC));
  dev.atsEnabled = true;
  const lines = attached(lab, NIC, identity);
  expect(lines[0]).toBe(`${RULE} | ATS on | recorded | IDENTITY: ${ENABLED}`);
  expect(lines[1]).toMatch(/^amd-enable-failed \| ATS stays off \| source \| .*already/);
  dev.atsEnabled = false;
  const domain = iommu.allocSva(lab.device(NIC), lab.process(lab.buffer()));
  expect(decided(lab, NIC, () => lab.run(iommu.attachPasid(domain, lab.device(NIC), 1)))).toEqual([
    "amd-enable-failed | ATS off | source | pci_enable_ats() failed before and is not called again: ATS off",
  ]);
  expect(lab.endpoint(NIC).atsEnabled).toBe(false);
  expect(lab.entry(NIC).iotlb).toBe(false);
});

test("the proposal tells what it looks at", () => {
  const state = { ridDomain: "IDENTITY", livePasids: 0, required: false } as const;
  expect(amdIdentityAtsOff.reason("rid-attach", state)).toBe("IDENTITY, and no PASID is attached: ATS off");
  expect(amdIdentityAtsOff.reason("pasid-set", { ...state, livePasids: 1 })).toBe(
    "IDENTITY, and a PASID is attached: ATS on",
  );
  expect(amdIdentityAtsOff.reason("rid-attach", { ...state, ridDomain: "DMA" })).toBe(
    "DMA: the RID has a page table: ATS on",
  );
});
