import { readAcpiTable, writeAcpiTable } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("ACPI tables", () => {
  test("what is written is read, with a valid checksum", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const { header, reader } = readAcpiTable(writeAcpiTable({ signature: "DMAR", revision: 2 }, body), "DMAR");
        expect(header.checksumValid).toBe(true);
        expect(header.revision).toBe(2);
        expect([...reader.bytes.subarray(36)]).toEqual([...body]);
      }),
    );
  });

  test("a flipped bit makes the checksum invalid; the table is still read", () => {
    const bytes = writeAcpiTable({ signature: "IVRS" }, new Uint8Array(12));
    bytes[40] = 1;
    expect(readAcpiTable(bytes).header.checksumValid).toBe(false);
  });

  test.each([
    [new Uint8Array(3), /t\.bin:offset 0x0: 3 bytes are no ACPI table/],
    [writeAcpiTable({ signature: "IORT" }, new Uint8Array(4)), /offset 0x0: signature is "IORT", expected "DMAR"/],
    [
      writeAcpiTable({ signature: "DMAR" }, new Uint8Array(4)).subarray(0, 38),
      /offset 0x4: length is 40, expected 36 to 38/,
    ],
  ])("%#: refused with the offset", (bytes, message) => {
    expect(() => readAcpiTable(bytes, "DMAR", "t.bin")).toThrow(message);
  });

  test("reads beyond the end are errors with the offset", () => {
    const { reader } = readAcpiTable(writeAcpiTable({ signature: "CEDT" }, new Uint8Array(4)), "CEDT", "c.bin");
    expect(() => reader.u64(36)).toThrow(/c\.bin:offset 0x24: 8 bytes wanted, the table ends at 0x28/);
    expect(() => reader.u8(-1)).toThrow(/offset/);
  });
});
