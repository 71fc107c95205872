import { EMPTY_DTE, decodePprEntry } from "@iommu-lab/amd-vi";
import {
  CONTROL,
  EVENT_BASE,
  EVENT_HEAD,
  EVENT_TAIL,
  EXTENDED_FEATURE,
  PPR_TAIL,
  STATUS,
  STATUS_EVENT_INT,
  STATUS_EVENT_OVERFLOW,
  STATUS_EVENT_RUN,
} from "../registers.ts";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RID, TRANSLATED } from "./machine.ts";

const SLOTS = 256;

function blocked(): Machine {
  const machine = new Machine();
  machine.setDte({ ...EMPTY_DTE, valid: true });
  return machine;
}

function status(machine: Machine): number {
  return machine.unit.read32(STATUS) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN | STATUS_EVENT_INT);
}

describe("event log", () => {
  test("one slot stays free; the next event overflows and stops it", () => {
    const machine = blocked();
    const recorded = Array.from({ length: SLOTS + 1 }, (_, page) => machine.write(page).recorded);
    expect(recorded.filter(Boolean).length).toBe(SLOTS - 1);
    expect(recorded.indexOf(false)).toBe(SLOTS - 1);
    expect(status(machine)).toBe(STATUS_EVENT_OVERFLOW | STATUS_EVENT_INT);
    expect(machine.unit.read32(EVENT_TAIL)).toBe((SLOTS - 1) * 16);
  });

  test("runs again after off, clear, on; making room alone does not help", () => {
    const machine = blocked();
    for (let page = 0; page <= SLOTS; page += 1) {
      machine.write(page);
    }
    machine.unit.write32(EVENT_HEAD, machine.unit.read32(EVENT_TAIL));
    expect(machine.write(0).recorded).toBe(false);
    machine.clear("EventLogEn");
    machine.control("EventLogEn");
    expect(machine.write(0).recorded).toBe(false);
    machine.clear("EventLogEn");
    machine.unit.write32(STATUS, STATUS_EVENT_OVERFLOW | STATUS_EVENT_INT);
    machine.control("EventLogEn");
    expect(machine.write(0).recorded).toBe(true);
    expect(status(machine)).toBe(STATUS_EVENT_RUN | STATUS_EVENT_INT);
  });

  test("interrupts as long as EventIntEn is set", () => {
    const machine = blocked();
    machine.write(0);
    expect([machine.interrupts, status(machine)]).toEqual([1, STATUS_EVENT_RUN | STATUS_EVENT_INT]);
    machine.unit.write32(STATUS, STATUS_EVENT_INT);
    machine.clear("EventIntEn");
    machine.write(0);
    expect([machine.interrupts, status(machine)]).toEqual([1, STATUS_EVENT_RUN]);
  });

  test("base and tail are taken only while it is off", () => {
    const machine = blocked();
    machine.write(0);
    machine.unit.write64(EVENT_BASE, 0x1234000, 0x08000000);
    machine.unit.write32(EVENT_TAIL, 0);
    expect([machine.unit.read32(EVENT_BASE), machine.unit.read32(EVENT_TAIL)]).toEqual([machine.events, 16]);
    machine.clear("EventLogEn");
    machine.unit.write64(EVENT_BASE, machine.events, 0x08000000);
    expect(machine.unit.read32(EVENT_TAIL)).toBe(0);
  });
});

describe("PPR log", () => {
  const request = { rid: RID, pasid: 0x12, page: 0x7f000, read: true, write: true, last: true, groupIndex: 5 };

  test("takes page requests of a device whose DTE allows them", () => {
    const machine = new Machine();
    machine.setDte({ ...TRANSLATED, pageRequests: true });
    machine.unit.pageRequest(request);
    expect(machine.unit.read32(PPR_TAIL)).toBe(16);
    const words = [0, 4, 8, 12].map((offset) => machine.memory.load32(machine.requests + offset));
    expect(decodePprEntry(words)).toEqual({
      deviceId: RID,
      pasid: 0x12,
      groupIndex: 5,
      last: true,
      read: true,
      write: true,
      page: 0x7f000,
    });
    expect(machine.root.sent).toEqual([]);
  });

  test.each([
    ["PPR=0", { ...TRANSLATED }],
    ["BLOCKED", { ...EMPTY_DTE, valid: true, pageRequests: true }],
  ])("%s: INVALID_PPR_REQUEST, and the device hears of it", (_name, entry) => {
    const machine = new Machine();
    machine.setDte(entry);
    machine.unit.pageRequest(request);
    expect(machine.unit.read32(PPR_TAIL)).toBe(0);
    expect(machine.log).toEqual(["00123A00 91000005 7F000000 00000000"]);
    expect(machine.root.sent).toMatchObject([{ kind: "response", rid: RID, pasid: 0x12, tag: 5, code: 1 }]);
  });

  test("only the last of a group is answered", () => {
    const machine = new Machine();
    machine.setDte(TRANSLATED);
    machine.unit.pageRequest({ ...request, pasid: NO_PASID, last: false });
    expect(machine.root.sent).toEqual([]);
  });
});

describe("registers", () => {
  test("halves of a 64-bit register", () => {
    const machine = new Machine();
    machine.unit.write32(CONTROL + 4, 0x2000);
    expect([machine.unit.read32(CONTROL) & 1, machine.unit.read32(CONTROL + 4)]).toEqual([1, 0x2000]);
    expect(machine.unit.read32(EXTENDED_FEATURE + 4)).toBe(0x00050013);
  });

  test("read-only and unknown ones take nothing", () => {
    const machine = new Machine();
    machine.unit.write64(EXTENDED_FEATURE, 0, 0);
    machine.unit.write64(0x3000, 1, 1);
    expect([machine.unit.read32(EXTENDED_FEATURE + 4), machine.unit.read32(0x3000)]).toEqual([0x00050013, 0]);
  });
});
