import { smmuv3Layouts } from "@iommu-lab/arm-smmuv3";
import { bytesOfWords, wordsOfBytes } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { wordsOf } from "../support/words.ts";

const codecs = smmuv3Layouts.filter(({ kind }) => kind !== "iort");

function codec(kind: string): (typeof codecs)[number] {
  const found = codecs.find((one) => one.kind === kind);
  if (found === undefined) {
    throw new Error(`no layout ${kind}`);
  }
  return found;
}

function meaningOf(kind: string, ...words: readonly bigint[]): string {
  const [size = 8] = codec(kind).sizes ?? [];
  return codec(kind)
    .decode(bytesOfWords(wordsOf(size / 8, ...words)))
    .meaning.join(" ");
}

test("the layouts", () => {
  expect(codecs.map(({ kind }) => kind)).toEqual(["ste", "cd", "smmu-cmd", "smmu-event", "smmu-pri", "smmu-pte"]);
});

describe.each(codecs.map((one) => one.kind))("%s", (kind) => {
  const { sizes = [], example, decode, encode } = codec(kind);
  const [size = 8] = sizes;

  it("gives back every input bit for bit", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
        const decoded = decode(bytes);
        expect(encode(decoded.fields)).toEqual(bytes);
        expect(decoded.meaning.length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it("has an example that means something", () => {
    const bytes = Uint8Array.from(example.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    const decoded = decode(bytes);
    expect(decoded.fields["reserved"]).toBeUndefined();
    expect(encode(decoded.fields)).toEqual(bytes);
    expect(decoded.meaning.join(" ")).not.toMatch(/refuses|CERROR|Invalid at every/);
    expect(wordsOfBytes(bytes).some((word) => word !== 0)).toBe(true);
  });

  it("refuses what does not fit", () => {
    expect(() => decode(new Uint8Array(size + 1))).toThrow(/bytes given/);
    expect(() => encode({ nonsense: 1 })).toThrow(/no field/);
  });
});

describe("meanings", () => {
  it.each([
    ["V=0", [0n], /C_BAD_STE.*CA/],
    ["abort", [1n], /aborts without an event.*UR/],
    ["bypass", [9n, 0x0000100000000000n], /pass untranslated.*C_BAD_SUBSTREAMID.*ATS is off/],
    [
      "CD table, ATS",
      [0x400000088001001bn, 0x180000d6n],
      /context descriptor 0\..*F_STREAM_DISABLED.*physical addresses/,
    ],
    ["identity with PASIDs", [0xa00000088004002bn, 0x00001000100000d5n], /without PASID pass untranslated/],
    ["nested, ATS and S2S", [0xfn, 0x10000002n, 0x060d009000000000n, 0x880100000n], /refuses.*EATS is full while.*S2S/],
    ["split-stage", [0x300000088002000fn, 0x200800d6n, 0x044d359000000001n, 0x880100000n], /intermediate addresses/],
  ])("ste: %s", (_what, words, text) => {
    expect(meaningOf("ste", ...words)).toMatch(text);
  });

  it.each([
    ["V=0", [0n], /V is 0.*C_BAD_CD/],
    [
      "Linux",
      [0x0005e205c0003510n, 0x880200000n],
      /48 bits: 4 KiB granule, from level 0 at 0x880200000.*upper half is F_TRANSL.*F_ACCESS.*abort, and are recorded/,
    ],
    ["dirty tracking", [0x0005ee05c0003510n, 0x880200000n], /sets the access flag and the dirty state/],
    ["64 KiB", [0x0007e205c0003550n, 0x880310000n], /64 KiB granule, from level 1/],
    ["table beyond IPS", [0x0005e200c0003510n, 0x880200000n], /beyond IPS/],
  ])("cd: %s", (_what, words, text) => {
    expect(meaningOf("cd", ...words)).toMatch(text);
  });

  it("commands", () => {
    expect(meaningOf("smmu-cmd", 0x10000000040n, 0x34n)).toMatch(/ATC_INV SID=0x100 all\..*Invalidate Request/);
    expect(meaningOf("smmu-cmd", 0x99n)).toMatch(/CERROR_ILL/);
    expect(meaningOf("smmu-cmd", 0x3046n)).toMatch(/CERROR_ILL/);
  });

  it("events", () => {
    expect(meaningOf("smmu-event", 0x0000010000000010n, 0x0000018800000000n, 0x1000n, 0x40001000n)).toMatch(
      /Stage 2 could not translate the address of a page table/,
    );
    expect(meaningOf("smmu-event", 0x0000010000000010n, 0x0000020080000007n, 0x1000n)).toMatch(/STAG 7/);
    expect(meaningOf("smmu-event", 0x0000010000000004n)).toMatch(/C_BAD_STE.*abort/);
  });

  it("page requests", () => {
    expect(meaningOf("smmu-pri", 0xf000000500000100n, 0x00007f0000001003n)).toMatch(
      /PASID 5 asks for page 0x7f0000001/,
    );
    expect(meaningOf("smmu-pri", 0xc000000500000100n, 0n)).toMatch(/stop marker/);
  });

  it.each([
    [0n, /Invalid at every level/],
    [0x0000000123456f47n, /page at 0x123456000.*unprivileged rwx, privileged rw-/],
    [0x0008000123456fc7n, /unprivileged r-x.*writable-clean/],
    [0x0000000123400f45n, /block at 0x123400000.*level 3: invalid/],
    [0x4000000880201003n, /table at 0x880201000.*readOnly/],
  ])("descriptor %#x", (word, text) => {
    expect(meaningOf("smmu-pte", word)).toMatch(text);
  });
});
