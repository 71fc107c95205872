import process from "node:process";
import { InputError } from "@iommu-lab/core";
import { parseLspciDump, parseLspciVerbose } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { bombard } from "./bombard.ts";
import { importers } from "./importers.ts";

describe("whatever an importer is given", () => {
  test.each(importers.map((importer) => [importer.name, importer] as const))(
    "%s reads it or says why not",
    (_name, one) => {
      const [outcome = { read: 0, refused: 0 }] = bombard([one], one.name.startsWith("decode") ? 60 : 400, 1).values();
      // The damages must leave some inputs readable and spoil others, or nothing was tried.
      expect(outcome.refused).toBeGreaterThan(0);
      expect(outcome.read).toBeGreaterThan(0);
    },
  );

  test.each(importers.map((importer) => [importer.name, importer] as const))("%s reads a valid input", (_name, one) => {
    expect(() => one.read(one.seeds[0] ?? new Uint8Array(0))).not.toThrow();
  });
});

describe("what is larger than any machine", () => {
  const huge = "x".repeat(64 * 1024 * 1024 + 1);

  test.each([
    ["lspci -xxxx", parseLspciDump],
    ["lspci -vvv", parseLspciVerbose],
  ])("%s is refused before it is read", (_name, parse) => {
    expect(() => parse(huge, "f")).toThrow(InputError);
    expect(() => parse(huge, "f")).toThrow("at most 67108864 are read");
  });

  test("long lines and many functions take no more than their size", () => {
    const before = process.memoryUsage().heapUsed;
    parseLspciVerbose(`00:00.0 A\n${"\tDevCap: +-+- ".repeat(100_000)}\n${`\t${"0".repeat(1_000_000)}\n`.repeat(3)}`);
    expect(() => parseLspciDump(`00:00.0 A\n${"\tx\n".repeat(300_000)}`)).toThrow(InputError);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(256 * 1024 * 1024);
  });
});
