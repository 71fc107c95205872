import { getField } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  EVENT,
  EVENT_CLASS,
  EVENT_RECORD,
  type EventFields,
  describeEvent,
  encodeEvent,
  eventName,
} from "../../src/layout/event-record.ts";
import { encodePageRequest } from "../../src/layout/page-request-record.ts";
import { hexOf } from "../support/words.ts";

const sid = 0x100;
const IN = EVENT_CLASS.in;

const golden: readonly [what: string, fields: EventFields, words: readonly string[]][] = [
  [
    "F_TRANSLATION read",
    { id: EVENT.F_TRANSLATION, sid, read: true, class: IN, page: 1 },
    ["0x0000010000000010", "0x0000020800000000", "0x0000000000001000"],
  ],
  [
    "F_TRANSLATION write with PASID",
    { id: EVENT.F_TRANSLATION, sid, ssid: 5, class: IN, page: 0x7f0000001, offset: 0x234 },
    ["0x0000010000005810", "0x0000020000000000", "0x00007f0000001234"],
  ],
  [
    "F_ACCESS read",
    { id: EVENT.F_ACCESS, sid, read: true, class: IN, page: 2 },
    ["0x0000010000000012", "0x0000020800000000", "0x0000000000002000"],
  ],
  [
    "F_PERMISSION write",
    { id: EVENT.F_PERMISSION, sid, class: IN, page: 2 },
    ["0x0000010000000013", "0x0000020000000000", "0x0000000000002000"],
  ],
  [
    "F_TRANSL_FORBIDDEN write",
    { id: EVENT.F_TRANSL_FORBIDDEN, sid, page: 0x123456 },
    ["0x0000010000000007", "0x0000000000000000", "0x0000000123456000"],
  ],
  [
    "F_TRANSL_FORBIDDEN read",
    { id: EVENT.F_TRANSL_FORBIDDEN, sid, read: true, page: 0x123456 },
    ["0x0000010000000007", "0x0000000800000000", "0x0000000123456000"],
  ],
  [
    "F_WALK_EABT",
    { id: EVENT.F_WALK_EABT, sid, read: true, class: EVENT_CLASS.tt, page: 1, fetchAddress: 0x880200008 },
    ["0x000001000000000b", "0x0000010800000000", "0x0000000000001000", "0x0000000880200008"],
  ],
  [
    "F_CD_FETCH",
    { id: EVENT.F_CD_FETCH, sid, fetchAddress: 0x880020000 },
    ["0x0000010000000009", "0x0000000000000000", "0x0000000000000000", "0x0000000880020000"],
  ],
  ["C_BAD_STE", { id: EVENT.C_BAD_STE, sid }, ["0x0000010000000004"]],
  ["F_STREAM_DISABLED", { id: EVENT.F_STREAM_DISABLED, sid }, ["0x0000010000000006"]],
  ["C_BAD_STREAMID", { id: EVENT.C_BAD_STREAMID, sid }, ["0x0000010000000002"]],
  ["C_BAD_SUBSTREAMID", { id: EVENT.C_BAD_SUBSTREAMID, sid, ssid: 0x3ff }, ["0x00000100003ff008"]],
  ["C_BAD_CD", { id: EVENT.C_BAD_CD, sid, ssid: 5 }, ["0x000001000000580a"]],
];

describe("event records", () => {
  it.each(golden)("%s", (_what, fields, words) => {
    expect(hexOf(encodeEvent(fields))).toEqual(words);
  });

  it("keep what they are given", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xff }),
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.option(fc.integer({ min: 0, max: 0xfffff }), { nil: undefined }),
        fc.bigInt(0n, 2n ** 52n - 1n),
        fc.integer({ min: 0, max: 4095 }),
        (id, stream, ssid, page, offset) => {
          const words = encodeEvent({
            id,
            sid: stream,
            ...(ssid === undefined ? {} : { ssid }),
            page: Number(page),
            offset,
          });
          expect(getField(words, EVENT_RECORD.id)).toBe(id);
          expect(getField(words, EVENT_RECORD.sid)).toBe(stream);
          expect(getField(words, EVENT_RECORD.ssid)).toBe(ssid ?? 0);
          expect(BigInt(getField(words, EVENT_RECORD.inputPage))).toBe(page);
          expect(getField(words, EVENT_RECORD.inputOffset)).toBe(offset);
        },
      ),
    );
  });

  it("are told in the specification's words", () => {
    expect(describeEvent(encodeEvent({ id: EVENT.F_TRANSLATION, sid, ssid: 5, class: IN, page: 1 }))).toBe(
      "F_TRANSLATION SID=0x100 SSID=5 write stage 1 page 0x1",
    );
    expect(describeEvent(encodeEvent({ id: EVENT.C_BAD_STE, sid }))).toBe("C_BAD_STE SID=0x100");
    expect(eventName(0xe0)).toBe("event 0xe0");
  });
});

describe("page request records", () => {
  it.each([
    [
      { sid, ssid: 5, read: true, write: true, last: true, prgIndex: 3, page: 0x7f0000001 },
      ["0xf000000500000100", "0x00007f0000001003"],
    ],
    [
      { sid, read: true, write: false, last: false, prgIndex: 3, page: 1 },
      ["0x1000000000000100", "0x0000000000001003"],
    ],
    [{ sid, ssid: 5, read: false, write: false, last: true, prgIndex: 0, page: 0 }, ["0xc000000500000100"]],
  ])("%o", (fields, words) => {
    expect(hexOf(encodePageRequest(fields))).toEqual(words);
  });
});
