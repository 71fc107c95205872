import { InputError, type Words, getBit, getBits, newWords, setBit, setBits, wordCodec } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

/** A made-up entry: valid bit 0, a table address in bits 63:12, an ID in bits 79:64. */
const codec = wordCodec({
  kind: "sample",
  title: "Sample",
  source: "none",
  words: [2],
  example: "01".padEnd(32, "0"),
  decode: (words) => ({ valid: getBit(words, 0), table: getBits(words, 63, 12) * 4096, id: getBits(words, 79, 64) }),
  encode(fields) {
    const words: Words = newWords(2);
    setBit(words, 0, fields["valid"] === true);
    setBits(words, 63, 12, Number(fields["table"] ?? 0) / 4096);
    setBits(words, 79, 64, Number(fields["id"] ?? 0));
    return words;
  },
  meaning: () => [],
});

describe("wordCodec", () => {
  test("every input comes back bit for bit, also through JSON", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const { fields } = codec.decode(bytes);
        expect([...codec.encode(JSON.parse(JSON.stringify(fields)))]).toEqual([...bytes]);
      }),
    );
  });

  test("bits of no field are shown as reserved", () => {
    const bytes = new Uint8Array(16);
    bytes[0] = 2;
    expect(codec.decode(bytes).fields["reserved"]).toEqual(["0x0000000000000002", "0x0000000000000000"]);
  });

  test.each([
    [{ valid: true, colour: 1 }, /no field "colour", expected one of valid, table, id/],
    [{ id: 0x10000 }, /field id cannot hold 0x10000/],
    [{ id: -1 }, /field id is -1/],
    [{ table: 4097 }, /field table cannot hold 0x1001/],
    [{ reserved: ["zz"] }, /reserved\[0\] is "zz"/],
    [{ reserved: ["0x1"] }, /reserved has 1 words, expected 2/],
    [{ reserved: 3 }, /reserved is 3/],
  ])("%#: refused", (fields, message) => {
    expect(() => codec.encode(fields)).toThrow(message);
  });

  test("a wrong length names the lengths that are taken", () => {
    expect(() => codec.decode(new Uint8Array(8), "x.bin")).toThrow(
      new InputError("sample: 8 bytes given, expected 16", { file: "x.bin" }),
    );
  });
});
