import { NO_PASID } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { cmdCfgiAll, cmdCfgiCd, cmdCfgiSte, cmdPrefetchConfig, encodeCommand } from "../../src/layout/command.ts";
import { encodeL1std } from "../../src/layout/level1-descriptors.ts";
import { CR0, CR2, REG, encodeStrtabBase, encodeStrtabBaseCfg } from "../../src/layout/registers.ts";
import { STE_CONFIG } from "../../src/layout/stream-table-entry.ts";
import { Machine, SID, STREAMS, TABLES } from "../support/machine.ts";

const A = 0x50000f47n;
const B = 0x60000f47n;
/** Like A, for every ASID. */
const GLOBAL = 0x50000747n;

let machine: Machine;

beforeEach(() => {
  machine = new Machine();
  machine.enable();
  machine.stage1({ s1CdMax: 2, s1Dss: 2 });
  machine.cd(0);
  machine.cd(1);
  machine.map({ 1: A, 2: A, 3: A });
});

describe("a stream table entry", () => {
  it("stays until CFGI_STE", () => {
    expect(machine.read(1).page).toBe(0x50000);
    machine.ste({ config: STE_CONFIG.abort });
    expect(machine.read(1).page).toBe(0x50000);
    machine.issue(cmdCfgiSte(SID + 1, true));
    expect(machine.read(1).page).toBe(0x50000);
    machine.issue(cmdCfgiSte(SID, true));
    expect(machine.read(1).status).toBe("UR");
  });

  it("stays when it was invalid, too", () => {
    machine.ste({ v: 0 });
    expect(machine.read(1).fault).toBe("C_BAD_STE");
    machine.ste({ config: STE_CONFIG.bypass });
    expect(machine.read(1).fault).toBe("C_BAD_STE");
    machine.issue(cmdCfgiSte(SID, true));
    expect(machine.read(1).page).toBe(1);
  });

  it.each([
    ["CFGI_ALL", cmdCfgiAll()],
    ["CFGI_STE_RANGE around it", encodeCommand("CFGI_STE_RANGE", { sid: SID + 3, range: 3 })],
  ])("goes by %s", (_what, command) => {
    machine.read(1);
    machine.ste({ config: STE_CONFIG.abort });
    machine.issue(command);
    expect(machine.read(1).status).toBe("UR");
  });

  it("stays by CFGI_STE_RANGE elsewhere", () => {
    machine.read(1);
    machine.ste({ config: STE_CONFIG.abort });
    machine.issue(encodeCommand("CFGI_STE_RANGE", { sid: SID + 16, range: 3 }));
    expect(machine.read(1).status).toBe("success");
  });

  it("comes with PREFETCH_CONFIG, which records nothing", () => {
    machine.ste({ v: 0 });
    machine.issue(cmdPrefetchConfig(SID));
    machine.ste({ config: STE_CONFIG.bypass });
    expect(machine.read(1).fault).toBe("C_BAD_STE");
    expect(machine.takeEvents()).toHaveLength(1);
  });
});

describe("a level-1 stream table descriptor", () => {
  it("stays until CFGI_STE without Leaf", () => {
    machine = new Machine();
    machine.write64(REG.strtabBase, encodeStrtabBase(STREAMS));
    machine.write32(REG.strtabBaseCfg, encodeStrtabBaseCfg({ log2Size: 16, split: 8, twoLevels: true }));
    machine.enableQueues(CR0.smmuen, CR2.recInvSid);
    expect(machine.read(1).fault).toBe("C_BAD_STREAMID");
    machine.store(STREAMS + (SID >> 8) * 8, encodeL1std(9, 0x40300000));
    machine.issue(cmdCfgiSte(SID, true));
    expect(machine.read(1).fault).toBe("C_BAD_STREAMID");
    machine.issue(cmdCfgiSte(SID, false));
    expect(machine.read(1).fault).toBe("C_BAD_STE");
  });
});

describe("a context descriptor", () => {
  beforeEach(() => {
    machine.read(1, 1);
    machine.cd(1, { v: 0 });
  });

  it.each([
    ["CFGI_CD", cmdCfgiCd(SID, 1, true)],
    ["CFGI_CD_ALL", encodeCommand("CFGI_CD_ALL", { sid: SID })],
    ["CFGI_STE", cmdCfgiSte(SID, true)],
  ])("goes by %s", (_what, command) => {
    expect(machine.read(1, 1).status).toBe("success");
    machine.issue(command);
    expect(machine.read(1, 1).fault).toBe("C_BAD_CD");
  });

  it("stays by CFGI_CD of another SubstreamID", () => {
    machine.issue(cmdCfgiCd(SID, 2, true));
    expect(machine.read(1, 1).status).toBe("success");
  });
});

describe("a translation", () => {
  beforeEach(() => {
    machine.map({ 1: A, 2: A, 3: A });
    for (const pasid of [NO_PASID, 1]) {
      for (const page of [1, 2, 3]) {
        machine.read(page, pasid);
      }
    }
    machine.map({ 1: B, 2: B, 3: B });
  });

  /** Pages 1 to 3 without PASID (ASID 5) and with PASID 1 (ASID 6): `.` = still the old one, `x` = read again. */
  function state(): string {
    return [NO_PASID, 1]
      .map((pasid) => [1, 2, 3].map((page) => (machine.read(page, pasid).page === 0x50000 ? "." : "x")).join(""))
      .join(" ");
  }

  it("stays when its entry changed", () => {
    expect(state()).toBe("... ...");
    machine.issue(cmdCfgiAll());
    expect(state()).toBe("... ...");
  });

  it.each([
    ["TLBI_NSNH_ALL", encodeCommand("TLBI_NSNH_ALL"), "xxx xxx"],
    ["TLBI_NH_ALL", encodeCommand("TLBI_NH_ALL", { vmid: 0 }), "xxx xxx"],
    ["TLBI_NH_ALL of another VMID", encodeCommand("TLBI_NH_ALL", { vmid: 1 }), "... ..."],
    ["TLBI_S12_VMALL", encodeCommand("TLBI_S12_VMALL", { vmid: 0 }), "xxx xxx"],
    ["TLBI_NH_ASID", encodeCommand("TLBI_NH_ASID", { asid: 6 }), "... xxx"],
    ["TLBI_NH_VA", encodeCommand("TLBI_NH_VA", { asid: 5, page: 2, leaf: 1 }), ".x. ..."],
    [
      "TLBI_NH_VA with a range",
      encodeCommand("TLBI_NH_VA", { asid: 5, page: 2, num: 1, ttl: 3, tg: 1, leaf: 1 }),
      ".xx ...",
    ],
    ["TLBI_NH_VA of another level", encodeCommand("TLBI_NH_VA", { asid: 5, page: 2, ttl: 2, tg: 1 }), "... ..."],
    ["TLBI_NH_VAA", encodeCommand("TLBI_NH_VAA", { page: 3 }), "..x ..x"],
  ])("%s", (_what, command, expected) => {
    machine.issue(command);
    expect(machine.consumed).toBe(true);
    expect(state()).toBe(expected);
  });

  it("of one regime is not dropped by commands of another", () => {
    machine = new Machine({ id: { idr0: 0x0dcd149b | 0x200 } });
    machine.enable(CR0.smmuen, CR2.e2h);
    machine.stage1({ s1CdMax: 2, strw: 2 });
    machine.cd(0);
    machine.cd(1);
    machine.map({ 1: A, 2: A, 3: A });
    expect(state()).toBe("... ...");
    machine.map({ 1: B, 2: B, 3: B });
    machine.issue(encodeCommand("TLBI_NSNH_ALL"));
    expect(state()).toBe("... ...");
    machine.issue(encodeCommand("TLBI_EL2_VA", { asid: 5, page: 1, leaf: 1 }));
    expect(state()).toBe("x.. ...");
    machine.issue(encodeCommand("TLBI_EL2_ASID", { asid: 6 }));
    expect(state()).toBe("x.. xxx");
    machine.issue(encodeCommand("TLBI_EL2_ALL"));
    expect(state()).toBe("xxx xxx");
  });
});

describe("a global translation", () => {
  beforeEach(() => {
    machine.map({ 1: GLOBAL });
    machine.read(1);
    machine.map({ 1: B });
  });

  it("serves every ASID of its set, and outlives TLBI_NH_ASID", () => {
    expect(machine.read(1, 1).page).toBe(0x50000);
    machine.issue(encodeCommand("TLBI_NH_ASID", { asid: 5 }));
    expect(machine.read(1).page).toBe(0x50000);
    machine.issue(encodeCommand("TLBI_NH_VA", { asid: 77, page: 1 }));
    expect(machine.read(1).page).toBe(0x60000);
  });

  it("does not serve another ASID set", () => {
    machine.cd(1, { aset: 0 });
    machine.issue(cmdCfgiCd(SID, 1, true));
    expect(machine.read(1, 1).page).toBe(0x60000);
  });
});

describe("large translations", () => {
  it("are dropped by any page in them", () => {
    machine.qword(TABLES + 2 * 4096, 0x60000f45n);
    expect(machine.read(0x1ff).page).toBe(0x601ff);
    machine.qword(TABLES + 2 * 4096, 0x70000f45n);
    expect(machine.read(5).page).toBe(0x60005);
    machine.issue(encodeCommand("TLBI_NH_VA", { asid: 5, page: 0x123 }));
    expect(machine.read(5).page).toBe(0x70005);
  });
});

describe("without caches", () => {
  it("every change counts at once", () => {
    machine = new Machine({ caches: "none" });
    machine.enable();
    machine.stage1();
    machine.cd(0);
    machine.map({ 1: A });
    expect(machine.read(1).page).toBe(0x50000);
    machine.map({ 1: B });
    expect(machine.read(1).page).toBe(0x60000);
    machine.ste({ config: STE_CONFIG.bypass });
    expect(machine.read(1).page).toBe(1);
  });
});
