import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CD,
  type CdField,
  decodeCd,
  describeCd,
  encodeCd,
  granuleOfTg0,
  granuleOfTg1,
} from "../../src/layout/context-descriptor.ts";
import { LINUX_MAIR } from "../../src/layout/vmsav8-64.ts";
import { bytesOf, hexOf, wordsOf } from "../support/words.ts";

const linux = {
  ir0: 1,
  or0: 1,
  sh0: 3,
  epd1: 1,
  v: 1,
  ips: 5,
  aa64: 1,
  r: 1,
  a: 1,
  aset: 1,
  mair0: LINUX_MAIR[0],
  mair1: LINUX_MAIR[1],
};

describe("context descriptor", () => {
  it.each([
    ["4K, 48 bits, ASID 5", { t0Sz: 16, asid: 5 }, "0x0005e205c0003510", "10 35 00 c0 05 e2 05 00"],
    ["with HA and HD", { t0Sz: 16, asid: 5, ha: 1, hd: 1 }, "0x0005ee05c0003510", "10 35 00 c0 05 ee 05 00"],
    ["4K, 39 bits, ASID 6", { t0Sz: 25, asid: 6 }, "0x0006e205c0003519", "19 35 00 c0 05 e2 06 00"],
    ["64K, 48 bits, ASID 7", { t0Sz: 16, tg0: 1, asid: 7 }, "0x0007e205c0003550", "50 35 00 c0 05 e2 07 00"],
  ])("%s", (_what, fields, word, bytes) => {
    const words = encodeCd({ ...linux, ...fields, ttb0: 0x880200000 });
    expect(hexOf(words)).toEqual([word, "0x0000000880200000", "0x0000000000000000", "0xfffffffff404ff44"]);
    expect(bytesOf(words, 8)).toBe(bytes);
    expect(decodeCd(words)).toMatchObject(fields);
  });

  it("keeps every field apart from the others", () => {
    const widths = Object.entries(CD).map(([name, [, high, low]]) => [name, high - low + 1] as const);
    fc.assert(
      fc.property(
        fc.record(Object.fromEntries(widths.map(([name, width]) => [name, fc.bigInt(0n, 2n ** BigInt(width) - 1n)]))),
        (values) => {
          const fields = Object.fromEntries(
            Object.entries(values).map(([name, value]) => {
              const [, , low, address] = CD[name as CdField] as readonly number[];
              return [name, Number(value) * (address === undefined ? 1 : 2 ** (low ?? 0))];
            }),
          );
          expect(decodeCd(encodeCd(fields))).toEqual(fields);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("names granules by two different codes", () => {
    expect([0, 1, 2, 3].map(granuleOfTg0)).toEqual([12, 16, 14, 0]);
    expect([0, 1, 2, 3].map(granuleOfTg1)).toEqual([0, 14, 12, 16]);
  });

  it("is told in the specification's words", () => {
    expect(describeCd(wordsOf(8))).toBe("V=0");
    expect(describeCd(wordsOf(8, 0x0005e205c0003510n, 0x880200000n))).toBe(
      "V=1 ASID=5 TTB0=0x880200000 T0SZ=16 A R ASET",
    );
  });
});
