import { hexWords } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { ContextEntry } from "../../src/hardware/context-entry.ts";
import { outputAddress } from "../../src/hardware/descriptor.ts";
import { dataAccess, executeOf, memoryType } from "../../src/hardware/stage2-permissions.ts";
import { StreamEntry } from "../../src/hardware/stream-entry.ts";
import { STE_RULE } from "../../src/hardware/stream-rules.ts";
import { ATTR } from "../../src/hardware/attributes.ts";
import { everyFeature } from "../../src/codecs/every-feature.ts";
import { encodeCommand } from "../../src/layout/command.ts";
import { encodeL1cd } from "../../src/layout/level1-descriptors.ts";
import { GBPA, REG } from "../../src/layout/registers.ts";
import { encodeSte } from "../../src/layout/stream-table-entry.ts";
import { Machine, STREAMS } from "../support/machine.ts";
import { hexOf, wordsOf } from "../support/words.ts";

describe("words", () => {
  it("nested stream over a 48-bit stage 2", () => {
    const words = encodeSte({
      v: 1,
      config: 7,
      s1ContextPtr: 0x880020000,
      s1CdMax: 6,
      s1Dss: 2,
      s1Cir: 1,
      s1Cor: 1,
      s1Csh: 3,
      mev: 1,
      eats: 1,
      shCfg: 1,
      s2Vmid: 1,
      s2T0Sz: 16,
      s2Sl0: 2,
      s2Ir0: 1,
      s2Or0: 1,
      s2Sh0: 3,
      s2Ps: 5,
      s2Aa64: 1,
      s2Ptw: 1,
      s2R: 1,
      s2Ttb: 0x880100000,
    });
    expect(hexOf(words)).toEqual([
      "0x300000088002000f",
      "0x00001000100800d6",
      "0x044d359000000001",
      "0x0000000880100000",
    ]);
  });

  it.each([
    ["retry", { ac: 1 }, "0x0000010000001044"],
    ["abort", { ab: 1 }, "0x0000010000002044"],
  ])("RESUME, %s", (_what, fields, word) => {
    expect(hexWords(encodeCommand("RESUME", { sid: 0x100, stag: 7, ...fields }))).toEqual([word, "0x0000000000000007"]);
  });

  it("level-1 context descriptor", () => {
    expect(hexWords(encodeL1cd(0x880050000))).toEqual(["0x0000000880050001"]);
  });

  it("GBPA abort", () => {
    expect((GBPA.abort | GBPA.update) >>> 0).toBe(0x80100000);
  });
});

describe("stage-2 descriptors", () => {
  it.each([
    ["RW", 0x00000001234567ffn, ATTR.s2Read | ATTR.s2Write, ATTR.writeBack],
    ["RO", 0x000000012345677fn, ATTR.s2Read, ATTR.writeBack],
    ["2 MiB", 0x00000001234007fdn, ATTR.s2Read | ATTR.s2Write, ATTR.writeBack],
  ])("%s", (_what, word, data, type) => {
    const [lo = 0, hi = 0] = wordsOf(1, word);
    expect(dataAccess(lo, false)).toBe(data);
    expect(executeOf(hi, true)).toBe(ATTR.s2Execute | ATTR.s2UserExecute);
    expect(memoryType((lo >>> 2) & 0xf, false)).toBe(type);
  });

  it("RW with S2FWB forces write-back", () => {
    const [lo = 0] = wordsOf(1, 0x00000001234567dbn);
    expect(dataAccess(lo, false)).toBe(ATTR.s2Read | ATTR.s2Write);
    expect(memoryType((lo >>> 2) & 0xf, true)).toBe(ATTR.writeBack | ATTR.forcedWriteBack);
  });

  it.each([
    [0n, "all"],
    [1n, "unprivileged"],
    [2n, "none"],
    [3n, "privileged"],
  ])("XN[1:0] = %i", (xn, who) => {
    const [, hi = 0] = wordsOf(1, ((xn >> 1n) << 54n) | ((xn & 1n) << 53n));
    const bits = {
      all: ATTR.s2Execute | ATTR.s2UserExecute,
      unprivileged: ATTR.s2UserExecute,
      none: 0,
      privileged: ATTR.s2Execute,
    };
    expect(executeOf(hi, true)).toBe(bits[who as keyof typeof bits]);
  });
});

describe("52-bit output addresses", () => {
  it("64 KiB pages hold bits 51:48 in 15:12", () => {
    const [lo = 0, hi = 0] = wordsOf(1, 0x000000012345af47n);
    expect(outputAddress(lo, hi, 16, true)).toBe(0xa000123450000);
    expect(outputAddress(lo, hi, 16, false)).toBe(0x123450000);
  });

  it("4 KiB pages with DS hold 51:50 in 9:8", () => {
    const [lo = 0, hi = 0] = wordsOf(1, 0x0003000123456f47n);
    expect(outputAddress(lo, hi, 12, true)).toBe(0xf000123456000);
    expect(outputAddress(lo, hi, 12, false)).toBe(0x123456000);
  });
});

/** Rules for an STE, on an SMMU with every feature and on ones that lack some. */
describe("illegal stream table entries", () => {
  const s2 = { v: 1, config: 6, s2T0Sz: 16, s2Sl0: 2, s2Ps: 5, s2Aa64: 1, s2Ttb: 0x40100000 };
  const s1 = { v: 1, config: 5, s1ContextPtr: 0x40100000 };

  it.each([
    ["stage 2", s2, {}, 0],
    ["stage 1", s1, {}, 0],
    ["V = 0", { ...s1, v: 0 }, {}, STE_RULE.invalid],
    ["reserved Config with V = 1", { v: 1, config: 3, s1CdMax: 31 }, {}, 0],
    ["no stage 1", s1, { stage1: false }, STE_RULE.noStage1],
    ["no stage 2", s2, { stage2: false }, STE_RULE.noStage2],
    ["STRW 1", { ...s1, strw: 1 }, {}, STE_RULE.strw],
    ["STRW 3", { ...s1, strw: 3 }, {}, STE_RULE.strw],
    ["STRW 1 without EL2", { ...s1, strw: 1 }, { hyp: false }, 0],
    ["STRW 1 with stage 2", { ...s2, strw: 1 }, {}, 0],
    ["S1STALLD where faults terminate", { ...s1, s1StallD: 1 }, { stallModel: 1 }, STE_RULE.stallDisabled],
    ["S1CDMax", { ...s1, s1CdMax: 11 }, { substreamIdBits: 10 }, STE_RULE.substreams],
    ["two levels", { ...s1, s1CdMax: 8, s1Fmt: 1 }, { twoLevelCd: false }, STE_RULE.twoLevels],
    ["two levels without substreams", { ...s1, s1Fmt: 1 }, { twoLevelCd: false }, 0],
    ["S1ContextPtr", { ...s1, s1ContextPtr: 2 ** 44 }, { oas: 44 }, STE_RULE.contextTable],
    ["EATS full while S2S", { ...s2, eats: 1, s2S: 1 }, {}, STE_RULE.eatsFullStalls],
    ["EATS full while S2S, nested", { ...s2, ...s1, config: 7, eats: 1, s2S: 1 }, {}, STE_RULE.eatsFullStalls],
    ["EATS full while S2S without ATS", { ...s2, eats: 1, s2S: 1 }, { ats: false }, 0],
    ["EATS split with stage 1 alone", { ...s1, eats: 2 }, {}, STE_RULE.eatsSplit],
    ["EATS split with stage 2 alone", { ...s2, eats: 2 }, {}, STE_RULE.eatsSplit],
    ["EATS split, nested", { ...s2, ...s1, config: 7, eats: 2 }, {}, 0],
    ["EATS split while S2S", { ...s2, ...s1, config: 7, eats: 2, s2S: 1 }, {}, STE_RULE.eatsSplit],
    ["EATS split with NS1ATS", { ...s2, ...s1, config: 7, eats: 2 }, { splitStageAts: false }, STE_RULE.eatsSplit],
    ["EATS 3 is as 0", { ...s1, eats: 3 }, {}, 0],
    ["EATS in a bypass entry", { v: 1, config: 4, eats: 2 }, {}, 0],
    ["S2S where faults terminate", { ...s2, s2S: 1 }, { stallModel: 1 }, STE_RULE.stage2Stalls],
    ["S2S clear where faults stall", s2, { stallModel: 2 }, STE_RULE.stage2MustStall],
    ["S2AA64", { ...s2, s2Aa64: 0 }, {}, STE_RULE.stage2Format],
    ["S2HA", { ...s2, s2Ha: 1 }, { httu: 0 }, STE_RULE.stage2Httu],
    ["S2HD", { ...s2, s2Ha: 1, s2Hd: 1 }, { httu: 1 }, STE_RULE.stage2Httu],
    ["S2TG reserved", { ...s2, s2Tg: 3 }, {}, STE_RULE.stage2Granule],
    ["S2TG absent", { ...s2, s2Tg: 1 }, { granule64K: false }, STE_RULE.stage2Granule],
    ["S2TTB beyond S2PS", { ...s2, s2Ps: 0, s2Ttb: 2 ** 33 }, {}, STE_RULE.stage2Table],
    ["S2T0SZ below the address size", { ...s2, s2T0Sz: 16 }, { oas: 44 }, STE_RULE.stage2Input],
    ["S2T0SZ 40 without STT", { ...s2, s2T0Sz: 40, s2Sl0: 0 }, { smallTables: false }, STE_RULE.stage2Input],
    ["S2SL0 too low for S2T0SZ", { ...s2, s2Sl0: 0 }, {}, STE_RULE.stage2Start],
    ["16 concatenated tables", { ...s2, s2T0Sz: 21, s2Sl0: 1 }, {}, 0],
    ["32 concatenated tables", { ...s2, s2T0Sz: 20, s2Sl0: 1 }, {}, STE_RULE.stage2Start],
    ["level 0 with 40 bits", { ...s2, s2T0Sz: 24, s2Sl0: 2 }, { oas: 40 }, STE_RULE.stage2Start],
    ["S2ENDI", { ...s2, s2Endi: 1 }, { ttEndian: 2 }, STE_RULE.stage2Endian],
    ["S2VMID", { ...s2, s2Vmid: 0x100 }, { vmidBits: 8 as const }, STE_RULE.vmid],
  ])("%s", (_what, fields, lacks, rule) => {
    const entry = new StreamEntry();
    entry.take(encodeSte(fields));
    entry.decode({ ...everyFeature, ...lacks }, false);
    expect(entry.rule).toBe(rule);
  });
});

it("the walk of the emulator's own test", () => {
  const machine = new Machine({ id: { idr0: 0x0d44101b, idr1: 0x02730010, idr3: 0x1414, idr5: 0x74 } });
  machine.enable();
  machine.store(STREAMS, wordsOf(8, 0x4e178fcbn, 0n, 0x000d009400000000n, 0x4e4d0000n));
  machine.store(0x4e178fc0, wordsOf(8, 0x1e206204c0000010n, 0x4e4d0001n, 1n));
  for (const [at, value] of [
    [0x4e4d0008, 0x4e4d1000n],
    [0x4e4d1010, 0x4e4d2000n],
    [0x4e4d2018, 0x4e4d3000n],
  ] as const) {
    machine.qword(at, value | 0x8000000000000003n);
  }
  machine.qword(0x4e4d3020, 0x040000004ecba763n);
  const result = machine.smmu.translate(0, NO_PASID, 0x8080604, 0x567, 0);
  expect(result).toMatchObject({ status: "success", page: 0x4ecba });
  expect(machine.read32(REG.idr0)).toBe(0x0d44101b);
});

it("a context descriptor of another stream world ignores what that world lacks", () => {
  const entry = new ContextEntry();
  entry.take(wordsOf(8, 0x0005e205c0003510n & ~0x40000000n, 0x880200000n));
  const el1 = new StreamEntry();
  entry.decode(everyFeature, el1);
  expect(entry.rule).not.toBe(0);
  const el2 = new StreamEntry();
  el2.take(encodeSte({ v: 1, config: 5, strw: 2 }));
  el2.decode(everyFeature, false);
  entry.decode(everyFeature, el2);
  expect(entry.rule).toBe(0);
});
