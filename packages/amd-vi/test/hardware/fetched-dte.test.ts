import { decodeDte } from "@iommu-lab/amd-vi";
import { x86_64 } from "@iommu-lab/core";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FetchedDte } from "../../src/hardware/fetched-dte.ts";
import { wordOf } from "../layout/golden.ts";

test("hardware and software read the same fields in the same bits", () => {
  const words = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint32Array(bytes.slice().buffer));
  fc.assert(
    fc.property(words, (entry) => {
      const hardware = new FetchedDte();
      hardware.set(entry, 0x3074000);
      const { address, illegal, reported, ...fields } = hardware;
      expect([address, illegal, reported]).toEqual([0x3074000, false, false]);
      expect(decodeDte(entry)).toMatchObject(fields);
    }),
  );
});

test("a guest leaf as the driver writes it", () => {
  const word = { lo: 0, hi: 0 };
  x86_64.leafEntry(1, 0x12345000, 3, word);
  expect(wordOf(word)).toBe("0x12345067");
});
