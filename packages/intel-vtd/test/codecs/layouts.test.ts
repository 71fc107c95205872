import { InputError, bytesOfHex, bytesOfWords, fromQwords } from "@iommu-lab/core";
import { vtdLayouts } from "@iommu-lab/intel-vtd";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

function codec(kind: string): (typeof vtdLayouts)[number] {
  const found = vtdLayouts.find((one) => one.kind === kind);
  if (found === undefined) {
    throw new Error(`no layout ${kind}`);
  }
  return found;
}

function meaningOf(kind: string, ...words: bigint[]): string {
  return codec(kind)
    .decode(bytesOfWords(fromQwords(words)))
    .meaning.join("\n");
}

const fixedSize = vtdLayouts.filter(({ sizes }) => sizes !== undefined);

describe("every layout", () => {
  test("the kinds", () => {
    expect(vtdLayouts.map(({ kind }) => kind)).toEqual([
      "vtd-root",
      "vtd-context",
      "vtd-pasid",
      "vtd-qi",
      "vtd-fault",
      "vtd-pte",
      "dmar",
    ]);
  });

  test.each(vtdLayouts)("$kind: its example has a meaning and comes back", (one) => {
    const bytes = bytesOfHex(one.example);
    const { fields, meaning } = one.decode(bytes);
    expect(meaning.every((line) => line.length > 10 && line.endsWith("."))).toBe(true);
    expect([...one.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
  });

  test.each(fixedSize)("$kind: all bytes come back, and each has a meaning", (one) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...(one.sizes ?? [])).chain((size) => fc.uint8Array({ minLength: size, maxLength: size })),
        (bytes) => {
          const { fields, meaning } = one.decode(bytes);
          expect(meaning.length).toBeGreaterThan(0);
          expect([...one.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
        },
      ),
      { numRuns: 150 },
    );
  });

  test.each(fixedSize)("$kind: unknown fields and wrong sizes are refused by name", (one) => {
    expect(() => one.decode(new Uint8Array(3))).toThrow(InputError);
    const { fields } = one.decode(bytesOfHex(one.example));
    expect(() => one.encode({ ...fields, colour: 1 })).toThrow(/no field "colour"/);
  });
});

describe("what the hardware would do", () => {
  test.each<[string, string, bigint[], RegExp]>([
    ["a context entry that is not present", "vtd-context", [0n, 0n], /refused: UR .* fault 0x2 LCT\.2/],
    ["a silenced one", "vtd-context", [2n, 0n], /fault 0x2 .*nothing is recorded \(FPD\)/],
    ["a reserved translation type", "vtd-context", [0x1000dn, 0x102n], /fault 0x3 LCT\.4/],
    ["device-TLBs allowed", "vtd-context", [0x1002005n, 0x1202n], /Translated requests pass without any look-up/],
    ["second stage alone", "vtd-context", [0x1002001n, 0x1202n], /Translated requests are refused with UR: fault 0xd/],
    ["pass-through of the wrong width", "vtd-context", [0x9n, 0x102n], /fault 0x3/],
    ["DTE=1", "vtd-context", [0x1010e1dn, 0n, 0n, 0n], /Translated requests pass, whatever the PASID entries hold/],
    ["DTE=0", "vtd-context", [0x1010e01n, 0n, 0n, 0n], /refused with UR: fault 0x44 SCT\.5/],
    ["PRE without DTE", "vtd-context", [0x1010e11n, 0n, 0n, 0n], /fault 0x43 SCT\.4/],
    [
      "a cleared PASID entry",
      "vtd-pasid",
      [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
      /0x59 SPT\.2[^]*Translated requests do not/,
    ],
    ["a first stage", "vtd-pasid", [0x49n, 0x800005n, 0x2000000n, 0n, 0n, 0n, 0n, 0n], /walk 4-level first-stage/],
    ["nested", "vtd-pasid", [0x10020c9n, 0x800013n, 0x7f011n, 0n, 0n, 0n, 0n, 0n], /guest addresses/],
    ["pass-through", "vtd-pasid", [0x109n, 0x800001n, 0n, 0n, 0n, 0n, 0n, 0n], /pass unchanged/],
    ["a reserved PGTT", "vtd-pasid", [0x149n, 1n, 0n, 0n, 0n, 0n, 0n, 0n], /0x5b SPT\.4/],
    ["a reserved qword", "vtd-pasid", [0x49n, 5n, 0n, 1n, 0n, 0n, 0n, 0n], /0x5a SPT\.3/],
    ["a directory entry with a reserved bit", "vtd-pasid", [0x1030005n], /0x52 SPD\.3/],
    ["a wait", "vtd-qi", [0x200000025n, 0x3000n], /write 2 to 0x3000[^]*executes it in legacy mode[^]*needs 32 bytes/],
    [
      "a descriptor of scalable mode",
      "vtd-qi",
      [0x1200050026n, 0n, 0n, 0n],
      /legacy mode the queue stops at it: IQE, IQEI 3/,
    ],
    ["granularity 0", "vtd-qi", [0x1n, 0n], /IQEI 4 \(reserved\)/],
    [
      "a fault of the context entry",
      "vtd-fault",
      [0xdeadb000n, 0xa000004400003a00n],
      /3a:00\.0: Translated write .*\n.*DTE=0/,
    ],
    [
      "a second-stage leaf",
      "vtd-pte",
      [0x12345001n],
      /second stage a read reaches 0x12345000; a write is refused: 0x85/,
    ],
    ["a first-stage leaf", "vtd-pte", [0x12345025n], /first stage a read reaches 0x12345000; a write is refused: 0x85/],
    ["a supervisor leaf", "vtd-pte", [0x12345003n], /first stage a read is refused: 0x81/],
    [
      "a root entry of both modes",
      "vtd-root",
      [0x1003001n, 0x1004001n],
      /upper qword is reserved and not zero: fault 0xa/,
    ],
  ])("%s", (_name, kind, words, expected) => {
    expect(meaningOf(kind, ...words)).toMatch(expected);
  });
});
