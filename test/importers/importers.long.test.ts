import process from "node:process";
import { expect, test } from "vitest";
import { bombard } from "./bombard.ts";
import { type Importer, importers } from "./importers.ts";

const HOUR = 3_600_000;

/** Firmware tables, which are read as files too. */
const TABLES = new Set(["decode cedt", "decode iort", "decode dmar", "decode ivrs"]);

/** The other codecs are many and share their code: together they get a million and more. */
const rows = importers.map((importer): readonly [string, number, Importer] => [
  importer.name,
  importer.name.startsWith("decode") && !TABLES.has(importer.name) ? 20_000 : 200_000,
  importer,
]);

test.each(rows)(
  "%s: %i inputs, clear errors, no crash, no hang, bounded memory",
  (_name, count, one) => {
    const before = process.memoryUsage().rss;
    const [outcome] = bombard([one], count, 7).values();
    expect((outcome?.read ?? 0) + (outcome?.refused ?? 0)).toBe(count);
    expect(process.memoryUsage().rss - before).toBeLessThan(1024 * 1024 * 1024);
  },
  HOUR,
);
