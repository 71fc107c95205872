import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { InputError, type LayoutFields, bytesOfHex } from "@iommu-lab/core";
import { cxlLayouts, parseCedt } from "@iommu-lab/cxl";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const [codec] = cxlLayouts;

function cedt(): NonNullable<typeof codec> {
  if (codec === undefined) {
    throw new Error("no codec");
  }
  return codec;
}

/** A table around structures, given as hexadecimal digits or bytes. */
function table(...structures: (string | readonly number[])[]): Uint8Array {
  const bytes = [...cedt().encode({})];
  for (const one of structures) {
    bytes.push(...(typeof one === "string" ? bytesOfHex(one) : one));
  }
  bytes[4] = bytes.length & 0xff;
  bytes[5] = bytes.length >>> 8;
  bytes[9] = 0;
  bytes[9] = (256 - bytes.reduce((sum, byte) => sum + byte, 0)) & 0xff;
  return Uint8Array.from(bytes);
}

const CHBS = "00 00 20 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 ec 00 00 00 00 00 00 01 00 00 00 00 00";
const CFMWS =
  "01 00 28 00 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 0c 00 00 00 00 00 00 00";

describe("golden bytes", () => {
  test("a host bridge", () => {
    expect(parseCedt(table(CHBS))).toMatchObject({
      structures: [{ kind: "CHBS", offset: 36, uid: 0, cxlVersion: 1, base: 0xec000000n, size: 0x10000n }],
      warnings: [],
    });
  });

  test("a window", () => {
    expect(parseCedt(table(CFMWS))).toMatchObject({
      structures: [
        {
          kind: "CFMWS",
          base: 0x10_0000_0000n,
          size: 0x4_0000_0000n,
          ways: 1,
          arithmetic: "modulo",
          granularity: 256,
          restrictions: { volatile: true, persistent: true, hostOnly: false, deviceCoherent: false, fixed: false },
          targets: [0],
        },
      ],
      warnings: [],
    });
  });

  test("the example is the two of them, and comes back", () => {
    const bytes = bytesOfHex(cedt().example);
    const { fields, meaning } = cedt().decode(bytes);
    expect(cedt().encode(fields)).toEqual(bytes);
    expect(meaning).toEqual([
      "Host bridge with _UID 0 (CXL 2.0 or later, component registers) has its registers at 0xec000000.",
      "Window 0x1000000000 to 0x13ffffffff leads to host bridge 0; uses: volatile, persistent.",
    ]);
  });

  test.each([
    [0, 1],
    [1, 2],
    [4, 16],
    [8, 3],
    [10, 12],
    [5, undefined],
  ])("ways code %i is %s", (encodedWays, ways) => {
    const targets = Array.from({ length: ways ?? 1 }, () => 7);
    const bytes = cedt().encode({ structures: [{ type: "CFMWS", encodedWays, targets }] });
    const { structures, warnings } = parseCedt(bytes);
    expect(structures).toMatchObject([{ ways }]);
    expect(warnings.length).toBe(ways === undefined ? 1 : 0);
  });
});

describe("what is wrong, and where", () => {
  test.each([
    ["a truncated table", bytesOfHex("43 45 44 54"), 0, /4 bytes are no ACPI table/],
    ["another table", bytesOfHex(`444d4152 24000000${"00".repeat(28)}`), 0, /signature is "DMAR"/],
    ["a structure that leaves the table", table(`00 00 ff 00${CHBS.slice(11)}`), 38, /length of the CHBS is 255/],
    ["a structure without length", table("09 00 00 00"), 38, /length of the structure of type 9 is 0, expected 4 to 4/],
    ["a short window", table("01 00 08 00 00 00 00 00"), 38, /length of the CFMWS is 8, expected 36 to 8/],
    ["bytes that are no structure", table("00 00"), 38, /2 bytes wanted/],
  ])("%s", (_name, bytes, offset, message) => {
    let thrown: unknown;
    try {
      parseCedt(bytes, "CEDT");
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(InputError);
    expect(thrown).toMatchObject({ message: expect.stringMatching(message), position: { file: "CEDT", offset } });
  });

  test("an unknown type is skipped by its length, with a warning", () => {
    const { structures, warnings } = parseCedt(table("09 00 06 00 aa bb", CHBS));
    expect(structures.map(({ kind }) => kind)).toEqual(["unknown", "CHBS"]);
    expect(warnings).toEqual([{ offset: 36, what: "type 9 is not known: 6 bytes are skipped" }]);
  });

  test("a wrong checksum is a warning, and survives a round trip", () => {
    const bytes = table(CHBS);
    bytes[9] = (bytes[9] ?? 0) ^ 1;
    expect(parseCedt(bytes).warnings).toEqual([{ offset: 9, what: "the checksum is wrong" }]);
    expect(cedt().encode(cedt().decode(bytes).fields)).toEqual(bytes);
  });

  test.each<[string, LayoutFields, RegExp]>([
    ["an unknown field", { structures: [{ type: "CHBS", foo: 1 }] }, /structures\[0\] has no field foo/],
    ["a value that does not fit", { structures: [{ type: "RDPAS", bdf: 65536 }] }, /bdf is 65536, expected .* 16 bits/],
    ["an unknown structure", { structures: [{ type: "CHBX" }] }, /type is "CHBX"/],
    ["no list", { structures: { type: "CHBS" } }, /structures a list/],
    ["rest that is no hexadecimal", { structures: [{ type: 9, rest: "xy" }] }, /rest is "xy"/],
    ["a long OEM ID", { header: { oemId: "TOOLONG" } }, /longer than the 6/],
  ])("encode refuses %s", (_name, fields, message) => {
    expect(() => cedt().encode(fields)).toThrow(message);
  });
});

describe("properties", () => {
  test("whatever follows a sound header: structures that come back byte for byte, or an InputError", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 44 })), { maxLength: 6 }),
        fc.boolean(),
        (parts, honest) => {
          const body = parts.flatMap(([type, rest]) => [
            type,
            0,
            honest ? rest.length + 4 : (rest[0] ?? 0),
            0,
            ...rest,
          ]);
          const bytes = table(body);
          let fields: LayoutFields;
          try {
            ({ fields } = cedt().decode(bytes));
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
            return;
          }
          expect(cedt().encode(fields)).toEqual(bytes);
        },
      ),
      { numRuns: 300 },
    );
  });
});

interface Expected {
  readonly structures: readonly (readonly {
    readonly offset: number;
    readonly length: number;
    readonly name: string;
    readonly value: string;
  }[])[];
}

const data = process.env["IOMMU_LAB_DATA"] ?? path.resolve(import.meta.dirname, "../../../..", "..", "shared", "data");
const dumps = path.join(data, "acpi", "cedt");

/** iasl's names of our fields; it calls every element of a list by the same two names. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  CHBS: [
    "Associated host bridge:uid",
    "Specification version:cxlVersion",
    "Register base:base",
    "Register length:size",
  ],
  CFMWS: [
    "Window base address:base",
    "Window size:size",
    "Interleave Members:encodedWays",
    "Interleave Arithmetic:arithmetic",
    "Granularity:encodedGranularity",
    "Restrictions:restrictions",
    "QtgId:qtgId",
  ],
  CXIMS: ["Interleave Granularity:encodedGranularity", "Xormap List Count:count"],
  RDPAS: ["PCI Segment:segment", "PCI BDF:bdf", "RCRB Base Address:address", "Protocol:protocol"],
};

describe.skipIf(!existsSync(dumps))(`tables of machines (${dumps})`, () => {
  const files = existsSync(dumps) ? readdirSync(dumps) : [];

  test("there are some", () => {
    expect(files.length).toBeGreaterThan(0);
  });

  test.each(files)("%s decodes as iasl says, and comes back byte for byte", (file) => {
    const bytes = new Uint8Array(readFileSync(path.join(dumps, file)));
    const answer = path.join(data, "expected", "acpi", "cedt", file.replace(/bin$/u, "json"));
    const expected = JSON.parse(readFileSync(answer, "utf8")) as Expected;
    const { fields } = cedt().decode(bytes);
    expect(cedt().encode(fields)).toEqual(bytes);
    const structures = fields["structures"] as readonly LayoutFields[];
    expect(structures.length).toBe(expected.structures.length - 1);
    let at = 36;
    for (const [index, lines] of expected.structures.slice(1).entries()) {
      const own = structures[index] ?? {};
      const length = Number.parseInt(lines.find(({ name }) => name === "Length")?.value ?? "0", 16);
      expect(lines[0]?.offset).toBe(at);
      for (const { name, value, offset, length: size } of lines) {
        const known = NAMES[JSON.stringify(own["type"]).replaceAll('"', "")]
          ?.find((one) => one.startsWith(`${name}:`))
          ?.split(":")[1];
        // iasl goes on past the end of a structure that is too short for what it announces.
        if (known !== undefined && offset + size <= at + length) {
          expect([name, own[known]]).toEqual([name, Number.parseInt(value, 16)]);
        }
      }
      expect(listOf(own)).toEqual(iaslList(lines, at + length));
      at += length;
    }
    expect(at).toBe(bytes.length);
  });
});

function listOf(own: LayoutFields): string[] {
  const list = (own["targets"] ?? own["xorMaps"] ?? []) as readonly (number | string)[];
  return list.map((value) => BigInt(value).toString(16));
}

/** The elements that lie inside the structure; iasl numbers the XOR maps after the first by bytes, not by elements. */
function iaslList(lines: Expected["structures"][number], end: number): string[] {
  return lines
    .filter(({ name, offset, length }) => /Target$|Xormap$/u.test(name) && offset + length <= end)
    .map(({ value }) => BigInt(`0x${value}`).toString(16));
}
