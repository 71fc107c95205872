import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBits, addressSizeCode } from "../../src/layout/address-size.ts";
import {
  HTTU,
  STALL_MODEL,
  TT_ENDIAN,
  decodeIdRegisters,
  encodeIdr0,
  encodeIdr1,
  encodeIdr3,
  encodeIdr5,
} from "../../src/layout/id-registers.ts";
import { advance, indexOf, isEmpty, isFull, occupied } from "../../src/layout/queue-index.ts";
import {
  decodeQueueBase,
  decodeStrtabBase,
  decodeStrtabBaseCfg,
  encodeQueueBase,
  encodeStrtabBase,
  encodeStrtabBaseCfg,
} from "../../src/layout/registers.ts";
import { hexOf } from "../support/words.ts";

const idr0 = {
  s2p: 1,
  s1p: 1,
  ttf: 2,
  cohacc: 1,
  httu: HTTU.accessFlagAndDirty,
  hyp: 1,
  ats: 1,
  asid16: 1,
  msi: 1,
  sev: 1,
  pri: 1,
  vmid16: 1,
  cd2l: 1,
  ttEndian: TT_ENDIAN.little,
  stLevel: 1,
};

describe("ID registers", () => {
  it("IDR0", () => {
    expect(encodeIdr0(idr0)).toBe(0x084d769b);
    expect(encodeIdr0({ ...idr0, ns1Ats: 1 })).toBe(0x084d7e9b);
    expect(encodeIdr0({ ...idr0, stallModel: STALL_MODEL.terminate })).toBe(0x094d769b);
  });

  it("IDR1, IDR3 and IDR5", () => {
    expect(encodeIdr1({ sidSize: 16, ssidSize: 20, cmdQs: 16, eventQs: 16, priQs: 16, attrTypesOvr: 1 })).toBe(
      0x0a108510,
    );
    expect(encodeIdr3({ had: 1, xnx: 1, ril: 1, bbml: 2 })).toBe(0x1414);
    expect(encodeIdr5({ oas: 5, gran4K: 1, gran16K: 1, gran64K: 1, stallMax: 16 })).toBe(0x00100075);
  });

  it("of an emulated SMMU with ATS", () => {
    expect(decodeIdRegisters({ idr0: 0x0d44141b, idr1: 0x02730410, idr3: 0x1414, idr5: 0x74 })).toMatchObject({
      ats: true,
      pri: false,
      hyp: false,
      msi: false,
      sev: false,
      twoLevelCd: false,
      twoLevelStreamTable: true,
      streamIdBits: 16,
      substreamIdBits: 16,
      stallModel: STALL_MODEL.terminate,
      alwaysAborts: true,
      attributeTypesOverride: false,
      rangeInvalidation: true,
      oas: 44,
      granule4K: true,
      granule64K: true,
      httu: HTTU.none,
      asidBits: 16,
      vmidBits: 16,
      embedded: false,
    });
  });
});

describe("table and queue registers", () => {
  it("STRTAB_BASE_CFG", () => {
    expect(encodeStrtabBaseCfg({ log2Size: 16, split: 8, twoLevels: true })).toBe(0x10210);
    expect(encodeStrtabBaseCfg({ log2Size: 25, split: 8, twoLevels: true })).toBe(0x10219);
    expect(encodeStrtabBaseCfg({ log2Size: 8, split: 0, twoLevels: false })).toBe(8);
    expect(decodeStrtabBaseCfg(0x10210)).toEqual({ log2Size: 16, split: 8, twoLevels: true });
    expect(decodeStrtabBaseCfg(0x10150).split).toBe(6);
  });

  it("base addresses", () => {
    expect(hexOf(encodeStrtabBase(0x880060000))).toEqual(["0x4000000880060000"]);
    expect(decodeStrtabBase([0x80060000, 0x40000008])).toBe(0x880060000);
    expect(hexOf(encodeQueueBase(0x880000000, 8))).toEqual(["0x4000000880000008"]);
    expect(decodeQueueBase([0x80000008, 0x40000008])).toEqual({ address: 0x880000000, log2Size: 8 });
  });
});

describe("address sizes", () => {
  it("go both ways", () => {
    for (const code of [0, 1, 2, 3, 4, 5, 6]) {
      expect(addressSizeCode(addressBits(code))).toBe(code);
    }
    expect(addressSizeCode(47)).toBe(4);
  });
});

describe("queue positions", () => {
  it("count, wrap, and tell full from empty", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(fc.boolean(), { maxLength: 600 }), (bits, steps) => {
        let producer = 0;
        let consumer = 0;
        let count = 0;
        for (const put of steps) {
          if (put && count < 2 ** bits) {
            producer = advance(producer, 1, bits);
            count += 1;
          } else if (!put && count > 0) {
            consumer = advance(consumer, 1, bits);
            count -= 1;
          }
          expect(occupied(producer, consumer, bits)).toBe(count);
          expect(isEmpty(producer, consumer, bits)).toBe(count === 0);
          expect(isFull(producer, consumer, bits)).toBe(count === 2 ** bits);
          expect(indexOf(producer, bits)).toBeLessThan(2 ** bits);
        }
      }),
    );
  });
});
