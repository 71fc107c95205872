import { InputError, bytesOfHex } from "@iommu-lab/core";
import type { DeviceScope, DmarStructure, DmarTable, NewDmarStructure } from "@iommu-lab/intel-vtd";
import { DMAR_TYPE, decodeDmar, encodeDmar } from "@iommu-lab/intel-vtd";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dmarCodec } from "../../src/firmware/dmar-codec.ts";
import { type IaslField, machineTables } from "./machine-tables.ts";

const tables = machineTables();

const digits = (value: number | bigint, bytes: number): string =>
  value
    .toString(16)
    .toUpperCase()
    .padStart(bytes * 2, "0");

const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "Hardware Unit Definition",
  1: "Reserved Memory Region",
  2: "Root Port ATS Capability",
  3: "Remapping Hardware Static Affinity",
  4: "ACPI Namespace Device Declaration",
  5: "SoC Integrated Address Translation Cache",
  6: "SoC Integrated Device Property",
};
const SCOPE_NAMES: Readonly<Record<number, string>> = {
  1: "PCI Endpoint Device",
  2: "PCI Bridge Device",
  3: "IOAPIC Device",
  4: "Message-capable HPET Device",
  5: "Namespace Device",
};

/** What iasl would print of a decoded table: the same rows, made from our fields. */
function rowsOf(table: DmarTable): (readonly IaslField[])[] {
  const { header } = table;
  let at = 0;
  const field = (length: number, name: string, value: string): IaslField => {
    at += length;
    return { offset: at - length, length, name, value };
  };
  const text = (value: string, length: number, name: string): IaslField => field(length, name, `"${value}"`);
  const blocks: IaslField[][] = [
    [
      field(4, "Signature", '"DMAR"    [DMA Remapping Table]'),
      field(4, "Table Length", digits(header.length, 4)),
      field(1, "Revision", digits(header.revision, 1)),
      field(1, "Checksum", digits(header.checksum, 1)),
      text(header.oemId, 6, "Oem ID"),
      text(header.oemTableId, 8, "Oem Table ID"),
      field(4, "Oem Revision", digits(header.oemRevision, 4)),
      text(header.creatorId, 4, "Asl Compiler ID"),
      field(4, "Asl Compiler Revision", digits(header.creatorRevision, 4)),
    ],
    [
      field(1, "Host Address Width", digits(table.hostAddressWidth - 1, 1)),
      field(1, "Flags", digits(table.flags, 1)),
      field(10, "Reserved", Array.from({ length: 10 }, () => "00").join(" ")),
    ],
  ];
  for (const structure of table.structures) {
    at = structure.offset;
    const type = structure.kind === "unknown" ? structure.type : DMAR_TYPE[structure.kind];
    blocks.push(
      [
        field(2, "Subtable Type", `${digits(type, 2)} [${TYPE_NAMES[type]}]`),
        field(2, "Length", digits(structure.length, 2)),
      ],
      bodyRows(structure, field),
    );
    for (const scope of "scopes" in structure ? structure.scopes : []) {
      blocks.push(...scopeRows(scope, field));
    }
  }
  return blocks;
}

/** Unprintable characters of the header's texts are spaces in iasl's output and dots in ours. */
function printable(blocks: readonly (readonly IaslField[])[]): (readonly IaslField[])[] {
  return blocks.map((block, index) =>
    index > 0 ? block : block.map((row) => ({ ...row, value: row.value.replaceAll(".", " ") })),
  );
}

type Field = (length: number, name: string, value: string) => IaslField;

function bodyRows(structure: DmarStructure, field: Field): IaslField[] {
  const number = (length: number, name: string, value: number): IaslField => field(length, name, digits(value, length));
  switch (structure.kind) {
    case "drhd":
      return [
        number(1, "Flags", structure.flags),
        number(1, "Size (decoded below)", structure.size),
        number(2, "PCI Segment Number", structure.segment),
        number(8, "Register Base Address", structure.base),
      ];
    case "rmrr":
      return [
        number(2, "Reserved", structure.reserved),
        number(2, "PCI Segment Number", structure.segment),
        number(8, "Base Address", structure.base),
        number(8, "End Address (limit)", structure.limit),
      ];
    case "atsr":
    case "satc":
      return [
        number(1, "Flags", structure.flags),
        number(1, "Reserved", structure.reserved),
        number(2, "PCI Segment Number", structure.segment),
      ];
    case "sidp":
      return [number(2, "Reserved", structure.reserved), number(2, "PCI Segment Number", structure.segment)];
    case "rhsa":
      return [
        number(4, "Reserved", structure.reserved),
        number(8, "Base Address", structure.base),
        number(4, "Proximity Domain", structure.proximityDomain),
      ];
    case "andd":
      return [
        number(3, "Reserved", structure.reserved),
        number(1, "Device Number", structure.deviceNumber),
        field(structure.deviceName.length + 1, "Device Name", `"${structure.deviceName}"`),
      ];
    default:
      return [];
  }
}

function scopeRows(scope: DeviceScope, field: Field): IaslField[][] {
  const number = (length: number, name: string, value: number): IaslField => field(length, name, digits(value, length));
  return [
    [
      field(1, "Device Scope Type", `${digits(scope.type, 1)} [${SCOPE_NAMES[scope.type]}]`),
      number(1, "Entry Length", 6 + scope.path.length * 2),
      number(1, "Flags", scope.flags),
      number(1, "Reserved", scope.reserved),
      number(1, "Enumeration ID", scope.enumerationId),
      number(1, "PCI Bus Number", scope.startBus),
    ],
    ...scope.path.map((hop) => [field(2, "PCI Path", `${digits(hop.device, 1)},${digits(hop.function, 1)}`)]),
  ];
}

describe("tables of real machines", () => {
  test.skipIf(tables.length === 0)("they are there", () => {
    expect(tables.length).toBeGreaterThan(40);
  });

  test.each(tables)("$name: every field that iasl prints, and the same bytes back", ({ name, bytes, structures }) => {
    const table = decodeDmar(bytes, name);
    expect(table.warnings).toEqual([]);
    expect(printable(rowsOf(table))).toEqual(printable(structures));
    expect([...encodeDmar(table).subarray(36)]).toEqual([...bytes.subarray(36)]);
    const { fields, meaning } = dmarCodec.decode(bytes, name);
    expect([...dmarCodec.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
    expect(meaning.length).toBeGreaterThan(table.structures.length);
  });
});

const golden: readonly [string, NewDmarStructure, string][] = [
  [
    "DRHD with a bridge",
    {
      kind: "drhd",
      flags: 0,
      size: 0,
      segment: 0,
      base: 0xfed90000,
      scopes: [{ type: 2, flags: 0, reserved: 0, enumerationId: 0, startBus: 0, path: [{ device: 7, function: 0 }] }],
    },
    "00 00 18 00 00 00 00 00 00 00 d9 fe 00 00 00 00 02 08 00 00 00 00 07 00",
  ],
  [
    "RMRR of an endpoint",
    {
      kind: "rmrr",
      reserved: 0,
      segment: 0,
      base: 0x9b800000,
      limit: 0x9fffffff,
      scopes: [{ type: 1, flags: 0, reserved: 0, enumerationId: 0, startBus: 0, path: [{ device: 2, function: 0 }] }],
    },
    "01 00 20 00 00 00 00 00 00 00 80 9b 00 00 00 00 ff ff ff 9f 00 00 00 00 01 08 00 00 00 00 02 00",
  ],
  ["ATSR of all ports", { kind: "atsr", flags: 1, reserved: 0, segment: 0, scopes: [] }, "02 00 08 00 01 00 00 00"],
  [
    "ATSR of a port",
    {
      kind: "atsr",
      flags: 0,
      reserved: 0,
      segment: 0,
      scopes: [{ type: 2, flags: 0, reserved: 0, enumerationId: 0, startBus: 0, path: [{ device: 7, function: 0 }] }],
    },
    "02 00 10 00 00 00 00 00 02 08 00 00 00 00 07 00",
  ],
  [
    "SATC, ATC required",
    {
      kind: "satc",
      flags: 1,
      reserved: 0,
      segment: 0,
      scopes: [{ type: 1, flags: 0, reserved: 0, enumerationId: 0, startBus: 0, path: [{ device: 5, function: 0 }] }],
    },
    "05 00 10 00 01 00 00 00 01 08 00 00 00 00 05 00",
  ],
  [
    "RHSA",
    { kind: "rhsa", reserved: 0, base: 0xfed90000, proximityDomain: 1 },
    "03 00 14 00 00 00 00 00 00 00 d9 fe 00 00 00 00 01 00 00 00",
  ],
  [
    "ANDD",
    { kind: "andd", reserved: 0, deviceNumber: 3, deviceName: "\\_SB.I2C0" },
    "04 00 12 00 00 00 00 03 5c 5f 53 42 2e 49 32 43 30 00",
  ],
];

describe("golden bytes", () => {
  test.each(golden)("%s", (_name, structure, expected) => {
    const bytes = encodeDmar({ hostAddressWidth: 48, flags: 1, structures: [structure] });
    expect([...bytes.subarray(48)]).toEqual([...bytesOfHex(expected)]);
    const [read] = decodeDmar(bytes).structures;
    expect(read).toEqual({ ...structure, offset: 48, length: bytes.length - 48 });
  });
});

function small(): Uint8Array {
  return encodeDmar({ hostAddressWidth: 48, flags: 1, structures: golden.map(([, structure]) => structure) });
}

function damaged(change: (bytes: Uint8Array) => void): Uint8Array {
  const bytes = small();
  change(bytes);
  return bytes;
}

describe("damaged tables", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["no table", new Uint8Array(3), /3 bytes are no ACPI table/],
    ["another table", damaged((bytes) => bytes.set([0x41], 0)), /signature is "AMAR", expected "DMAR"/],
    ["cut in the middle", small().subarray(0, 60), /length is \d+, expected 36 to 60/],
    ["a structure of length 0", damaged((bytes) => bytes.set([0, 0], 50)), /structure of type 0 has length 0/],
    ["a structure beyond the end", damaged((bytes) => bytes.set([0xff, 0xff], 50)), /has length 65535/],
    ["a scope of length 0", damaged((bytes) => bytes.set([0], 65)), /device scope has length 0/],
    ["a scope of odd length", damaged((bytes) => bytes.set([7], 65)), /device scope has length 7/],
    ["a scope beyond its structure", damaged((bytes) => bytes.set([10], 65)), /device scope has length 10/],
    ["a structure shorter than its fields", damaged((bytes) => bytes.set([8, 0], 50)), /the structure ends at 0x38/],
    ["an address beyond 2^53", damaged((bytes) => bytes.set([0xff], 63)), /no physical address/],
  ])("%s", (_name, bytes, message) => {
    const error = errorOf(() => decodeDmar(bytes, "dmar.bin"));
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toMatch(message);
    expect((error as InputError).position.file).toBe("dmar.bin");
    expect((error as InputError).position.offset).toBeTypeOf("number");
  });

  test("a wrong checksum and an unknown structure are warnings", () => {
    const unknown = encodeDmar({
      hostAddressWidth: 39,
      flags: 0,
      structures: [{ kind: "unknown", type: 0x1234, length: 12 }, ...golden.slice(2, 3).map(([, one]) => one)],
    });
    unknown[60 + 4] = 0;
    expect(decodeDmar(unknown)).toMatchObject({
      warnings: ["the checksum is wrong", "structure of unknown type 4660 at 0x30 is skipped"],
      structures: [
        { kind: "unknown", type: 0x1234, offset: 48, length: 12 },
        { kind: "atsr", offset: 60 },
      ],
    });
  });

  test("whatever is done to a table, the answer is a table that comes back or an InputError with an offset", () => {
    const sources = [small(), ...tables.slice(0, 12).map(({ bytes }) => bytes)];
    const change = fc.record({ at: fc.nat(400), value: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(...sources),
        fc.array(change, { maxLength: 8 }),
        fc.nat(60),
        (source, changes, cut) => {
          const bytes = Uint8Array.from(source);
          for (const { at, value } of changes) {
            bytes[at % bytes.length] = value;
          }
          const given = cut < 20 ? bytes.subarray(0, bytes.length - cut) : bytes;
          try {
            const { fields } = dmarCodec.decode(given);
            expect([...dmarCodec.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...given]);
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
          }
        },
      ),
      { numRuns: 600 },
    );
  });
});

describe("encoding from JSON", () => {
  test("what is absent is zero, what is unknown is named", () => {
    const bytes = dmarCodec.encode({ structures: [{ kind: "drhd", base: "0xfed90000" }] });
    expect(decodeDmar(bytes).structures).toEqual([
      { kind: "drhd", offset: 48, length: 16, flags: 0, size: 0, segment: 0, base: 0xfed90000, scopes: [] },
    ]);
    expect(() => dmarCodec.encode({ structures: [{ kind: "drhd", colour: 1 }] })).toThrow(
      /dmar\.structures\[0\] has no field "colour", expected kind, length, flags, size, segment, base, scopes/,
    );
    expect(() => dmarCodec.encode({ structures: [{ kind: "drdh" }] })).toThrow(/kind is "drdh", expected drhd/);
    expect(() => dmarCodec.encode({ flags: 256 })).toThrow(
      /dmar\.flags is 256, expected an unsigned integer of 8 bits/,
    );
  });

  test("the example is a valid table", () => {
    const bytes = bytesOfHex(dmarCodec.example);
    expect(dmarCodec.decode(bytes).meaning.length).toBeGreaterThan(1);
    expect(decodeDmar(bytes).warnings).toEqual([]);
  });
});

function errorOf(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}
