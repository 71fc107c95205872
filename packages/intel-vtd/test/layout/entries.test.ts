import {
  EMPTY_PASID_ENTRY,
  decodeContextEntry,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  decodeRootEntry,
  decodeScalableContext,
  decodeScalableRootEntry,
  describeContextEntry,
  describePasidEntry,
  describeScalableContext,
  encodeContextEntry,
  encodeInvalidationQueueAddress,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeRootEntry,
  encodeRootTableAddress,
  encodeScalableContext,
  encodeScalableRootEntry,
  pasidDirectoryOffset,
  pasidEntryOffset,
} from "@iommu-lab/intel-vtd";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf, hexOf } from "./golden.ts";

const tables = fc.integer({ min: 0, max: 2 ** 36 - 1 }).map((page) => page * 4096);

describe("registers", () => {
  test("RTADDR carries the mode", () => {
    expect(encodeRootTableAddress({ table: 0x01000000, mode: 0 })).toEqual([0x01000000, 0]);
    expect(encodeRootTableAddress({ table: 0x01000000, mode: 1 })).toEqual([0x01000400, 0]);
    expect(encodeRootTableAddress({ table: 0, mode: 3 })).toEqual([0xc00, 0]);
  });

  test("IQA carries width and size", () => {
    expect(encodeInvalidationQueueAddress({ base: 0x5000000, wide: false, size: 0 })).toEqual([0x5000000, 0]);
    expect(encodeInvalidationQueueAddress({ base: 0x5000000, wide: true, size: 1 })).toEqual([0x5000801, 0]);
  });
});

describe("legacy entries", () => {
  test("root entry", () => {
    const words = encodeRootEntry({ present: true, contextTable: 0x1001000 });
    expect(bytesOf(words, 16)).toBe("01 10 00 01 00 00 00 00 00 00 00 00 00 00 00 00");
  });

  test.each([
    [1, "0x1002005 0x1202", "05 20 00 01 00 00 00 00 02 12 00 00 00 00 00 00"],
    [0, "0x1002001 0x1202", "01 20 00 01 00 00 00 00 02 12 00 00 00 00 00 00"],
  ])("context entry with TT=%i", (translationType, hex, bytes) => {
    const words = encodeContextEntry({
      present: true,
      faultDisable: false,
      translationType,
      pageTable: 0x1002000,
      addressWidth: 2,
      domainId: 0x12,
    });
    expect(hexOf(words)).toBe(hex);
    expect(bytesOf(words, 16)).toBe(bytes);
  });

  test("context entry passing through", () => {
    const words = encodeContextEntry({
      present: true,
      faultDisable: false,
      translationType: 2,
      pageTable: 0,
      addressWidth: 2,
      domainId: 0x12,
    });
    expect(bytesOf(words, 10)).toBe("09 00 00 00 00 00 00 00 02 12");
    expect(describeContextEntry(words)).toBe("P, TT=2 (pass-through), AW=2, DID 18");
  });

  test("round trips", () => {
    fc.assert(
      fc.property(
        fc.record({
          present: fc.boolean(),
          faultDisable: fc.boolean(),
          translationType: fc.nat(3),
          pageTable: tables,
          addressWidth: fc.nat(7),
          domainId: fc.nat(0xffff),
        }),
        (entry) => {
          expect(decodeContextEntry(encodeContextEntry(entry))).toEqual(entry);
        },
      ),
    );
    fc.assert(
      fc.property(fc.record({ present: fc.boolean(), contextTable: tables }), (entry) => {
        expect(decodeRootEntry(encodeRootEntry(entry))).toEqual(entry);
      }),
    );
  });
});

describe("scalable entries", () => {
  test("root entry", () => {
    const words = encodeScalableRootEntry({
      lowPresent: true,
      lowTable: 0x1003000,
      highPresent: true,
      highTable: 0x1004000,
    });
    expect(hexOf(words)).toBe("0x1003001 0x1004001");
    expect(decodeScalableRootEntry(words).highTable).toBe(0x1004000);
  });

  test("context entry with everything on", () => {
    const words = encodeScalableContext({
      present: true,
      faultDisable: false,
      deviceTlbEnable: true,
      pasidEnable: true,
      pageRequestEnable: true,
      translatedPasidEnable: false,
      directorySize: 7,
      pasidDirectory: 0x1010000,
      ridPasid: 0,
      ridPrivileged: false,
    });
    expect(hexOf(words)).toBe("0x1010E1D 0x0 0x0 0x0");
    expect(bytesOf(words, 4)).toBe("1d 0e 01 01");
    expect(describeScalableContext(words)).toBe(
      "P, DTE=1, PASIDE=1, PRE=1, PDTS=7, PASID directory 0x1010000, RID_PASID=0",
    );
  });

  test("context entry without device-TLB and PASID", () => {
    const words = encodeScalableContext({
      present: true,
      faultDisable: false,
      deviceTlbEnable: false,
      pasidEnable: false,
      pageRequestEnable: false,
      translatedPasidEnable: false,
      directorySize: 7,
      pasidDirectory: 0x1010000,
      ridPasid: 0,
      ridPrivileged: false,
    });
    expect(hexOf(words)).toBe("0x1010E01 0x0 0x0 0x0");
  });

  test("PASID directory", () => {
    const words = encodePasidDirectoryEntry({ present: true, faultDisable: false, table: 0x1030000 });
    expect(hexOf(words)).toBe("0x1030001");
    expect(pasidDirectoryOffset(0x12345)).toBe(0x2468);
    expect(pasidEntryOffset(0x12345)).toBe(0x140);
  });

  const rest = " 0x0 0x0 0x0 0x0 0x0";
  test.each([
    [
      "first stage, 4 levels",
      { addressWidth: 0, translationType: 1, firstStageTable: 0x2000000, domainId: 5, pageWalkSnoop: true },
      `0x49 0x800005 0x2000000${rest}`,
    ],
    [
      "first stage, 5 levels, page snoop",
      {
        translationType: 1,
        firstStageMode: 1,
        firstStageTable: 0x2000000,
        domainId: 5,
        pageWalkSnoop: true,
        pageSnoop: true,
      },
      `0x49 0x1800005 0x2000004${rest}`,
    ],
    [
      "second stage",
      { translationType: 2, secondStageTable: 0x1002000, domainId: 0x12, pageWalkSnoop: true },
      `0x1002089 0x800012 0x0${rest}`,
    ],
    [
      "second stage, accessed and dirty bits",
      {
        translationType: 2,
        secondStageTable: 0x1002000,
        domainId: 0x12,
        pageWalkSnoop: true,
        secondStageAccessDirty: true,
      },
      `0x1002289 0x800012 0x0${rest}`,
    ],
    [
      "nested",
      {
        translationType: 3,
        secondStageTable: 0x1002000,
        domainId: 0x13,
        pageWalkSnoop: true,
        firstStageTable: 0x7f000,
        supervisorEnable: true,
        writeProtect: true,
      },
      `0x10020C9 0x800013 0x7F011${rest}`,
    ],
    ["pass-through", { translationType: 4, domainId: 1, pageWalkSnoop: true }, `0x109 0x800001 0x0${rest}`],
  ])("PASID entry: %s", (_name, fields, hex) => {
    // Linux writes the width into every entry; the vectors follow it (AW = 2).
    const words = encodePasidEntry({ ...EMPTY_PASID_ENTRY, ...fields, present: true, addressWidth: 2 });
    expect(hexOf(words)).toBe(hex);
  });

  test("a cleared entry that keeps its fields says so", () => {
    const words = encodePasidEntry({ ...EMPTY_PASID_ENTRY, translationType: 1, domainId: 5, addressWidth: 2 });
    expect(describePasidEntry(words)).toBe("not present, PGTT=1, DID 5 left behind");
    expect(describePasidEntry(encodePasidEntry({ ...EMPTY_PASID_ENTRY, faultDisable: true }))).toBe("not present, FPD");
  });

  test("round trips", () => {
    fc.assert(
      fc.property(
        fc.record({
          present: fc.boolean(),
          faultDisable: fc.boolean(),
          addressWidth: fc.nat(7),
          translationType: fc.nat(7),
          secondStageAccessDirty: fc.boolean(),
          secondStageTable: tables,
          domainId: fc.nat(0xffff),
          pageWalkSnoop: fc.boolean(),
          pageSnoop: fc.boolean(),
          supervisorEnable: fc.boolean(),
          firstStageMode: fc.nat(3),
          writeProtect: fc.boolean(),
          extendedAccess: fc.boolean(),
          firstStageTable: tables,
          cacheDisable: fc.boolean(),
          memoryTypes: fc.boolean(),
          pat: fc.nat(0xffffffff),
          permissionTableSize: fc.nat(3),
          permissionFaultDisable: fc.boolean(),
          permissionTable: tables,
          permissionDomainId: fc.nat(0xffff),
        }),
        (entry) => {
          expect(decodePasidEntry(encodePasidEntry(entry))).toEqual(entry);
        },
      ),
    );
    fc.assert(
      fc.property(
        fc.record({
          present: fc.boolean(),
          faultDisable: fc.boolean(),
          deviceTlbEnable: fc.boolean(),
          pasidEnable: fc.boolean(),
          pageRequestEnable: fc.boolean(),
          permissionTableEnable: fc.boolean(),
          translatedPasidEnable: fc.boolean(),
          directorySize: fc.nat(7),
          pasidDirectory: tables,
          ridPasid: fc.nat(0xfffff),
          ridPrivileged: fc.boolean(),
        }),
        (entry) => {
          expect(decodeScalableContext(encodeScalableContext(entry))).toEqual(entry);
        },
      ),
    );
    fc.assert(
      fc.property(fc.record({ present: fc.boolean(), faultDisable: fc.boolean(), table: tables }), (entry) => {
        expect(decodePasidDirectoryEntry(encodePasidDirectoryEntry(entry))).toEqual(entry);
      }),
    );
  });
});
