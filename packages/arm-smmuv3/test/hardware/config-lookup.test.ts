import { NO_PASID } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { encodeL1cd, encodeL1std } from "../../src/layout/level1-descriptors.ts";
import { CR0, CR2, REG, encodeStrtabBase, encodeStrtabBaseCfg } from "../../src/layout/registers.ts";
import { S1_FMT, STE_CONFIG, encodeSte } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, Machine, SID, STREAMS, TABLES } from "../support/machine.ts";

const LEVEL2 = 0x40300000;
const bypass = encodeSte({ v: 1, config: STE_CONFIG.bypass });

let machine: Machine;

describe("two-level stream tables", () => {
  function start(span: number, split: number = 8): void {
    machine = new Machine();
    machine.write64(REG.strtabBase, encodeStrtabBase(STREAMS));
    machine.write32(REG.strtabBaseCfg, encodeStrtabBaseCfg({ log2Size: 16, split, twoLevels: true }));
    machine.enableQueues(CR0.smmuen, CR2.recInvSid);
    machine.store(STREAMS + (SID >> split) * 8, encodeL1std(span, LEVEL2));
    machine.store(LEVEL2 + (SID % 2 ** split) * 64, bypass);
    machine.store(LEVEL2 + 3 * 64, bypass);
  }

  function fault(sid: number): string {
    return machine.smmu.translate(sid, NO_PASID, 7, 0, 0).fault;
  }

  it("lead to the entry of a stream", () => {
    start(9);
    expect(fault(SID)).toBe("");
    expect(fault(SID + 3)).toBe("");
    expect(fault(SID + 1)).toBe("C_BAD_STE");
  });

  it.each([
    [0, "invalid"],
    [12, "reserved"],
    [10, "beyond SPLIT"],
  ])("Span %i (%s) is C_BAD_STREAMID", (span) => {
    start(span);
    expect(fault(SID)).toBe("C_BAD_STREAMID");
    expect(machine.takeEvents()).toEqual([["0x0000010000000002"]]);
  });

  it("a short Span covers the first streams alone", () => {
    start(2);
    expect(fault(SID)).toBe("");
    expect(fault(SID + 1)).toBe("C_BAD_STE");
    expect(fault(SID + 2)).toBe("C_BAD_STREAMID");
  });

  it.each([6, 10])("SPLIT %i", (split) => {
    start(split + 1, split);
    expect(fault(SID)).toBe("");
  });

  it("a level-2 table outside memory is F_STE_FETCH", () => {
    start(9);
    machine.store(STREAMS + (SID >> 8) * 8, encodeL1std(9, 0x10000000));
    expect(fault(SID)).toBe("F_STE_FETCH");
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000003", "0x0000000000000000", "0x0000000000000000", "0x0000000010000000"],
    ]);
  });

  it("LOG2SIZE limits StreamIDs", () => {
    machine = new Machine();
    machine.write64(REG.strtabBase, encodeStrtabBase(STREAMS));
    machine.write32(REG.strtabBaseCfg, encodeStrtabBaseCfg({ log2Size: 8, split: 0, twoLevels: false }));
    machine.enableQueues(CR0.smmuen, CR2.recInvSid);
    machine.store(STREAMS + 0xff * 64, bypass);
    expect(fault(0xff)).toBe("");
    expect(fault(0x100)).toBe("C_BAD_STREAMID");
  });
});

describe("stream table entries that break a rule", () => {
  it.each([
    ["stage 2, which this SMMU does not translate", { config: STE_CONFIG.stage2 }],
    ["both stages", { config: STE_CONFIG.nested }],
    ["S1CDMax > SSIDSIZE", { config: STE_CONFIG.stage1, s1CdMax: 21, s1Fmt: S1_FMT.leaves64K }],
    ["S1STALLD where nothing can stall", { config: STE_CONFIG.stage1, s1StallD: 1 }],
    ["S1ContextPtr beyond OAS", { config: STE_CONFIG.stage1, s1ContextPtr: 2 ** 48 }],
  ])("%s", (_what, fields) => {
    machine = new Machine();
    machine.enable();
    machine.ste(fields);
    expect(machine.read(1).fault).toBe("C_BAD_STE");
  });

  it("two-level descriptor tables without CD2L, once substreams are on", () => {
    machine = new Machine({ id: { idr0: 0x0dcd149b & ~0x80000 } });
    machine.enable();
    machine.cd(0);
    machine.stage1({ s1CdMax: 6, s1Fmt: S1_FMT.leaves64K });
    expect(machine.read(1).fault).toBe("C_BAD_STE");
    machine = new Machine({ id: { idr0: 0x0dcd149b & ~0x80000 } });
    machine.enable();
    machine.cd(0);
    machine.stage1({ s1CdMax: 0, s1Fmt: S1_FMT.leaves64K });
    expect(machine.read(1).fault).toBe("F_TRANSLATION");
  });

  it("STRW 1 and 3 where EL2 exists", () => {
    for (const [idr0, fault] of [
      [0x0dcd149b, "F_TRANSLATION"],
      [0x0dcd149b | 0x200, "C_BAD_STE"],
    ] as const) {
      machine = new Machine({ id: { idr0 } });
      machine.enable();
      machine.cd(0);
      machine.map({});
      machine.stage1({ strw: 1 });
      expect(machine.read(1).fault).toBe(fault);
    }
  });
});

describe("context descriptors", () => {
  beforeEach(() => {
    machine = new Machine();
    machine.enable();
    machine.map({ 1: 0x50000f47n });
  });

  it.each([
    ["V = 0", { v: 0 }],
    ["AArch32", { aa64: 0 }],
    ["S where nothing can stall", { s: 1 }],
    ["A = 0 where terminating means aborting", { a: 0 }],
    ["HAFT without HA", { haft: 1 }],
    ["big-endian tables", { endi: 1 }],
    ["T0SZ 15", { t0Sz: 15 }],
    ["T0SZ 40", { t0Sz: 40 }],
    ["reserved granule", { tg0: 3 }],
    ["TTB0 beyond IPS", { ips: 0, ttb0: 2 ** 32 }],
    ["TTB1 with a reserved granule", { epd1: 0, t1Sz: 16, tg1: 0 }],
  ])("%s is C_BAD_CD", (_what, fields) => {
    machine.stage1();
    machine.cd(0, fields);
    expect(machine.read(1)).toMatchObject({ fault: "C_BAD_CD", recorded: true });
    expect(machine.takeEvents()).toEqual([["0x000001000000000a"]]);
  });

  it.each([
    ["EPD0 makes T0SZ and TG0 not count", { epd0: 1, t0Sz: 0, tg0: 3 }],
    ["HA and HD with HTTU 2", { ha: 1, hd: 1 }],
  ])("%s", (_what, fields) => {
    machine.stage1();
    machine.cd(0, fields);
    expect(machine.read(2).fault).toBe("F_TRANSLATION");
  });

  it("outside memory are F_CD_FETCH", () => {
    machine.stage1({ s1ContextPtr: 0x10000000 });
    expect(machine.read(1).fault).toBe("F_CD_FETCH");
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000009", "0x0000000000000000", "0x0000000000000000", "0x0000000010000000"],
    ]);
  });

  it.each([
    [S1_FMT.leaves4K, 6],
    [S1_FMT.leaves64K, 10],
  ])("in two levels (S1Fmt %i)", (s1Fmt, bits) => {
    machine.stage1({ s1CdMax: 16, s1Fmt, s1Dss: 1 });
    const ssid = 3 * 2 ** bits + 5;
    const leaf = 0x40a40000;
    machine.cd(0, { asid: 9 });
    for (let index = 0; index < 16; index += 1) {
      machine.memory.store32(leaf + 5 * 64 + index * 4, machine.memory.load32(CONTEXTS + index * 4));
    }
    machine.memory.zero(CONTEXTS, 64);
    machine.store(CONTEXTS + 3 * 8, encodeL1cd(leaf));
    expect(machine.read(1, ssid)).toMatchObject({ status: "success", page: 0x50000 });
    expect(machine.read(1, 1)).toMatchObject({ fault: "C_BAD_SUBSTREAMID", recorded: true });
    expect(machine.takeEvents()).toEqual([["0x0000010000001008"]]);
  });

  it("of another PASID are found at 64 bytes times its number", () => {
    machine.stage1({ s1CdMax: 4, s1Dss: 2 });
    machine.cd(0, { ttb0: TABLES + 0x10000 });
    machine.cd(9);
    expect(machine.read(1, 9).page).toBe(0x50000);
    expect(machine.read(1).fault).toBe("F_TRANSLATION");
  });
});
