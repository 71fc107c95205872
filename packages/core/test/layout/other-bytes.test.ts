import { InputError, JsonFields, type LayoutFields, otherBytes, putOtherBytes } from "@iommu-lab/core";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const CHECKSUM = 9;

function runsOf(otherBytesGiven: readonly LayoutFields[]): readonly JsonFields[] {
  return new JsonFields({ otherBytes: otherBytesGiven }, "table").objects("otherBytes");
}

test("what the fields do not explain comes back, the checksum apart", () => {
  const table = fc.uint8Array({ minLength: 12, maxLength: 12, max: 3 });
  fc.assert(
    fc.property(table, table, (bytes, explained) => {
      const made = Uint8Array.from(explained);
      putOtherBytes(made, runsOf(otherBytes(bytes, explained, CHECKSUM)));
      expect(made).toEqual(Uint8Array.from(bytes, (byte, at) => (at === CHECKSUM ? (explained[at] ?? 0) : byte)));
    }),
  );
});

test("neighbours are one run", () => {
  expect(otherBytes(Uint8Array.of(0, 1, 2, 0, 3), new Uint8Array(5), CHECKSUM)).toEqual([
    { offset: 1, hex: "0102" },
    { offset: 4, hex: "03" },
  ]);
});

test.each<[LayoutFields, string]>([
  [{ offset: 11, hex: "0102" }, "table.otherBytes[0].hex has 2 bytes for offset 11, expected bytes within 12"],
  [{ offset: 2, hex: "" }, "has 0 bytes for offset 2"],
  [{ offset: 2, hex: "0" }, 'hex is "0", expected hexadecimal digits'],
  [{ offset: -1, hex: "00" }, "offset is -1, expected an unsigned integer of 32 bits"],
  [{ offset: 2, hex: "00", colour: 1 }, 'table.otherBytes[0] has no field "colour"'],
])("%j is refused, and nothing changes", (run, message) => {
  const bytes = new Uint8Array(12);
  expect(() => putOtherBytes(bytes, runsOf([run]))).toThrow(InputError);
  expect(() => putOtherBytes(bytes, runsOf([run]))).toThrow(message);
  expect(bytes).toEqual(new Uint8Array(12));
});
