import {
  EMPTY_DTE,
  amdviLayouts,
  completePprRequest,
  completionWaitStore,
  encodeDte,
  encodeEvent,
  encodeHostLeaf,
  encodeHostTable,
  encodePprEntry,
  invalidateIotlbPages,
} from "@iommu-lab/amd-vi";
import type { LayoutCodec } from "@iommu-lab/core";
import { InputError, bytesOfHex, bytesOfWords } from "@iommu-lab/core";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TRANSLATED } from "../hardware/machine.ts";

function codec(kind: string): LayoutCodec {
  const found = amdviLayouts.find((one) => one.kind === kind);
  if (found === undefined) {
    throw new Error(`no layout ${kind}`);
  }
  return found;
}

const meaning = (kind: string, words: ArrayLike<number>): string =>
  codec(kind).decode(bytesOfWords(words)).meaning.join(" ");

test("kinds", () => {
  expect(amdviLayouts.map(({ kind }) => kind)).toEqual(["dte", "amd-cmd", "amd-event", "amd-ppr", "amd-pte", "ivrs"]);
});

describe.each(amdviLayouts)("$kind", (layout) => {
  const roundTrip = (bytes: Uint8Array): void => {
    const { fields } = layout.decode(bytes);
    expect([...layout.encode(fields)]).toEqual([...bytes]);
    // What a user gets is JSON.
    expect([...layout.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
  };

  test("the example comes back, and says something", () => {
    const bytes = bytesOfHex(layout.example);
    roundTrip(bytes);
    expect(layout.decode(bytes).meaning.length).toBeGreaterThan(0);
  });

  test.skipIf(layout.sizes === undefined)("any bytes come back", () => {
    const length = layout.sizes?.[0] ?? 8;
    const sparse = fc
      .uint8Array({ minLength: length, maxLength: length })
      .chain((bytes) => fc.nat(255).map((mask) => bytes.map((byte) => byte & mask)));
    fc.assert(
      fc.property(sparse, (bytes) => {
        roundTrip(bytes);
        for (const sentence of layout.decode(bytes).meaning) {
          expect(sentence).toMatch(/^[A-Z].*\.$/u);
          expect(sentence).not.toMatch(/undefined|NaN/u);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("unknown fields and wrong values are refused", () => {
    expect(() => layout.encode({ nonsense: 1 })).toThrow(InputError);
    const { fields } = layout.decode(bytesOfHex(layout.example));
    for (const name of Object.keys(fields)) {
      expect(() => layout.encode({ ...fields, [name]: -1 })).toThrow(InputError);
    }
  });

  test("other lengths are refused", () => {
    expect(() => layout.decode(new Uint8Array(7), "x.bin")).toThrow(InputError);
  });
});

describe("what hardware would do", () => {
  test("device table entries", () => {
    expect(meaning("dte", encodeDte(EMPTY_DTE))).toContain("V=0: Untranslated requests pass");
    expect(meaning("dte", encodeDte({ ...EMPTY_DTE, valid: true }))).toContain(
      "TV=0: Untranslated requests are refused",
    );
    expect(meaning("dte", encodeDte({ ...TRANSLATED, mode: 3, hostRoot: 0x3000000, iotlb: true }))).toContain(
      "a 3-level host table at 0x3000000 translates; they may read and write",
    );
    const guest = { ...TRANSLATED, guestValid: true, guestIo: true, glx: 1, gcr3Root: 0x5000000, mode: 4 };
    expect(meaning("dte", encodeDte(guest))).toContain("every guest physical address goes through the host table");
    expect(meaning("dte", encodeDte({ ...TRANSLATED, accessDirty: 2 }))).toContain("HAD 2 is reserved");
    expect(meaning("dte", encodeDte({ ...TRANSLATED, interruptValid: true }))).toContain("Interrupts are refused");
  });

  test("commands", () => {
    expect(meaning("amd-cmd", completionWaitStore(0x5003008, 5))).toContain("store 0x5 at 0x5003008");
    expect(meaning("amd-cmd", Uint32Array.of(0, 0xc0000000, 0, 0))).toContain("ILLEGAL_COMMAND_ERROR: opcode 12");
    expect(meaning("amd-cmd", Uint32Array.of(0, 0x80000000, 1, 0))).toContain("bit 64 is reserved");
    expect(meaning("amd-cmd", completePprRequest(0x3a00, 5, 3, 1))).toContain("PRG Response");
    const target = { deviceId: 0x3a00, queueId: 1, maxPending: 0, pasid: 0x12345 };
    const { fields } = codec("amd-cmd").decode(bytesOfWords(invalidateIotlbPages(target, 5, 1)));
    expect(fields).toMatchObject({ opcode: "INVALIDATE_IOTLB_PAGES", pasid: 0x12345, page: 5, guest: true });
  });

  test("events", () => {
    const fault = { code: 2, deviceId: 0x3a00, pasid: 0x12345, flags: 0x240000, lo: 0x1000, hi: 0x7f00 };
    expect(meaning("amd-event", encodeEvent(fault))).toBe(
      "IO_PAGE_FAULT of device 0x3a00 at 0x7f0000001000, a write: no translation is there: an entry is not present, or TV=0.",
    );
    const refused = { code: 8, deviceId: 0x3a00, flags: 1 << 25, lo: 0, hi: 0 };
    expect(meaning("amd-event", encodeEvent(refused))).toContain("a Translated request while I=0 or V=0");
    expect(codec("amd-event").decode(bytesOfWords(encodeEvent(fault))).fields).toMatchObject({
      code: "IO_PAGE_FAULT",
      pasid: 0x12345,
      user: true,
      write: true,
    });
  });

  test("page requests and page table entries", () => {
    const request = {
      deviceId: 0x3a00,
      pasid: 0x12,
      groupIndex: 5,
      last: true,
      read: true,
      write: true,
      page: 0x7f000,
    };
    expect(meaning("amd-ppr", encodePprEntry(request))).toContain("wants to read and write page 0x7f000000");
    const word = { lo: 0, hi: 0 };
    encodeHostLeaf(1, { address: 0x12340000, sizeLog2: 16, read: true, write: true }, word);
    expect(meaning("amd-pte", [word.lo, word.hi])).toContain("a page of 64 KiB at 0x12340000");
    encodeHostTable(2, 0x3000000, word);
    expect(meaning("amd-pte", [word.lo, word.hi])).toContain("points to a table of level 2 at 0x3000000");
    expect(meaning("amd-pte", [0, 0])).toContain("PR=0");
    expect(meaning("amd-pte", [1, 0x00100000])).toContain("reserved bit");
  });

  test("firmware tables", () => {
    const { meaning: sentences } = codec("ivrs").decode(bytesOfHex(codec("ivrs").example));
    expect(sentences[0]).toBe("Linux uses the blocks of type 0x11; device IDs up to 0xfffe.");
    expect(sentences[1]).toContain("Unit 0x2 at 0xfd200000 serves 0x3-0xfffe");
  });
});

const top = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const data = process.env["IOMMU_LAB_DATA"] ?? path.resolve(top, "..", "shared", "data");
const folder = path.join(data, "acpi", "ivrs");

test.skipIf(!existsSync(folder))("tables of real machines come back byte for byte through their fields", () => {
  for (const name of readdirSync(folder)) {
    const bytes = new Uint8Array(readFileSync(path.join(folder, name)));
    const { fields } = codec("ivrs").decode(bytes, name);
    expect([...codec("ivrs").encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
    expect(fields["patches"]).toBeUndefined();
  }
});

test("what the fields of a table do not give back is patched", () => {
  const bytes = bytesOfHex(codec("ivrs").example);
  bytes[9] = 0;
  bytes[12] = 1;
  const { fields, meaning: sentences } = codec("ivrs").decode(bytes);
  expect(fields["patches"]).toEqual([
    { offset: 9, value: 0 },
    { offset: 12, value: 1 },
  ]);
  expect([...codec("ivrs").encode(fields)]).toEqual([...bytes]);
  expect(sentences[0]).toContain("ENODEV");
});
