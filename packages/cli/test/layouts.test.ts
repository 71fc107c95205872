import { InputError, bytesOfHex, layoutFields } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { layoutNamed, layouts } from "../src/layouts.ts";

const unknown = "a field of no layout";
/** Values that no field of any layout takes. */
const refused: ReadonlySet<unknown> = new Set<unknown>([null, -1, 1.5, unknown]);
const wrongs: readonly unknown[] = [
  null,
  -1,
  1.5,
  unknown,
  1e300,
  true,
  "x",
  [],
  {},
  [null],
  [[]],
  "0xffffffffffffffffff",
];

/** The value with each part of it replaced by each wrong one, and with a field of no layout in each object. */
function* withOneWrong(value: unknown, top = true): Generator<readonly [changed: unknown, wrong: unknown]> {
  for (const wrong of top ? [] : wrongs) {
    yield [wrong, wrong];
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      for (const [changed, wrong] of withOneWrong(item, false)) {
        yield [value.with(index, changed), wrong];
      }
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      for (const [changed, wrong] of withOneWrong(item, false)) {
        yield [{ ...value, [name]: changed }, wrong];
      }
    }
    yield [{ ...value, [unknown]: 1 }, unknown];
  }
}

/** The class of the error, or that there is none. */
function outcomeOf(run: () => Uint8Array): string {
  try {
    return `${run().length} bytes`;
  } catch (error) {
    if (error instanceof InputError) {
      return "InputError";
    }
    throw error;
  }
}

describe("layouts", () => {
  it("have names of their own", () => {
    const kinds = layouts.map(({ kind }) => kind);
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it("each decodes its example, and encodes the same bytes again", () => {
    for (const { kind } of layouts) {
      const codec = layoutNamed(kind);
      const bytes = bytesOfHex(codec.example);
      const fields: unknown = JSON.parse(JSON.stringify(codec.decode(bytes).fields));
      expect({ kind, bytes: [...codec.encode(fields as Parameters<typeof codec.encode>[0])] }).toEqual({
        kind,
        bytes: [...bytes],
      });
    }
  });

  it.each(layouts.map(({ kind }) => kind))("%s: fields with one wrong value make bytes or a clear error", (kind) => {
    const codec = layoutNamed(kind);
    const { fields } = codec.decode(bytesOfHex(codec.example));
    for (const [changed, wrong] of withOneWrong(JSON.parse(JSON.stringify(fields)))) {
      const result = outcomeOf(() => codec.encode(layoutFields(changed, kind)));
      expect({ kind, changed, result }).toMatchObject({
        result: refused.has(wrong) ? "InputError" : expect.any(String),
      });
    }
  });

  it("an unknown one is refused", () => {
    expect(() => layoutNamed("stee")).toThrow(/unknown layout "stee"/);
  });
});
