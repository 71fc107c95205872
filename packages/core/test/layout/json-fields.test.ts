import { InputError, JsonFields, type LayoutFields, layoutFields, shown } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

function fields(given: LayoutFields): JsonFields {
  return new JsonFields(given, "table");
}

describe("JsonFields", () => {
  test("takes what is there, and its default for what is absent", () => {
    const one = fields({
      count: 3,
      mask: "0xffffffffffffffff",
      name: "x",
      raw: "0aFf",
      ids: [1, "0x2"],
      head: { a: 1 },
      items: [{ b: 2 }, {}],
    });
    expect([one.number("count", 8), one.number("absent", 8, 7), one.number("zero", 8)]).toEqual([3, 7, 0]);
    expect([one.big("mask", 64), one.big("none", 64, 5n)]).toEqual([0xffff_ffff_ffff_ffffn, 5n]);
    expect([one.text("name"), one.text("other", "y"), one.text("empty")]).toEqual(["x", "y", ""]);
    expect([one.bytes("raw"), one.bytes("noRaw")]).toEqual([Uint8Array.of(0x0a, 0xff), new Uint8Array()]);
    expect([one.integers("ids", 8), one.integers("noIds", 8)]).toEqual([[1n, 2n], []]);
    expect([one.object("head").number("a", 8), one.object("noHead").has("a")]).toEqual([1, false]);
    expect(one.objects("items").map((item) => item.number("b", 8))).toEqual([2, 0]);
    expect([one.objects("noItems"), one.has("count"), one.has("colour")]).toEqual([[], true, false]);
    one.done();
  });

  test("an integer fits in its bits, or is refused", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 64 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (bits, value) => {
        const read = (): bigint => fields({ v: `0x${value.toString(16)}` }).big("v", bits);
        if (value < 1n << BigInt(bits)) {
          expect(read()).toBe(value);
        } else {
          expect(read).toThrow(`expected an unsigned integer of ${bits} bits`);
        }
      }),
    );
    expect(() => fields({ v: "0x20000000000000" }).number("v", 64)).toThrow("unsigned integer of 53 bits");
  });

  test.each<[unknown, (one: JsonFields) => unknown, string]>([
    [-1, (one) => one.number("v", 8), "table.v is -1, expected an unsigned integer of 8 bits"],
    [1.5, (one) => one.number("v", 8), "table.v is 1.5, expected an unsigned"],
    ["12", (one) => one.big("v", 8), 'table.v is "12", expected an unsigned'],
    ["0x10000000000000000", (one) => one.big("v", 64), "expected an unsigned integer of 64 bits"],
    [true, (one) => one.number("v", 8), "table.v is true, expected an unsigned"],
    [null, (one) => one.number("v", 8), "table.v is null, expected an unsigned"],
    [3, (one) => one.text("v"), "table.v is 3, expected a text"],
    [null, (one) => one.text("v"), "table.v is null, expected a text"],
    ["abc", (one) => one.bytes("v"), 'table.v is "abc", expected hexadecimal digits'],
    [{}, (one) => one.integers("v", 8), "table.v is {}, expected a list"],
    [null, (one) => one.integers("v", 8), "table.v is null, expected a list"],
    [[1, 256], (one) => one.integers("v", 8), "table.v[1] is 256, expected an unsigned integer of 8 bits"],
    [[], (one) => one.object("v"), "table.v is [], expected an object"],
    [null, (one) => one.object("v"), "table.v is null, expected an object"],
    [[{}, null], (one) => one.objects("v"), "table.v[1] is null, expected an object"],
    [[{ w: "x" }], (one) => one.objects("v")[0]?.number("w", 8), 'table.v[0].w is "x", expected an unsigned'],
    [1, (one) => one.done(), 'table has no field "v", expected '],
  ])("%j is refused", (v, read, message) => {
    const given: LayoutFields = JSON.parse(JSON.stringify({ v }));
    expect(() => read(fields(given))).toThrow(InputError);
    expect(() => read(fields(given))).toThrow(message);
  });

  test("the field that nobody took is named, with those that were", () => {
    const one = fields({ a: 1, c: 2 });
    one.number("a", 8);
    one.has("b");
    expect(() => one.done()).toThrow('table has no field "c", expected a, b');
  });
});

describe("layoutFields", () => {
  test("every object of JSON without null passes as it is; with one it is refused, by its place", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (value) => {
        if (
          /(?<![\w"])null(?![\w"])/.test(
            JSON.stringify(value, (_key, one: unknown) => (typeof one === "string" ? "" : one)),
          )
        ) {
          expect(() => layoutFields(value, "x")).toThrow(/^x.* is null; leave out what is not given$/s);
        } else {
          expect(layoutFields(value, "x")).toBe(value);
        }
      }),
    );
    expect(() => layoutFields({ a: [{ b: null }] }, "ivrs")).toThrow("ivrs.a[0].b is null");
  });

  test.each<[unknown, string]>([
    [[], "x is [], expected an object"],
    ["a", 'x is "a", expected an object'],
    [null, "x is null"],
    [{ a: Number.NaN }, "x.a is NaN, expected a number"],
    [{ a: undefined }, "x.a is undefined, expected a number"],
    [{ a: 1n }, "x.a is bigint, expected a number"],
    [JSON.parse(`${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`), "levels deep"],
  ])("%# is refused", (value, message) => {
    expect(() => layoutFields(value, "x")).toThrow(InputError);
    expect(() => layoutFields(value, "x")).toThrow(message);
  });
});

test("shown: what JSON cannot hold is text", () => {
  expect(
    shown({ low: 2n ** 53n - 1n, high: 2n ** 64n - 1n, bytes: Uint8Array.of(0, 0xab), list: [1n, true, "t"] }),
  ).toEqual({ low: Number.MAX_SAFE_INTEGER, high: "0xffffffffffffffff", bytes: "00ab", list: [1, true, "t"] });
  expect(() => shown({ what: undefined })).toThrow(TypeError);
});
