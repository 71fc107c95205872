import type { LogEvent } from "@iommu-lab/amd-vi";
import {
  EVENT,
  EVENT_PE,
  EVENT_PR,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  EVENT_US,
  decodeEvent,
  decodePprEntry,
  describeEvent,
  encodeEvent,
  encodeInvalidPprRequest,
  encodePprEntry,
  eventType,
} from "@iommu-lab/amd-vi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dwords } from "./golden.ts";

const at = { deviceId: 0x3a00, lo: 0xdeadb000, hi: 0 };
const fault = { code: EVENT.IO_PAGE_FAULT, ...at, domainId: 0x12 };
const nowhere = { deviceId: 0, hi: 0 };

const golden: readonly (readonly [string, LogEvent, string, string])[] = [
  [
    "write, not present",
    { ...fault, flags: EVENT_RW },
    "00003A00 20200012 DEADB000 00000000",
    "IO_PAGE_FAULT device 0x3a00, domain 0x12, address 0xdeadb000, RW",
  ],
  [
    "read permission",
    { ...fault, flags: EVENT_PR | EVENT_PE },
    "00003A00 20500012 DEADB000 00000000",
    "IO_PAGE_FAULT device 0x3a00, domain 0x12, address 0xdeadb000, PR PE",
  ],
  [
    "write permission",
    { ...fault, flags: EVENT_PR | EVENT_RW | EVENT_PE },
    "00003A00 20700012 DEADB000 00000000",
    "IO_PAGE_FAULT device 0x3a00, domain 0x12, address 0xdeadb000, PR RW PE",
  ],
  [
    "write of a PASID, user",
    { code: EVENT.IO_PAGE_FAULT, deviceId: 0x3a00, pasid: 0x12345, flags: EVENT_US | EVENT_RW, lo: 0x1000, hi: 0x7f00 },
    "00013A00 20252345 00001000 00007F00",
    "IO_PAGE_FAULT device 0x3a00, PASID 74565, address 0x7f0000001000, US RW",
  ],
  [
    "reserved bit in a DTE",
    { code: EVENT.ILLEGAL_DEV_TABLE_ENTRY, ...at, flags: EVENT_RZ },
    "00003A00 10800000 DEADB000 00000000",
    "ILLEGAL_DEV_TABLE_ENTRY device 0x3a00, domain 0x0, address 0xdeadb000, RZ",
  ],
  [
    "device table does not answer",
    { code: EVENT.DEV_TAB_HARDWARE_ERROR, deviceId: 0x3a00, flags: eventType(1), lo: 0x3074000, hi: 0 },
    "00003A00 32000000 03074000 00000000",
    "DEV_TAB_HARDWARE_ERROR device 0x3a00, domain 0x0, address 0x3074000, type 1",
  ],
  [
    "Translated request with I=0",
    { code: EVENT.INVALID_DEVICE_REQUEST, ...at, flags: eventType(1) },
    "00003A00 82000000 DEADB000 00000000",
    "INVALID_DEVICE_REQUEST device 0x3a00, domain 0x0, address 0xdeadb000, type 1",
  ],
  [
    "Translation Request with I=0",
    { code: EVENT.INVALID_DEVICE_REQUEST, ...at, flags: EVENT_TR },
    "00003A00 81000000 DEADB000 00000000",
    "INVALID_DEVICE_REQUEST device 0x3a00, domain 0x0, address 0xdeadb000, TR type 0",
  ],
  [
    "IOTLB_INV_TIMEOUT",
    { code: EVENT.IOTLB_INV_TIMEOUT, deviceId: 0x3a00, lo: 0x5000020, hi: 0 },
    "00003A00 70000000 05000020 00000000",
    "IOTLB_INV_TIMEOUT device 0x3a00, domain 0x0, address 0x5000020",
  ],
  [
    "ILLEGAL_COMMAND_ERROR",
    { code: EVENT.ILLEGAL_COMMAND_ERROR, ...nowhere, lo: 0x5000010 },
    "00000000 50000000 05000010 00000000",
    "ILLEGAL_COMMAND_ERROR address 0x5000010",
  ],
];

describe("event log", () => {
  test.each(golden)("%s", (_name, event, words, text) => {
    const encoded = encodeEvent(event);
    expect(dwords(encoded)).toBe(words);
    expect(describeEvent(encoded)).toBe(text);
    expect(decodeEvent(encoded)).toEqual({ flags: 0, ...(event.pasid === undefined ? { domainId: 0 } : {}), ...event });
  });

  test("any PASID and domain survive", () => {
    const ids = fc.record({ deviceId: fc.nat(0xffff), id: fc.nat(2 ** 20 - 1), guest: fc.boolean() });
    fc.assert(
      fc.property(ids, ({ deviceId, id, guest }) => {
        const who = guest ? { pasid: id } : { domainId: id & 0xffff };
        const event = { code: EVENT.IO_PAGE_FAULT, deviceId, ...who, flags: 0, lo: 1, hi: 2 };
        expect(decodeEvent(encodeEvent(event))).toEqual(event);
      }),
    );
  });

  test("INVALID_PPR_REQUEST has its PASID in other places", () => {
    const words = encodeInvalidPprRequest(0x3a00, 0x12345, 5, 0x1000, 0);
    expect(dwords(words)).toBe("23453A00 91000405 00001000 00000000");
    expect(describeEvent(words)).toBe("INVALID_PPR_REQUEST device 0x3a00, tag 5, address 0x1000");
  });
});

describe("PPR log", () => {
  test("layout", () => {
    const entry = {
      deviceId: 0x3a00,
      pasid: 0x12345,
      groupIndex: 5,
      last: true,
      read: true,
      write: true,
      page: 0x7f00001,
    };
    expect(dwords(encodePprEntry(entry))).toBe("23453A00 11640605 00001000 0000007F");
    expect(decodePprEntry(encodePprEntry(entry))).toEqual(entry);
  });

  test("without PASID", () => {
    const entry = { deviceId: 0x100, groupIndex: 511, last: false, read: true, write: false, page: 2 ** 52 - 1 };
    expect(decodePprEntry(encodePprEntry(entry))).toEqual(entry);
  });
});
