import { EVENT, eventName } from "@iommu-lab/amd-vi";
import { fromQwords } from "@iommu-lab/core";
import { NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { Machine } from "./machine.ts";

/** One recorded table vector: words of tables, one DMA by each of two devices, what became of it. */
interface Vector {
  readonly name: string;
  readonly tables: Readonly<Record<string, readonly string[]>>;
  readonly iova: string;
  readonly expected_gpa: string;
  readonly iommu_testdev: { readonly result: string };
  readonly fault: { readonly events: readonly { readonly code: string; readonly devid: string }[] };
  readonly edu: { readonly result: string };
  readonly edu_fault: { readonly events: readonly { readonly code: string; readonly devid: string }[] };
}

const top = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const places = [path.join(top, "packages", "truth", "recordings"), path.resolve(top, "..", "shared", "recordings")];
const file = places.map((place) => path.join(place, "qtest-amd.json")).find((one) => existsSync(one));
const vectors = file === undefined ? [] : (JSON.parse(readFileSync(file, "utf8")) as { vectors: Vector[] }).vectors;

/** The devices that sent: the first writes once, the second reads, writes, and reads back. */
const TESTDEV = 0x0098;
const EDU = 0x0088;
/** Where this machine's memory lies against the recorded one's. */
const SHIFT = 0x1000000;
/** EFR of the recorded unit. */
const EFR = 0x29d3n;

/**
 * Where the emulator leaves the specification. `results`: what is due instead for a write and a read. `event`: the event that
 * is due although none was recorded.
 */
const departures: Readonly<
  Record<string, { readonly why: string; readonly results?: readonly string[]; readonly event?: number }>
> = {
  "dte-v1-tv0-iova-is-gpa": { why: "TV=0: the emulator refuses without an event", event: EVENT.IO_PAGE_FAULT },
  "dte-v1-tv0-zero-like-blocked": { why: "TV=0: the emulator refuses without an event", event: EVENT.IO_PAGE_FAULT },
  "dte-mode0-no-ir-iw": {
    why: "Mode 0: the emulator does not look at IR and IW of the DTE",
    results: ["CA", "CA"],
    event: EVENT.IO_PAGE_FAULT,
  },
  "dte-no-ir": {
    why: "only the leaf's IR counts in the emulator, not the DTE's",
    results: ["success", "CA"],
  },
  "pte-write-only": {
    why: "the emulated device reads back what it wrote, and reads are not refused",
    results: ["success", "CA"],
  },
};

/** The same word for a machine whose memory begins elsewhere. */
function lift(word: bigint): bigint {
  return (word & 0xff0000n) === 0n ? word : word + BigInt(SHIFT);
}

function machineOf(vector: Vector): Machine {
  const machine = new Machine({ efr: EFR });
  const tables: readonly (readonly [string, number, number])[] = [
    ["pt4", 0x110000, 1],
    ["pt3", 0x111000, 2],
    ["pt2", 0x112000, 2],
    ["pt1", 0x113000, 3],
  ];
  for (const [name, address, index] of tables) {
    for (const [entry, text] of (vector.tables[name] ?? []).entries()) {
      const word = lift(BigInt(text));
      machine.memory.store64(SHIFT + address + (index + entry) * 8, Number(word & 0xffffffffn), Number(word >> 32n));
    }
  }
  const [first = "0", ...others] = vector.tables["dte"] ?? [];
  const dte = fromQwords([lift(BigInt(first)), ...others.map(BigInt)]);
  machine.setDte(dte, TESTDEV);
  machine.setDte(dte, EDU);
  return machine;
}

/** Event codes and devices in the log. */
function logged(machine: Machine): string[] {
  return machine.log.map((line) => {
    const [device = "", second = ""] = line.split(" ");
    return `${eventName(Number.parseInt(second, 16) >>> 28)} 0x${device.slice(4).toLowerCase()}`;
  });
}

const recordedEvents = (events: Vector["fault"]["events"]): string[] =>
  events.map(({ code, devid }) => `${eventName(Number(code))} ${devid}`);

describe.skipIf(file === undefined)("recorded table vectors", () => {
  test("there are some, and every departure is about one of them", () => {
    const names = vectors.map(({ name }) => name);
    expect(names).toHaveLength(13);
    expect(Object.keys(departures).filter((name) => !names.includes(name))).toEqual([]);
  });

  test.each(vectors)("$name: the write and its event", (vector) => {
    const machine = machineOf(vector);
    const page = Number(BigInt(vector.iova) >> 12n);
    const answer = machine.unit.translate(TESTDEV, NO_PASID, page, 0, REQUEST_WRITE);
    const departure = departures[vector.name];
    const recorded = vector.iommu_testdev.result === "ok" ? "success" : "CA";
    expect(answer.status).toBe(departure?.results?.[0] ?? recorded);
    if (answer.status === "success") {
      const expected = Number(BigInt(vector.expected_gpa) >> 12n);
      // With V=0 the address stays, and so does not move with the tables.
      expect(answer.page).toBe(vector.name.startsWith("dte-v0") ? expected : expected + SHIFT / 4096);
    }
    const due = departure?.event === undefined ? [] : [`${eventName(departure.event)} 0x0098`];
    const events = recordedEvents(vector.fault.events);
    expect(logged(machine)).toEqual(events.length === 0 ? due : events);
  });

  test.each(vectors)("$name: the second device reads and writes", (vector) => {
    const machine = machineOf(vector);
    const page = Number(BigInt(vector.iova) >> 12n);
    const departure = departures[vector.name];
    const write = machine.unit.translate(EDU, NO_PASID, page, 0, REQUEST_WRITE).status;
    const read = machine.unit.translate(EDU, NO_PASID, page, 0, 0).status;
    // A result "no-data" beside no event means that the data stood elsewhere, not that the unit refused.
    const refused = vector.edu_fault.events.length > 0 || vector.iommu_testdev.result !== "ok";
    const recorded = refused ? "CA" : "success";
    expect([write, read]).toEqual(departure?.results ?? [recorded, recorded]);
    const events = new Set(recordedEvents(vector.edu_fault.events));
    for (const event of events) {
      expect(logged(machine)).toContain(event);
    }
  });
});
