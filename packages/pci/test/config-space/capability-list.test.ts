import { ConfigSpace, inspectFunction } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

/** A function with a capability list that starts at 0x40, with these bytes at these offsets. */
function functionWith(size: number, ...parts: readonly (readonly [number, string])[]): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set([0x34, 0x12, 1, 0, 0, 0, 0x10, 0]);
  bytes[0x34] = 0x40;
  for (const [offset, hex] of parts) {
    bytes.set(
      hex.split(" ").map((digits) => Number.parseInt(digits, 16)),
      offset,
    );
  }
  return bytes;
}

/** Offsets of what was found, then the warnings. */
function walk(bytes: Uint8Array): unknown[] {
  const { entries, warnings } = new ConfigSpace(bytes).capabilities();
  return [...entries.map(({ offset }) => offset), ...warnings];
}

const express = "10 00 02 00";

describe("capability lists", () => {
  test("are in list order", () => {
    expect(walk(functionWith(256, [0x40, "05 60"], [0x60, "01 50"], [0x50, "11 00"]))).toEqual([0x40, 0x60, 0x50]);
  });

  test("a loop ends the list", () => {
    expect(walk(functionWith(256, [0x40, "05 50"], [0x50, "01 40"]))).toEqual([
      0x40,
      0x50,
      "capability list loops back to 0x40",
    ]);
  });

  test("a pointer into the header ends the list", () => {
    expect(walk(functionWith(256, [0x40, "05 3c"]))).toEqual([0x40, "capability pointer 0x3c points into the header"]);
  });

  test("a pointer's lowest two bits are ignored", () => {
    expect(walk(functionWith(256, [0x40, "05 53"], [0x50, "01 00"]))).toEqual([0x40, 0x50]);
  });

  test("all ones end the list", () => {
    expect(walk(functionWith(256, [0x40, "05 50"], [0x50, "ff ff"]))).toEqual([
      0x40,
      "capability at 0x50 reads as all ones: the list is broken there",
    ]);
  });

  test("without the status bit there is no list", () => {
    const bytes = functionWith(256, [0x40, "05 00"]);
    bytes[6] = 0;
    expect(walk(bytes)).toEqual([]);
  });

  test("64 bytes hold no list", () => {
    expect(walk(functionWith(64))).toEqual(["capability at 0x40 lies beyond the 64 bytes present"]);
  });

  test("CardBus keeps its pointer at 0x14", () => {
    const bytes = functionWith(256, [0x80, "01 00"]);
    bytes[0x0e] = 2;
    bytes[0x14] = 0x80;
    expect(walk(bytes)).toEqual([0x80]);
  });

  test("the extended list, with a loop", () => {
    expect(walk(functionWith(4096, [0x40, express], [0x100, "0f 00 01 20"], [0x200, "1b 00 01 10"]))).toEqual([
      0x40,
      0x100,
      0x200,
      "extended capability list loops back to 0x100",
    ]);
  });

  test("the extended list leads nowhere", () => {
    expect(walk(functionWith(4096, [0x40, express], [0x100, "0f 00 01 20"]))).toEqual([
      0x40,
      0x100,
      "extended capability at 0x200 is empty: the list is broken",
    ]);
    expect(walk(functionWith(4096, [0x40, express], [0x100, "0f 00 c1 00"]))).toEqual([
      0x40,
      0x100,
      "extended capability pointer 0x0c points below 0x100",
    ]);
  });

  test("the extended list is cut off", () => {
    expect(walk(functionWith(0x180, [0x40, express], [0x100, "0f 00 01 20"]))).toEqual([
      0x40,
      0x100,
      "extended capability at 0x200 lies beyond the 384 bytes present",
    ]);
  });

  test("an empty capability that leads on is only a name", () => {
    const found = inspectFunction(
      "0000:00:00.0",
      functionWith(4096, [0x40, express], [0x100, "00 00 00 20"], [0x200, "0f 00 01 00"]),
    );
    expect(found.capabilities.map(({ name }) => name)).toEqual([
      "Express",
      "Null",
      "Address Translation Service (ATS)",
    ]);
  });

  test("no extended list without PCI Express or PCI-X mode 2", () => {
    const ats = [0x100, "0f 00 01 00"] as const;
    expect(walk(functionWith(4096, [0x40, "01 00"], ats))).toEqual([0x40]);
    expect(walk(functionWith(4096, [0x40, "07 00 00 00 00 00 00 00"], ats))).toEqual([0x40]);
    expect(walk(functionWith(4096, [0x40, "07 00 00 00 00 00 00 40"], ats))).toEqual([0x40, 0x100]);
  });

  test("a copy of the first 256 bytes is no extended list", () => {
    const bytes = functionWith(4096, [0x40, express]);
    for (let at = 0x100; at < 4096; at += 0x100) {
      bytes.copyWithin(at, 0, 0x100);
    }
    expect(walk(bytes)).toEqual([0x40, "extended config space repeats the first 256 bytes: no extended capabilities"]);
  });

  test("the second capability with an id is not the one found", () => {
    const config = new ConfigSpace(functionWith(256, [0x40, "09 50"], [0x50, "09 00"]));
    expect(config.findCapability(0x09)).toBe(0x40);
    expect(config.findCapability(0x05)).toBe(0);
  });
});

/** Random bytes that look enough like a function to be walked. */
const plausible = fc
  .tuple(
    fc.uint8Array({ minLength: 64, maxLength: 4096 }),
    fc.constantFrom(0, 1, 2, 0x7f),
    fc.nat({ max: 0xff }),
    fc.constantFrom(0x10, 0x05, 0x07),
  )
  .map(([bytes, headerType, pointer, id]) => {
    bytes[6] = 0x10;
    bytes[0x0e] = headerType;
    bytes[0x34] = pointer;
    if (pointer < bytes.length) {
      bytes[pointer & 0xfc] = id;
    }
    return bytes;
  });

test("whatever the bytes, a function is walked, decoded, written and reset", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 4096 }), plausible), fc.nat(), (bytes, value) => {
      const found = inspectFunction("0000:00:00.0", bytes);
      expect(found.capabilities.length).toBeLessThanOrEqual(64 + 960);
      expect(JSON.parse(JSON.stringify(found))).toEqual(found);
      const config = new ConfigSpace(bytes);
      const headers = (): number[] => [
        config.read32(0),
        config.read32(8),
        ...config.capabilities().entries.map(({ offset }) => config.read16(offset)),
      ];
      const before = headers();
      for (let offset = 0; offset < config.size; offset += 4) {
        config.write(offset, 4, value);
      }
      config.reset("flr");
      config.reset("conventional");
      expect(headers()).toEqual(before);
    }),
  );
});
