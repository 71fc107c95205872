import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fromQwords } from "@iommu-lab/core";
import { AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine } from "./machine.ts";
import { FSTS, TTM_LEGACY, TTM_SCALABLE } from "../registers.ts";

/** One recorded table vector: words of tables, one DMA, what became of it. */
interface Vector {
  readonly name: string;
  readonly tables: Readonly<Record<string, readonly string[]>>;
  readonly iova: string;
  readonly expected_gpa: string;
  readonly iommu_testdev: { readonly result: string };
  readonly fault: { readonly fsts: string; readonly record?: readonly [lo: string, hi: string] };
}

interface Recording {
  readonly cap: string;
  readonly ecap: string;
  readonly vectors: readonly Vector[];
}

const root = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const places = [path.join(root, "packages", "truth", "recordings"), path.resolve(root, "..", "shared", "recordings")];

function recording(name: string): Recording | undefined {
  const file = places.map((place) => path.join(place, `${name}.json`)).find((one) => existsSync(one));
  return file === undefined ? undefined : (JSON.parse(readFileSync(file, "utf8")) as Recording);
}

/** Where the emulator leaves the specification: the code that the specification asks for, and why. */
interface Departure {
  readonly recording: string;
  readonly vector: string;
  readonly code: number;
  readonly reason: string;
}

const departures: readonly Departure[] = [
  {
    recording: "qtest-vtd-scalable-fs",
    vector: "root-low-not-present",
    code: 0x39,
    reason: "the emulator reports scalable root entries with the codes of legacy mode",
  },
  {
    recording: "qtest-vtd-scalable-ss",
    vector: "root-low-not-present",
    code: 0x39,
    reason: "the emulator reports scalable root entries with the codes of legacy mode",
  },
  {
    recording: "qtest-vtd-scalable-fs",
    vector: "first-stage-no-accessed-bits",
    code: 0x90,
    reason: "the emulator sets accessed bits although SMPWCS=0: walks are not snooped, so they may not change (SFS.9)",
  },
];

function halves(text: string): readonly [number, number] {
  const value = BigInt(text);
  return [Number(value & 0xffffffffn), Number(value >> 32n)];
}

/** Table addresses by name: what the recorded pointers point to. Device 19 is in the upper half of a scalable root entry. */
const fixed: Readonly<Record<string, number>> = {
  root: 0x100000,
  context: 0x101000,
  pt4: 0x110000,
  pt3: 0x111000,
  pt2: 0x112000,
  pt1: 0x113000,
  pasid_dir: 0x120000,
  pasid0: 0x121000,
};

function indexOf(name: string, iova: bigint, sid: number, scalable: boolean): number {
  switch (name) {
    case "root":
      return (sid >>> 8) * 16;
    case "context":
      return scalable ? (sid & 0x7f) * 32 : (sid & 0xff) * 16;
    case "pasid_dir":
    case "pasid0":
      return 0;
    default: {
      const level = Number(name.slice(2));
      return Number((iova >> BigInt(12 + 9 * (level - 1))) & 511n) * 8;
    }
  }
}

/** A record of a write without PASID. */
function recordOf(iova: string, sid: number, code: number): readonly string[] {
  const high = (1n << 63n) | (BigInt(code) << 32n) | BigInt(sid);
  return [`0x${(BigInt(iova) & ~0xfffn).toString(16)}`, `0x${high.toString(16)}`];
}

/** The first fault recording register; undefined while it is free. */
function readRecord({ unit }: Machine): readonly bigint[] | undefined {
  const base = unit.caps.faultRecordOffset;
  const word = (offset: number): bigint =>
    (BigInt(unit.read32(base + offset + 4)) << 32n) | BigInt(unit.read32(base + offset));
  return word(8) >> 63n === 1n ? [word(0), word(8)] : undefined;
}

describe.each(["qtest-vtd-legacy", "qtest-vtd-scalable-fs", "qtest-vtd-scalable-ss"])("%s", (name) => {
  const found = recording(name);
  const scalable = name.includes("scalable");
  test.skipIf(found === undefined)("the recording is there", () => {
    expect(found?.vectors.length).toBeGreaterThan(0);
  });
  test("each departure is that of a vector, with its reason", () => {
    const own = departures.filter((one) => one.recording === name);
    expect(own.every(({ reason }) => reason.length > 20)).toBe(true);
    expect(found === undefined || own.every((one) => found.vectors.some((vector) => vector.name === one.vector))).toBe(
      true,
    );
  });

  test.each(found?.vectors ?? [])("$name", (vector) => {
    const sid = 0x98;
    const iova = BigInt(vector.iova);
    const machine = new Machine({
      memoryBase: 0,
      cap: halves(found?.cap ?? "0"),
      ecap: halves(found?.ecap ?? "0"),
      hostAddressWidth: 39,
    });
    for (const [table, words] of Object.entries(vector.tables)) {
      const upper = scalable && table === "context" ? 0x1000 : 0;
      const at = (fixed[table] ?? 0) + upper + indexOf(table, iova, sid, scalable);
      machine.store(at, fromQwords(words.map(BigInt)));
    }
    machine.translateWith(0x100000, scalable ? TTM_SCALABLE : TTM_LEGACY);
    const result = machine.unit.translate(sid, NO_PASID, Number(iova >> 12n), 0, AT_UNTRANSLATED | REQUEST_WRITE);
    const departure = departures.find((one) => one.recording === name && one.vector === vector.name);
    const code = departure?.code ?? 0;
    const passes = vector.iommu_testdev.result === "ok" && departure === undefined;
    const expected = departure === undefined ? vector.fault.record : recordOf(vector.iova, sid, code);
    expect([result.status, machine.unit.read32(FSTS)]).toEqual(
      departure === undefined ? [passes ? "success" : "UR", Number(vector.fault.fsts)] : ["UR", 2],
    );
    expect(readRecord(machine)).toEqual(expected === undefined ? undefined : expected.map((word) => BigInt(word)));
    expect(passes ? result.page : -1).toBe(passes ? Number(BigInt(vector.expected_gpa) >> 12n) : -1);
  });
});
