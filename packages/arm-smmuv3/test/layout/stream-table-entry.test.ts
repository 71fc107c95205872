import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeL1cd, describeL1std, encodeL1cd, encodeL1std } from "../../src/layout/level1-descriptors.ts";
import {
  EATS,
  S1_DSS,
  S1_FMT,
  SH_CFG_INCOMING,
  STE,
  STE_CONFIG,
  type SteField,
  decodeSte,
  describeSte,
  encodeSte,
} from "../../src/layout/stream-table-entry.ts";
import { bytesOf, hexOf, wordsOf } from "../support/words.ts";

const attributes = { s1Cir: 1, s1Cor: 1, s1Csh: 3 };
const stage1 = { v: 1, config: STE_CONFIG.stage1, ...attributes, s1Dss: S1_DSS.ssid0 };
const stage2 = {
  v: 1,
  config: STE_CONFIG.stage2,
  s2Ir0: 1,
  s2Or0: 1,
  s2Sh0: 3,
  s2Aa64: 1,
  s2Ptw: 1,
  s2R: 1,
};

const golden: readonly {
  readonly what: string;
  readonly fields: Readonly<Partial<Record<SteField, number>>>;
  readonly words: readonly string[];
  readonly bytes: string;
}[] = [
  { what: "abort", fields: { v: 1 }, words: ["0x0000000000000001"], bytes: "01 00 00 00" },
  {
    what: "bypass with incoming shareability",
    fields: { v: 1, config: STE_CONFIG.bypass, shCfg: SH_CFG_INCOMING },
    words: ["0x0000000000000009", "0x0000100000000000"],
    bytes: "09 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00",
  },
  {
    what: "stage 1, 4 KB leaves",
    fields: {
      ...stage1,
      s1ContextPtr: 0x880010000,
      s1CdMax: 8,
      s1Fmt: S1_FMT.leaves4K,
      s1StallD: 1,
      eats: EATS.full,
    },
    words: ["0x400000088001001b", "0x00000000180000d6"],
    bytes: "1b 00 01 80 08 00 00 40 d6 00 00 18 00 00 00 00",
  },
  {
    what: "stage 1, linear table",
    fields: { ...stage1, s1ContextPtr: 0x880020000, s1CdMax: 6, eats: EATS.full },
    words: ["0x300000088002000b", "0x00000000100000d6"],
    bytes: "0b 00 02 80 08 00 00 30 d6 00 00 10 00 00 00 00",
  },
  {
    what: "stage 1, one descriptor, no ATS",
    fields: { ...stage1, s1ContextPtr: 0x880030000 },
    words: ["0x000000088003000b", "0x00000000000000d6"],
    bytes: "0b 00 03 80 08 00 00 00 d6 00",
  },
  {
    what: "stage 1 bypassed without SubstreamID, 64 KB leaves",
    fields: {
      ...stage1,
      s1Dss: S1_DSS.bypass,
      s1ContextPtr: 0x880040000,
      s1CdMax: 20,
      s1Fmt: S1_FMT.leaves64K,
      eats: EATS.full,
      shCfg: SH_CFG_INCOMING,
    },
    words: ["0xa00000088004002b", "0x00001000100000d5"],
    bytes: "2b 00 04 80 08 00 00 a0 d5 00 00 10 00 10 00 00",
  },
  {
    what: "stage 2, 48 bits",
    fields: {
      ...stage2,
      s2T0Sz: 16,
      s2Sl0: 2,
      s2Ps: 5,
      s2Vmid: 1,
      eats: EATS.full,
      s2Ttb: 0x880100000,
      shCfg: SH_CFG_INCOMING,
    },
    words: ["0x000000000000000d", "0x0000100010000000", "0x044d359000000001", "0x0000000880100000"],
    bytes: "0d 00 00 00 00 00 00 00 00 00 00 10 00 10 00 00 01 00 00 00 90 35 4d 04",
  },
  {
    what: "stage 2, 40 bits",
    fields: { ...stage2, s2T0Sz: 24, s2Sl0: 1, s2Ps: 2, s2Vmid: 2, s2Ttb: 0x880102000 },
    words: ["0x000000000000000d", "0x0000000000000000", "0x044a355800000002", "0x0000000880102000"],
    bytes: "0d 00",
  },
];

describe("stream table entry", () => {
  it.each(golden)("$what", ({ fields, words, bytes }) => {
    const encoded = encodeSte(fields);
    expect(hexOf(encoded)).toEqual(words);
    expect(bytesOf(encoded, (bytes.length + 1) / 3)).toBe(bytes);
    expect(decodeSte(encoded)).toMatchObject(fields);
  });

  it("keeps every field apart from the others", () => {
    const widths = Object.entries(STE).map(([name, [, high, low]]) => [name, high - low + 1] as const);
    fc.assert(
      fc.property(
        fc.record(Object.fromEntries(widths.map(([name, width]) => [name, fc.bigInt(0n, 2n ** BigInt(width) - 1n)]))),
        (values) => {
          const fields = Object.fromEntries(
            Object.entries(values).map(([name, value]) => {
              const [, , low, address] = STE[name as SteField] as readonly number[];
              return [name, Number(value) * (address === undefined ? 1 : 2 ** (low ?? 0))];
            }),
          );
          expect(decodeSte(encodeSte(fields))).toEqual(fields);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is told in the specification's words", () => {
    expect(describeSte(wordsOf(8))).toBe("V=0");
    expect(describeSte(wordsOf(8, 1n))).toBe("V=1 Config=abort");
    expect(describeSte(wordsOf(8, 9n))).toBe("V=1 Config=bypass");
    expect(describeSte(wordsOf(8, 0xa00000088004002bn, 0x100000d5n))).toBe(
      "V=1 Config=S1 S1ContextPtr=0x880040000 S1CDMax=20 S1Fmt=64K leaves S1DSS=bypass EATS=full",
    );
    expect(describeSte(wordsOf(8, 0x88003000bn, 0xd6n))).toBe(
      "V=1 Config=S1 S1ContextPtr=0x880030000 S1CDMax=0 EATS=off",
    );
    expect(describeSte(wordsOf(8, 0xdn, 0x10000000n, 1n, 0x880100000n))).toBe(
      "V=1 Config=S2 S2TTB=0x880100000 S2VMID=1 EATS=full",
    );
  });
});

describe("level-1 descriptors", () => {
  it("of stream tables", () => {
    const words = encodeL1std(9, 0x880060000);
    expect(hexOf(words)).toEqual(["0x0000000880060009"]);
    expect(bytesOf(words, 8)).toBe("09 00 06 80 08 00 00 00");
    expect(describeL1std(words)).toBe("Span=9 L2Ptr=0x880060000");
  });

  it("of context descriptor tables", () => {
    const words = encodeL1cd(0x880050000);
    expect(bytesOf(words, 8)).toBe("01 00 05 80 08 00 00 00");
    expect(describeL1cd(words)).toBe("V=1 L2Ptr=0x880050000");
  });
});
