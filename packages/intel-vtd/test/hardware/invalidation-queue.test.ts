import {
  contextCacheInvalidation,
  deviceTlbInvalidation,
  invalidationWait,
  iotlbPageInvalidation,
  pageGroupResponse,
  pasidDeviceTlbInvalidation,
  pasidIotlbInvalidation,
} from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";
import { Machine, SCALABLE_CAP, SCALABLE_ECAP, SID } from "./machine.ts";
import { FSTS, FSTS_ICE, FSTS_IQE, FSTS_ITE, IQH, IQT, TTM_LEGACY, TTM_SCALABLE } from "../registers.ts";

const device = { sourceId: SID, physicalFunction: 0, maxPending: 0 };

function legacy(): Machine {
  const machine = new Machine();
  machine.startQueue();
  machine.translateWith(machine.legacyRoot(machine.page()), TTM_LEGACY);
  return machine;
}

function scalable(): Machine {
  const machine = new Machine({ cap: SCALABLE_CAP, ecap: SCALABLE_ECAP });
  machine.startQueue();
  machine.translateWith(machine.scalableRoot(machine.page()), TTM_SCALABLE);
  return machine;
}

function results(machine: Machine): string[] {
  return machine.events.flatMap((event) =>
    event.type === "command:complete" ? [`${event.opcode}: ${event.result}`] : [],
  );
}

describe("execution", () => {
  test("a wait writes its status; the head meets the tail", () => {
    const machine = legacy();
    const status = machine.page();
    machine.submit(
      contextCacheInvalidation(1, 0, 0),
      invalidationWait({ statusWrite: true, data: 2, address: status }),
    );
    expect(machine.memory.load32(status)).toBe(2);
    expect(machine.unit.read32(IQH)).toBe(32);
    expect(machine.unit.read32(IQT)).toBe(32);
  });

  test("a completion names the submission in its slot, also where two slots share a line", () => {
    const machine = scalable();
    const slots = machine.queueUp(contextCacheInvalidation(1, 0, 0), invalidationWait({ fence: true }));
    machine.memory.noteWriter(slots[0] ?? 0, 501, 32);
    machine.memory.noteWriter(slots[1] ?? 0, 502, 32);
    machine.doorbell();
    const events = machine.events.filter((event) => event.type === "command:complete");
    expect(events.map((event) => [event.submit, event.cause])).toEqual([
      [501, 501],
      [502, 502],
    ]);
  });

  test("a wait waits for the devices before it; a fence holds back what follows", () => {
    const machine = legacy();
    const status = machine.page();
    const wait = { statusWrite: true, data: 2, address: status };
    machine.submit(deviceTlbInvalidation(device, 0, 52), invalidationWait(wait), contextCacheInvalidation(1, 0, 0));
    expect(machine.root.sent).toMatchObject([{ rid: SID, pasid: -1, itag: 0, page: 0, sizeLog2: 64, global: false }]);
    expect(machine.memory.load32(status)).toBe(0);
    expect(results(machine)).toEqual(["cc_inv: completed"]);
    machine.unit.invalidateCompletion(SID, 1, 1);
    machine.scheduler.settle();
    expect(machine.memory.load32(status)).toBe(2);

    machine.submit(
      deviceTlbInvalidation(device, 0, 0),
      invalidationWait({ ...wait, data: 3, fence: true }),
      deviceTlbInvalidation(device, 1, 0),
    );
    expect(machine.root.sent).toHaveLength(2);
    machine.unit.invalidateCompletion(SID, 1, 1);
    machine.scheduler.settle();
    expect(machine.memory.load32(status)).toBe(3);
    expect(machine.root.sent).toHaveLength(3);
  });

  test("several completions may carry one ITag", () => {
    const machine = legacy();
    const status = machine.page();
    machine.submit(
      deviceTlbInvalidation(device, 0, 52),
      invalidationWait({ statusWrite: true, data: 2, address: status }),
    );
    machine.unit.invalidateCompletion(SID, 1, 2);
    machine.scheduler.settle();
    expect(machine.memory.load32(status)).toBe(0);
    machine.unit.invalidateCompletion(SID, 1, 2);
    machine.scheduler.settle();
    expect(machine.memory.load32(status)).toBe(2);
  });

  test("a device's queue depth holds back further invalidations", () => {
    const machine = legacy();
    const shallow = { ...device, maxPending: 2 };
    machine.submit(...[0, 1, 2].map((page) => deviceTlbInvalidation(shallow, page, 0)));
    expect(machine.root.sent.map((one) => one.itag)).toEqual([0, 1]);
    machine.unit.invalidateCompletion(SID, 0b10, 1);
    machine.scheduler.settle();
    expect(machine.root.sent.map((one) => one.itag)).toEqual([0, 1, 1]);
  });

  test("PASID, size and the global bit reach the device; responses too", () => {
    const machine = scalable();
    machine.submit(pasidDeviceTlbInvalidation(device, 0x12, 0x7f0000000, 2), pageGroupResponse(SID, 0x12, 5, 1));
    expect(machine.root.sent).toMatchObject([
      { kind: "invalidate", pasid: 0x12, page: 0x7f0000000, sizeLog2: 14, global: false },
      { kind: "response", rid: SID, pasid: 0x12, itag: 5, code: 1 },
    ]);
  });

  test("an interrupt is raised once until software has seen it", () => {
    const machine = legacy();
    machine.unit.write32(0xa4, 0x21);
    machine.unit.write32(0xa0, 0);
    machine.submit(invalidationWait({ interrupt: true }), invalidationWait({ interrupt: true }));
    expect(machine.messages).toHaveLength(1);
    machine.unit.write32(0x9c, 1);
    machine.submit(invalidationWait({ interrupt: true }));
    expect(machine.messages).toHaveLength(2);
  });
});

describe("queue errors", () => {
  test.each<[string, () => Machine, number[], number]>([
    ["an unknown type", legacy, [0xf, 0, 0, 0], 3],
    ["a type of scalable mode in legacy mode", legacy, [...pasidIotlbInvalidation(5, 0)], 3],
    ["a reserved bit", legacy, [0x11, 0, 1, 0], 4],
    ["granularity 0", legacy, [0x01, 0, 0, 0], 4],
    ["a mask beyond MAMV", legacy, [...iotlbPageInvalidation(5, 0, 19, false, { read: true, write: true })], 4],
    ["a misaligned page", legacy, [...iotlbPageInvalidation(5, 1, 1, false, { read: true, write: true })], 4],
    ["PFSID without DIT", legacy, [...deviceTlbInvalidation({ ...device, physicalFunction: SID }, 0, 0)], 4],
    ["a reserved qword", scalable, [0x11, 0, 0, 0, 1, 0, 0, 0], 4],
  ])("%s stops the queue at the descriptor", (_name, make, words, code) => {
    const machine = make();
    machine.submit(contextCacheInvalidation(1, 0, 0), words, contextCacheInvalidation(1, 0, 0));
    const step = machine.wide ? 32 : 16;
    expect(machine.unit.read32(FSTS)).toBe(FSTS_IQE);
    expect(machine.unit.read32(0xb0)).toBe(code);
    expect(machine.unit.read32(IQH)).toBe(step);
  });

  test("software replaces the descriptor, clears the error, and the queue goes on", () => {
    const machine = legacy();
    const [slot = 0] = machine.queueUp([0xf, 0, 0, 0]);
    machine.doorbell();
    machine.store(slot, contextCacheInvalidation(1, 0, 0));
    machine.scheduler.settle();
    expect(machine.unit.read32(IQH)).toBe(0);
    machine.unit.write32(FSTS, FSTS_IQE);
    machine.scheduler.settle();
    expect(machine.unit.read32(IQH)).toBe(16);
  });

  test("256-bit descriptors need an even tail, scalable mode needs 256-bit descriptors", () => {
    const machine = scalable();
    machine.unit.write32(IQT, 0x10);
    machine.scheduler.settle();
    expect(machine.unit.read32(0xb0)).toBe(6);
    const narrow = scalable();
    const [lo, hi] = [narrow.page(), 0];
    narrow.unit.write64(0x90, lo, hi);
    narrow.unit.write32(IQT, 0x20);
    narrow.scheduler.settle();
    expect(narrow.unit.read32(0xb0)).toBe(5);
  });

  test("a tail beyond the queue", () => {
    const machine = legacy();
    machine.unit.write32(IQT, 0x1000);
    machine.scheduler.settle();
    expect(machine.unit.read32(0xb0)).toBe(1);
  });
});

function timeOut(machine: Machine): void {
  machine.clock.advance(machine.clock.now + 1000);
  machine.scheduler.settle();
}

describe("devices that do not answer", () => {
  test("the time-out names the device, aborts the waits and stops fetching until it is cleared", () => {
    const machine = legacy();
    const status = machine.page();
    machine.submit(
      deviceTlbInvalidation(device, 0, 52),
      invalidationWait({ statusWrite: true, data: 2, address: status }),
    );
    expect(machine.unit.engines.at(-1)?.deadline()).toBe(machine.clock.now + 1000);
    timeOut(machine);
    expect(machine.unit.read32(FSTS)).toBe(FSTS_ITE);
    expect(machine.unit.read32(0xb4)).toBe(SID);
    expect(results(machine)).toEqual(["dev_tlb_inv: timed out", "inv_wait: aborted"]);
    machine.submit(invalidationWait({ statusWrite: true, data: 7, address: status }));
    expect(machine.memory.load32(status)).toBe(0);
    machine.unit.write32(FSTS, FSTS_ITE);
    machine.scheduler.settle();
    expect(machine.memory.load32(status)).toBe(7);
  });

  test("a completion nobody waits for is an error of its own, and the queue goes on", () => {
    const machine = legacy();
    const status = machine.page();
    machine.unit.invalidateCompletion(0x100, 1, 1);
    expect(machine.unit.read32(FSTS)).toBe(FSTS_ICE);
    expect(machine.unit.read32(0xb4)).toBe(0x100 * 0x10000);
    machine.submit(invalidationWait({ statusWrite: true, data: 2, address: status }));
    expect(machine.memory.load32(status)).toBe(2);
  });
});

describe("global status", () => {
  test("switching the queue off resets the head", () => {
    const machine = legacy();
    machine.submit(contextCacheInvalidation(1, 0, 0));
    machine.command(2 ** 26, false);
    expect(machine.unit.read32(IQH)).toBe(0);
  });
});
