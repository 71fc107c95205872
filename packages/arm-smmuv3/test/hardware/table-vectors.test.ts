import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, STREAMS } from "../support/machine.ts";
import { wordsOf } from "../support/words.ts";

/** One recorded table vector: words of tables, one DMA write, what became of it. */
interface Vector {
  readonly name: string;
  readonly tables: Readonly<Record<string, readonly string[]>>;
  readonly iova: string;
  readonly expected_gpa: string;
  readonly iommu_testdev: { readonly result: string };
  readonly fault: { readonly events: readonly { readonly event: readonly string[] }[] };
  /** A second endpoint: it reads 8 bytes of the page after, then writes 8 bytes of the page, 4 bytes at a time. */
  readonly edu_fault: { readonly events: readonly { readonly event: readonly string[] }[] };
}

interface Recording {
  readonly idr: readonly string[];
  readonly vectors: readonly Vector[];
}

const root = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const places = [path.join(root, "packages", "truth", "recordings"), path.resolve(root, "..", "shared", "recordings")];

function recording(name: string): Recording | undefined {
  const file = places.map((place) => path.join(place, `${name}.json`)).find((one) => existsSync(one));
  return file === undefined ? undefined : (JSON.parse(readFileSync(file, "utf8")) as Recording);
}

/** Where the emulator leaves the architecture: what the architecture asks for. */
const departures: Readonly<Record<string, readonly string[]>> = {
  // A level-0 block is an invalid descriptor: F_TRANSLATION. The emulator takes it for 512 GiB and goes on.
  "l0-block-illegal": ["0x0000009800000010", "0x0000020000000000", "0x0000008080403000"],
};

/** Where the recorded tables are. */
const PLACES: Readonly<Record<string, number>> = {
  cd: 0x40220000,
  l0: 0x40230000,
  l1: 0x40231000,
  l2: 0x40232000,
  l3: 0x40233000,
};
const RECORDED_SID = 0x98;
const SECOND_SID = 0x88;
const WRITE = 4;

function trim(words: readonly string[]): readonly string[] {
  return words.slice(0, words.findLastIndex((word) => !/^0x0+$/.test(word)) + 1);
}

/** An SMMU of the recording's kind with the vector's tables, for one stream. */
function machineOf(recorded: Recording, vector: Vector, sid: number): Machine {
  const [idr0 = 0, idr1 = 0, , idr3 = 0, , idr5 = 0] = recorded.idr.map(Number);
  const machine = new Machine({ id: { idr0, idr1, idr3, idr5 } });
  machine.enable();
  for (const [table, words] of Object.entries(vector.tables)) {
    const at = table === "ste" ? STREAMS + sid * 64 : (PLACES[table] ?? 0) + indexOf(table, BigInt(vector.iova));
    machine.store(at, wordsOf(words.length, ...words));
  }
  return machine;
}

function indexOf(table: string, iova: bigint): number {
  const level = table.startsWith("l") ? Number(table.slice(1)) : 3;
  return table === "cd" ? 0 : Number((iova >> BigInt(39 - 9 * level)) & 511n) * 8;
}

describe("table vectors recorded on an emulator", () => {
  const found = recording("qtest-smmu");
  test.skipIf(found === undefined)("the recording is there", () => {
    expect(found?.vectors.length).toBeGreaterThan(0);
  });
  test.each(found?.vectors ?? [])("$name", (vector) => {
    const machine = machineOf(found ?? { idr: [], vectors: [] }, vector, RECORDED_SID);
    const iova = BigInt(vector.iova);
    const offset = Number(iova & 0xfffn);
    const result = machine.smmu.translate(RECORDED_SID, NO_PASID, Number(iova >> 12n), offset, WRITE);
    const recorded = vector.fault.events.map(({ event }) => trim(event));
    const departure = departures[vector.name];
    expect(machine.takeEvents()).toEqual(departure === undefined ? recorded : [departure]);
    expect(result.status === "success").toBe(vector.iommu_testdev.result === "ok");
    if (result.status === "success") {
      expect(result.page).toBe(Number(BigInt(vector.expected_gpa) >> 12n));
    }
  });

  test.each(found?.vectors ?? [])("$name, a second endpoint", (vector) => {
    const machine = machineOf(found ?? { idr: [], vectors: [] }, vector, SECOND_SID);
    const page = Number(BigInt(vector.iova) >> 12n);
    for (const [at, flags] of [
      [page + 1, 0],
      [page, WRITE],
    ] as const) {
      for (const offset of [0, 4]) {
        machine.smmu.translate(SECOND_SID, NO_PASID, at, offset, flags);
      }
    }
    const events = machine.takeEvents();
    if (departures[vector.name] === undefined) {
      expect(events).toEqual(vector.edu_fault.events.map(({ event }) => trim(event)));
    } else {
      expect(events.map(([w0]) => w0)).toEqual(Array.from({ length: 4 }, () => "0x0000008800000010"));
    }
  });
});
