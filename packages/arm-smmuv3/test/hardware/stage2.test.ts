import { REQUEST_WRITE } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { cmdCfgiAll, encodeCommand } from "../../src/layout/command.ts";
import { CR0 } from "../../src/layout/registers.ts";
import { EATS, STE_CONFIG, type SteField } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, Machine, TABLES } from "../support/machine.ts";
import { S2_RW, S2_TABLES, mapStage1Structures, mapStage2, stage2Ste } from "../support/stage2.ts";

/** IPA page 0x50000, by stage 1 from page 1. */
const RW = 0x50000f47n;
const IPA = 0x50000;
const HOST = 0x70000;
const TRANSLATED = 2;

let machine: Machine;

function start(config: number, fields: Readonly<Partial<Record<SteField, number>>> = {}, idr0?: number): void {
  machine = new Machine(idr0 === undefined ? {} : { id: { idr0 } });
  machine.enable(CR0.smmuen | CR0.atschk);
  machine.ste(stage2Ste(config, fields));
  machine.cd(0);
  machine.map({ 1: RW });
  mapStage1Structures(machine);
  mapStage2(machine, IPA, HOST);
}

/** Drops what is cached, but not what memory holds. */
function forget(): void {
  machine.issue(cmdCfgiAll(), encodeCommand("TLBI_NSNH_ALL"));
}

describe("stage 2 alone", () => {
  beforeEach(() => {
    start(STE_CONFIG.stage2, { eats: EATS.full });
  });

  it("translates, for accesses and for ATS", () => {
    expect(machine.read(IPA)).toMatchObject({ status: "success", page: HOST });
    expect(machine.translationRequest(IPA)).toMatchObject({ page: HOST, read: true, write: true, sizeLog2: 12 });
  });

  it("has no PASIDs", () => {
    expect(machine.read(IPA, 1).fault).toBe("C_BAD_SUBSTREAMID");
    expect(machine.translationRequest(IPA, 1).status).toBe("CA");
  });

  it.each([
    ["unmapped", 0n, "read", "F_TRANSLATION", 0x10, 0x00000288],
    ["AF = 0", 0x3ffn, "read", "F_ACCESS", 0x12, 0x00000288],
    ["read-only, written", 0x77fn, "write", "F_PERMISSION", 0x13, 0x00000280],
    ["write-only, read", 0x7bfn, "read", "F_PERMISSION", 0x13, 0x00000288],
  ])("%s", (_what, leaf, kind, fault, id, w1) => {
    mapStage2(machine, IPA + 1, leaf === 0n ? 0 : HOST, leaf);
    const result = kind === "read" ? machine.read(IPA + 1) : machine.write(IPA + 1);
    expect(result.fault).toBe(fault);
    const word1 = `0x${w1.toString(16).padStart(8, "0")}00000000`;
    expect(machine.takeEvents()).toEqual([
      [`0x00000100000000${id.toString(16)}`, word1, "0x0000000050001000", "0x0000000050001000"],
    ]);
  });

  it("S2R = 0 leaves no record; a walk's external abort always does", () => {
    machine.ste(stage2Ste(STE_CONFIG.stage2, { s2R: 0 }));
    expect(machine.read(IPA + 9)).toMatchObject({ fault: "F_TRANSLATION", recorded: false });
    machine.qword(S2_TABLES, 0x10000003n);
    forget();
    expect(machine.read(IPA)).toMatchObject({ fault: "F_WALK_EABT", recorded: true });
    // S2 = 1, CLASS = IN, and what could not be fetched.
    expect(machine.takeEvents()).toEqual([
      ["0x000001000000000b", "0x0000028800000000", "0x0000000050000000", "0x0000000010000008"],
    ]);
  });

  it("an address beyond S2T0SZ is a fault of stage 2, one beyond the address size of stage 1", () => {
    machine.ste(stage2Ste(STE_CONFIG.stage2, { s2T0Sz: 25, s2Sl0: 1, s2Ttb: S2_TABLES }));
    expect(machine.read(2 ** 27).fault).toBe("F_TRANSLATION");
    expect(machine.read(2 ** 36).fault).toBe("F_ADDR_SIZE");
    expect(machine.takeEvents().map(([, w1]) => w1)).toEqual(["0x0000028800000000", "0x0000020800000000"]);
  });

  it("starts with concatenated tables", () => {
    machine.ste(stage2Ste(STE_CONFIG.stage2, { s2T0Sz: 24, s2Sl0: 1, s2Ps: 2, s2Ttb: 0x40c02000 }));
    // 40-bit intermediate addresses: the second of two level-1 tables has the upper half.
    machine.qword(0x40c03000 + 8, 0xc00007fdn);
    expect(machine.read((513 * 2 ** 30) / 4096 + 5)).toMatchObject({ page: 0xc0005, sizeLog2: 30 });
  });
});

describe("nested", () => {
  beforeEach(() => {
    start(STE_CONFIG.nested, { eats: EATS.full });
  });

  it("goes through both stages", () => {
    expect(machine.write(1)).toMatchObject({ status: "success", page: HOST });
    expect(machine.translationRequest(1)).toMatchObject({ page: HOST, read: true, write: true });
  });

  it("the context descriptor is behind stage 2", () => {
    mapStage2(machine, CONTEXTS / 4096, 0, 0n);
    expect(machine.read(1).fault).toBe("F_TRANSLATION");
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000010", "0x0000008800000000", "0x0000000000001000", "0x0000000040900000"],
    ]);
    expect(machine.translationRequest(1)).toMatchObject({ status: "success", read: false, write: false });
  });

  it("tables of stage 1 are behind stage 2", () => {
    mapStage2(machine, TABLES / 4096 + 2, 0, 0n);
    expect(machine.read(1).fault).toBe("F_TRANSLATION");
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000010", "0x0000018800000000", "0x0000000000001000", "0x0000000040a02000"],
    ]);
  });

  it("S2PTW keeps walks out of device memory; TTRnW says that the table was read", () => {
    mapStage1Structures(machine, 0x7c7n);
    mapStage2(machine, CONTEXTS / 4096, CONTEXTS / 4096);
    expect(machine.read(1).fault).toBe("F_PERMISSION");
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000013", "0x0000118800000000", "0x0000000000001000", "0x0000000040a00000"],
    ]);
  });

  it("both stages must permit; stage 1 is asked first", () => {
    mapStage2(machine, IPA, HOST, 0x77fn);
    expect(machine.write(1).fault).toBe("F_PERMISSION");
    expect(machine.translationRequest(1)).toMatchObject({ read: true, write: false });
    machine.map({ 1: 0x50000fc7n });
    mapStage2(machine, IPA, 0, 0n);
    forget();
    expect(machine.write(1).fault).toBe("F_PERMISSION");
    expect(machine.takeEvents().map(([, w1]) => w1)).toEqual(["0x0000028000000000", "0x0000020000000000"]);
  });

  it("the smaller of two sizes counts", () => {
    machine.qword(TABLES + 2 * 4096, 0x50000f45n);
    forget();
    expect(machine.translationRequest(0)).toMatchObject({ page: HOST, sizeLog2: 12 });
  });

  it("a fault of stage 1 has no intermediate address", () => {
    expect(machine.read(2).fault).toBe("F_TRANSLATION");
    expect(machine.takeEvents()).toEqual([["0x0000010000000010", "0x0000020800000000", "0x0000000000002000"]]);
  });

  it("TLBI_S2_IPA leaves translations of both stages, which TLBI_NH_ALL drops", () => {
    machine.read(1);
    mapStage2(machine, IPA, HOST + 5);
    machine.issue(encodeCommand("TLBI_S2_IPA", { vmid: 1, page: IPA, leaf: 1 }));
    expect(machine.read(1).page).toBe(HOST);
    machine.issue(encodeCommand("TLBI_NH_ALL", { vmid: 1 }));
    expect(machine.read(1).page).toBe(HOST + 5);
  });

  it("without TLBI_S2_IPA stage 2 stays as it was", () => {
    machine.read(1);
    mapStage2(machine, IPA, HOST + 5);
    machine.issue(encodeCommand("TLBI_NH_ALL", { vmid: 1 }));
    expect(machine.read(1).page).toBe(HOST);
    machine.issue(encodeCommand("TLBI_S12_VMALL", { vmid: 2 }));
    expect(machine.read(1).page).toBe(HOST);
    machine.issue(encodeCommand("TLBI_S12_VMALL", { vmid: 1 }));
    expect(machine.read(1).page).toBe(HOST + 5);
  });

  it("an invalidation of part of a block of stage 1 drops all of it", () => {
    machine.qword(TABLES + 2 * 4096, 0x50000f45n);
    mapStage2(machine, IPA + 7, HOST + 7);
    forget();
    expect(machine.read(7).page).toBe(HOST + 7);
    machine.qword(TABLES + 2 * 4096, 0x50200f45n);
    mapStage2(machine, IPA + 0x207, HOST + 9);
    machine.issue(encodeCommand("TLBI_NH_VA", { vmid: 1, asid: 5, page: 0x100, leaf: 1 }));
    expect(machine.read(7).page).toBe(HOST + 9);
  });
});

describe("split-stage ATS", () => {
  const SPLIT = { eats: EATS.split };

  it("answers intermediate addresses with the permissions of both, and translates what comes back", () => {
    start(STE_CONFIG.nested, SPLIT);
    mapStage2(machine, IPA, HOST, 0x77fn);
    expect(machine.translationRequest(1)).toMatchObject({ page: IPA, read: true, write: false });
    expect(machine.smmu.translate(0x100, -1, IPA, 0, TRANSLATED)).toMatchObject({ status: "success", page: HOST });
    expect(machine.smmu.translate(0x100, -1, IPA, 0, TRANSLATED | REQUEST_WRITE).fault).toBe("F_PERMISSION");
    expect(machine.smmu.translate(0x100, -1, IPA + 1, 0, TRANSLATED).fault).toBe("F_TRANSLATION");
    expect(machine.takeEvents().map(([, w1, w2, w3]) => [w1, w2, w3])).toEqual([
      ["0x0000028000000000", "0x0000000050000000", "0x0000000050000000"],
      ["0x0000028800000000", "0x0000000050001000", "0x0000000050001000"],
    ]);
    expect(machine.smmu.translate(0x100, -1, 2 ** 36, 0, TRANSLATED).fault).toBe("F_ADDR_SIZE");
  });

  it("counts as off without ATSCHK", () => {
    start(STE_CONFIG.nested, SPLIT);
    machine.write32(0x20, CR0.cmdqen | CR0.eventqen | CR0.priqen | CR0.smmuen);
    forget();
    expect(machine.translationRequest(1)).toMatchObject({ status: "UR", fault: "F_BAD_ATS_TREQ" });
    expect(machine.translated(0x7777)).toMatchObject({ status: "success", page: 0x7777 });
  });

  it("that skips stage 1 answers the address that came", () => {
    start(STE_CONFIG.nested, { ...SPLIT, s1CdMax: 2, s1Dss: 1 });
    expect(machine.translationRequest(IPA)).toMatchObject({ page: IPA, read: true, write: true });
    machine.ste(stage2Ste(STE_CONFIG.nested, { eats: EATS.full, s1CdMax: 2, s1Dss: 1 }));
    forget();
    expect(machine.translationRequest(IPA)).toMatchObject({ page: HOST, read: true, write: true });
  });
});

describe("updates by hardware", () => {
  /** HTTU 2, and what nested streams need. */
  const HTTU2 = 0x0dcd149b | 0x80;

  it("stage 2 sets its access flag and its dirty state", () => {
    start(STE_CONFIG.stage2, { s2Ha: 1, s2Hd: 1 }, HTTU2);
    // Readable, writable-clean (DBM), AF = 0.
    mapStage2(machine, IPA, HOST, 0x000800000000037fn);
    machine.read(IPA);
    const before = leaf();
    machine.write(IPA);
    expect([before & 0xfffn, leaf() & 0xfffn]).toEqual([0x77fn, S2_RW]);
  });

  it("stage 1's need write permission of stage 2 on the table", () => {
    start(STE_CONFIG.nested, {}, HTTU2);
    machine.cd(0, { ha: 1, hd: 1 });
    machine.map({ 1: 0x0008000050000fc7n });
    mapStage1Structures(machine, 0x77fn);
    expect(machine.write(1).fault).toBe("F_PERMISSION");
    // CLASS = TT, TTRnW = 0: the table was to be written.
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000013", "0x0000018000000000", "0x0000000000001000", "0x0000000040a03000"],
    ]);
    mapStage1Structures(machine);
    forget();
    expect(machine.write(1)).toMatchObject({ status: "success", page: HOST });
    expect(machine.readQword(TABLES + 3 * 4096 + 8)).toBe(0x0008000050000f47n);
  });

  function leaf(): bigint {
    let table = S2_TABLES;
    for (const shift of [27, 18, 9]) {
      table = Number(machine.readQword(table + (Math.floor(IPA / 2 ** shift) % 512) * 8) & 0xfffffffff000n);
    }
    return machine.readQword(table + (IPA % 512) * 8);
  }
});
