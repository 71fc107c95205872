import { bytesOfHex } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { layoutNamed, layouts } from "../src/layouts.ts";

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

  it("an unknown one is refused", () => {
    expect(() => layoutNamed("stee")).toThrow(/unknown layout "stee"/);
  });
});
