import {
  bytesOfHex,
  bytesOfWords,
  fromQwords,
  getBits,
  hexWords,
  newWords,
  setBits,
  wordsOfBytes,
} from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const range = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 1, max: 53 }))
  .filter(([low, width]) => low + width <= 256);

describe("words of a structure", () => {
  test("a field set is a field read, and no other bit changes", () => {
    fc.assert(
      fc.property(
        range,
        fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
        fc.maxSafeNat(),
        ([low, width], whole, value) => {
          const words = fromQwords([0n, 64n, 128n, 192n].map((shift) => (whole >> shift) & (2n ** 64n - 1n)));
          const fitting = value % 2 ** width;
          setBits(words, low + width - 1, low, fitting);
          expect(getBits(words, low + width - 1, low)).toBe(fitting);
          const mask = (2n ** BigInt(width) - 1n) << BigInt(low);
          const back = hexWords(words).reduceRight((sum, word) => (sum << 64n) | BigInt(word), 0n);
          expect(back).toBe((whole & ~mask) | (BigInt(fitting) << BigInt(low)));
        },
      ),
    );
  });

  test("bytes in memory order", () => {
    const words = newWords(1);
    words[0] = 0x04030201;
    expect([...bytesOfWords(words)]).toEqual([1, 2, 3, 4, 0, 0, 0, 0]);
    expect([...wordsOfBytes(bytesOfWords(words))]).toEqual([0x04030201, 0]);
    expect(() => wordsOfBytes(new Uint8Array(7))).toThrow(/7 bytes are not a whole number/);
  });
});

describe("hexadecimal input", () => {
  test("bytes in memory order, or words as a kernel prints them", () => {
    expect([...bytesOfHex("0f 00 01:00")]).toEqual([15, 0, 1, 0]);
    expect([...bytesOfHex("0x0102030405060708")]).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  });

  test.each([
    ["", /no hexadecimal digits/],
    ["0g", /character 2 is "g"/],
    ["abc", /3 hexadecimal digits: a byte has two/],
    ["0x1 zz", /word 2 is "zz"/],
    ["00".repeat(200_000), /at most 65536 bytes/],
  ])("%#: refused with the place", (text, message) => {
    expect(() => bytesOfHex(text)).toThrow(message);
  });
});
