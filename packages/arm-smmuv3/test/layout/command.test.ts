import { type Words, getField } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandName, describeCommand } from "../../src/layout/command-text.ts";
import {
  ATC_SIZE_ALL,
  COMMAND,
  PRI_RESPONSE,
  SYNC_SIGNAL,
  cmdAtcInv,
  cmdCfgiAll,
  cmdCfgiCd,
  cmdCfgiSte,
  cmdPrefetchConfig,
  cmdPriResp,
  cmdSync,
  encodeCommand,
} from "../../src/layout/command.ts";
import { bytesOf, wordsOf } from "../support/words.ts";

const SID = 0x100;

const golden: readonly [text: string, words: Words, w0: bigint, w1: bigint][] = [
  ["CFGI_STE SID=0x100 leaf", cmdCfgiSte(SID, true), 0x0000010000000003n, 1n],
  [
    "CFGI_STE_RANGE SID=0x100 Range=3",
    encodeCommand("CFGI_STE_RANGE", { sid: SID, range: 3 }),
    0x0000010000000004n,
    3n,
  ],
  ["CFGI_ALL", cmdCfgiAll(), 0x4n, 0x1fn],
  ["CFGI_CD SID=0x100 SSID=5 leaf", cmdCfgiCd(SID, 5, true), 0x0000010000005005n, 1n],
  ["TLBI_NH_ASID ASID=5", encodeCommand("TLBI_NH_ASID", { asid: 5 }), 0x0005000000000011n, 0n],
  [
    "TLBI_NH_VA ASID=5 page 0x1 leaf",
    encodeCommand("TLBI_NH_VA", { asid: 5, page: 1, leaf: 1 }),
    0x0005000000000012n,
    0x1001n,
  ],
  [
    "TLBI_NH_VA ASID=5 page 0x100 16 granules of 4 KiB leaf",
    encodeCommand("TLBI_NH_VA", { asid: 5, page: 0x100, leaf: 1, num: 15, ttl: 3, tg: 1 }),
    0x000500000000f012n,
    0x100701n,
  ],
  ["TLBI_S12_VMALL VMID=1", encodeCommand("TLBI_S12_VMALL", { vmid: 1 }), 0x0000000100000028n, 0n],
  [
    "TLBI_S2_IPA VMID=1 page 0x200 512 granules of 4 KiB leaf",
    encodeCommand("TLBI_S2_IPA", { vmid: 1, page: 0x200, leaf: 1, num: 15, scale: 5, ttl: 3, tg: 1 }),
    0x000000010050f02an,
    0x200701n,
  ],
  ["TLBI_NSNH_ALL", encodeCommand("TLBI_NSNH_ALL"), 0x30n, 0n],
  ["ATC_INV SID=0x100 page 0x0 2^2 pages", cmdAtcInv(SID, undefined, 0, 2), 0x0000010000000040n, 0x2n],
  ["ATC_INV SID=0x100 page 0x0 2^3 pages", cmdAtcInv(SID, undefined, 0, 3), 0x0000010000000040n, 0x3n],
  ["ATC_INV SID=0x100 page 0x8 2^2 pages", cmdAtcInv(SID, undefined, 8, 2), 0x0000010000000040n, 0x8002n],
  ["ATC_INV SID=0x100 page 0x0 2^4 pages", cmdAtcInv(SID, undefined, 0, 4), 0x0000010000000040n, 0x4n],
  ["ATC_INV SID=0x100 SSID=5 page 0x0 2^2 pages", cmdAtcInv(SID, 5, 0, 2), 0x0000010000005840n, 0x2n],
  ["ATC_INV SID=0x100 all", cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL), 0x0000010000000040n, 0x34n],
  ["ATC_INV SID=0x100 SSID=5 all", cmdAtcInv(SID, 5, 0, ATC_SIZE_ALL), 0x0000010000005840n, 0x34n],
  [
    "ATC_INV SID=0x100 SSID=5 all",
    encodeCommand("ATC_INV", { sid: SID, ssv: 1, ssid: 5, global: 1, size: ATC_SIZE_ALL }),
    0x0000010000005a40n,
    0x34n,
  ],
  [
    "PRI_RESP SID=0x100 SSID=5 PRG=3 success",
    cmdPriResp(SID, 5, 3, PRI_RESPONSE.success),
    0x0000010000005841n,
    0x2003n,
  ],
  [
    "PRI_RESP SID=0x100 PRG=3 invalid",
    cmdPriResp(SID, undefined, 3, PRI_RESPONSE.invalid),
    0x0000010000000041n,
    0x1003n,
  ],
  ["PRI_RESP SID=0x100 PRG=3 failure", cmdPriResp(SID, undefined, 3, PRI_RESPONSE.failure), 0x0000010000000041n, 0x3n],
  ["SYNC", cmdSync(SYNC_SIGNAL.sev), 0x000000000fc02046n, 0n],
  ["SYNC", cmdSync(SYNC_SIGNAL.irq, 0x880070040), 0x000000000fc01046n, 0x880070040n],
  ["PREFETCH_CONFIG SID=0x100", cmdPrefetchConfig(SID), 0x0000010000000001n, 0n],
];

describe("commands", () => {
  it.each(golden)("%s", (text, words, w0, w1) => {
    expect([...words]).toEqual([...wordsOf(2, w0, w1)]);
    expect(describeCommand(words)).toBe(text);
  });

  it("as memory holds them", () => {
    expect(bytesOf(cmdAtcInv(SID, undefined, 0, 2), 16)).toBe("40 00 00 00 00 01 00 00 02 00 00 00 00 00 00 00");
  });

  it("keep a page number of any 64-bit address", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 52n - 1n),
        fc.integer({ min: 0, max: 0xffff }),
        fc.boolean(),
        (page, asid, leaf) => {
          const words = encodeCommand("TLBI_NH_VA", { asid, page: Number(page), leaf: leaf ? 1 : 0 });
          expect(BigInt(getField(words, COMMAND.page))).toBe(page);
          expect(getField(words, COMMAND.asid)).toBe(asid);
          expect(getField(words, COMMAND.leaf)).toBe(leaf ? 1 : 0);
          expect([...words]).toEqual([...wordsOf(2, (BigInt(asid) << 48n) | 0x12n, (page << 12n) | BigInt(leaf))]);
        },
      ),
    );
  });

  it("without a name go by number", () => {
    expect(commandName(wordsOf(2, 0x99n))).toBe("opcode 0x99");
  });
});
