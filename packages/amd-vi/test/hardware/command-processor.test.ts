import {
  ALL_PAGES,
  completePprRequest,
  completionWaitInterrupt,
  completionWaitStore,
  defaultOpenPoints,
  encodeFeatures,
  invalidateDevtabEntry,
  invalidateInterruptTable,
  invalidateIommuAll,
  invalidateIotlbPages,
} from "@iommu-lab/amd-vi";
import { COMMAND_HEAD, COMMAND_TAIL, STATUS, STATUS_COMMAND_RUN, STATUS_COM_WAIT_INT } from "../registers.ts";
import { hex64 } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RID, TRANSLATED } from "./machine.ts";

const device = { deviceId: RID, queueId: RID, maxPending: 32 };
const everything = invalidateIotlbPages(device, 0, ALL_PAGES);

function stored(machine: Machine, address: number): string {
  machine.memory.load64(address);
  return hex64(machine.memory.lo, machine.memory.hi);
}

function running(machine: Machine): boolean {
  return (machine.unit.read32(STATUS) & STATUS_COMMAND_RUN) !== 0;
}

describe("COMPLETION_WAIT", () => {
  test("stores its data and moves the head", () => {
    const machine = new Machine();
    const target = machine.allocate(8);
    machine.submit(completionWaitStore(target, 0x1122334455667));
    expect(stored(machine, target)).toBe("0x0001122334455667");
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(16);
  });

  test("raises its interrupt when ComWaitIntEn is set", () => {
    const machine = new Machine();
    machine.submit(completionWaitInterrupt());
    expect([machine.unit.read32(STATUS) & STATUS_COM_WAIT_INT, machine.interrupts]).toEqual([STATUS_COM_WAIT_INT, 0]);
    machine.unit.write32(STATUS, STATUS_COM_WAIT_INT);
    expect(machine.unit.read32(STATUS) & STATUS_COM_WAIT_INT).toBe(0);
    machine.control("ComWaitIntEn");
    machine.submit(completionWaitInterrupt());
    expect(machine.interrupts).toBe(1);
  });

  const flushing = (words: Uint32Array): Uint32Array => words.map((word, index) => (index === 0 ? word | 4 : word));

  test("waits until devices have completed; later commands overtake it", () => {
    const machine = new Machine();
    const target = machine.allocate(16);
    const waits = [completionWaitStore(target, 7), completionWaitStore(target + 8, 8)];
    machine.submit(everything, ...waits, invalidateDevtabEntry(RID));
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(64);
    expect(stored(machine, target)).toBe(hex64(0, 0));
    machine.unit.invalidateCompletion(RID, 1, 1);
    machine.scheduler.settle();
    expect([stored(machine, target), stored(machine, target + 8)]).toEqual([hex64(7, 0), hex64(8, 0)]);
    const done = machine.traced("command:complete").map(({ opcode }) => opcode);
    expect(done).toEqual(["INVALIDATE_DEVTAB_ENTRY", "INVALIDATE_IOTLB_PAGES", "COMPLETION_WAIT", "COMPLETION_WAIT"]);
  });

  test("an invalidation that is started behind it does not hold it up", () => {
    const machine = new Machine();
    const target = machine.allocate(8);
    machine.submit(everything, completionWaitStore(target, 7), everything);
    machine.unit.invalidateCompletion(RID, 1, 1);
    machine.scheduler.settle();
    expect(stored(machine, target)).toBe(hex64(7, 0));
    expect(machine.unit.pendingInvalidations).toBe(1);
  });

  test("F: what is behind it waits too", () => {
    const machine = new Machine();
    const target = machine.allocate(8);
    machine.submit(everything, flushing(completionWaitStore(target, 7)), invalidateDevtabEntry(RID));
    expect(stored(machine, target)).toBe(hex64(0, 0));
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(16);
    machine.unit.invalidateCompletion(RID, 1, 1);
    machine.scheduler.settle();
    expect(stored(machine, target)).toBe(hex64(7, 0));
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(48);
  });

  test("at most 32 are overtaken", () => {
    const machine = new Machine();
    const waits = Array.from({ length: 40 }, () => completionWaitInterrupt());
    machine.submit(everything, ...waits);
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(33 * 16);
  });

  test("an overtaken one whose store finds no memory stops the buffer too", () => {
    const machine = new Machine();
    const [, slot = 0] = machine.submit(everything, completionWaitStore(0x1000, 7), invalidateDevtabEntry(RID));
    machine.unit.invalidateCompletion(RID, 1, 1);
    machine.scheduler.settle();
    expect(running(machine)).toBe(false);
    expect(machine.log).toEqual([`00000000 62000000 ${slot.toString(16).toUpperCase().padStart(8, "0")} 00000000`]);
  });

  test("behind a timeout it completes, or never does where that is asked for", () => {
    for (const waitAfterTimeout of ["completes", "never"] as const) {
      const machine = new Machine({ open: { ...defaultOpenPoints, waitAfterTimeout } });
      const target = machine.allocate(8);
      machine.invTimeOut(1);
      machine.submit(everything, completionWaitStore(target, 7));
      machine.advance(1_000_000);
      machine.advance(1e12);
      expect(stored(machine, target)).toBe(hex64(waitAfterTimeout === "never" ? 0 : 7, 0));
    }
  });

  test("a store that finds no memory is COMMAND_HARDWARE_ERROR", () => {
    const machine = new Machine();
    const [slot = 0] = machine.submit(completionWaitStore(0x1000, 7));
    expect(running(machine)).toBe(false);
    expect(machine.log).toEqual([`00000000 62000000 ${slot.toString(16).toUpperCase().padStart(8, "0")} 00000000`]);
  });
});

describe("INVALIDATE_IOTLB_PAGES", () => {
  test("sends an Invalidate Request with the range, and a PASID for GN=1", () => {
    const machine = new Machine();
    machine.submit(
      everything,
      invalidateIotlbPages(device, 0x200, 512),
      invalidateIotlbPages({ ...device, pasid: 0x12345 }, 5, 1),
    );
    expect(machine.root.sent).toEqual([
      { kind: "invalidate", rid: RID, pasid: NO_PASID, tag: 0, page: 0, sizeLog2: 64, code: 0 },
      { kind: "invalidate", rid: RID, pasid: NO_PASID, tag: 1, page: 0x200, sizeLog2: 21, code: 0 },
      { kind: "invalidate", rid: RID, pasid: 0x12345, tag: 2, page: 5, sizeLog2: 12, code: 0 },
    ]);
  });

  test("PASID 0 of a device with GIoV goes out without PASID; the other reading is an option", () => {
    const pasids = (machine: Machine): number[] => {
      const gcr3Root = machine.gcr3(0, {});
      machine.setDte({ ...TRANSLATED, guestValid: true, guestIo: true, gcr3Root });
      machine.submit(invalidateIotlbPages({ ...device, pasid: 0 }, 5, 1));
      machine.setDte({ ...TRANSLATED, guestValid: true, gcr3Root });
      machine.submit(invalidateIotlbPages({ ...device, pasid: 0 }, 5, 1));
      return machine.root.sent.map(({ pasid }) => pasid);
    };
    expect(pasids(new Machine())).toEqual([NO_PASID, 0]);
    expect(pasids(new Machine({ open: { ...defaultOpenPoints, guestIoInvalidation: "with-pasid" } }))).toEqual([0, 0]);
  });

  test("at most MaxPend of a queue are on their way", () => {
    const machine = new Machine();
    const one = invalidateIotlbPages({ ...device, maxPending: 2 }, 5, 1);
    const other = invalidateIotlbPages({ deviceId: 1, queueId: 1, maxPending: 2 }, 5, 1);
    machine.submit(one, one, one, other);
    expect(machine.root.sent.map(({ rid }) => rid)).toEqual([RID, RID]);
    machine.unit.invalidateCompletion(RID, 2, 1);
    machine.scheduler.settle();
    expect(machine.root.sent.map(({ rid, tag }) => [rid, tag])).toEqual([
      [RID, 0],
      [RID, 1],
      [RID, 1],
      [1, 0],
    ]);
  });

  test("MaxPend 0 is 32, as many as there are ITags", () => {
    const machine = new Machine();
    const one = invalidateIotlbPages({ ...device, maxPending: 0 }, 5, 1);
    machine.submit(...Array.from({ length: 34 }, () => one));
    expect(machine.root.sent.map(({ tag }) => tag)).toEqual(Array.from({ length: 32 }, (_, index) => index));
  });

  test("every completion of a device counts", () => {
    const machine = new Machine();
    machine.submit(everything);
    machine.unit.invalidateCompletion(RID, 1, 3);
    machine.unit.invalidateCompletion(RID, 1, 3);
    expect(machine.unit.pendingInvalidations).toBe(1);
    machine.unit.invalidateCompletion(RID, 1, 3);
    expect(machine.unit.pendingInvalidations).toBe(0);
  });

  test("is illegal without IotlbSup", () => {
    const machine = new Machine({ iotlbSup: false });
    machine.submit(everything);
    expect(running(machine)).toBe(false);
    expect(machine.root.sent).toEqual([]);
  });
});

describe("a device that does not answer", () => {
  test("InvTimeOut 1 s: IOTLB_INV_TIMEOUT with the command's address, then the wait completes", () => {
    const machine = new Machine();
    machine.invTimeOut(4);
    const target = machine.allocate(8);
    const [slot = 0] = machine.submit(everything, completionWaitStore(target, 7));
    machine.advance(999_999_999);
    expect([stored(machine, target), machine.log.length]).toEqual([hex64(0, 0), 0]);
    machine.advance(1);
    expect(stored(machine, target)).toBe(hex64(7, 0));
    expect(machine.log).toEqual([`00003A00 70000000 ${slot.toString(16).toUpperCase().padStart(8, "0")} 00000000`]);
    expect(machine.traced("invalidate:timeout")).toMatchObject([{ iommu: "ivhd0", rid: RID, itag: 0 }]);
    expect(machine.traced("command:complete").map(({ opcode, result }) => `${opcode} ${result}`)).toEqual([
      "INVALIDATE_IOTLB_PAGES IOTLB_INV_TIMEOUT",
      "COMPLETION_WAIT completed",
    ]);
  });

  test("InvTimeOut 0: for ever", () => {
    const machine = new Machine();
    machine.submit(everything);
    machine.advance(1e15);
    expect(machine.unit.pendingInvalidations).toBe(1);
  });

  test("a late completion changes nothing", () => {
    const machine = new Machine();
    machine.invTimeOut(1);
    machine.submit(everything);
    machine.advance(1_000_000);
    machine.unit.invalidateCompletion(RID, 1, 1);
    expect(machine.unit.pendingInvalidations).toBe(0);
  });
});

describe("illegal commands", () => {
  const reserved = (index: number, bit: number): Uint32Array => {
    const words = invalidateDevtabEntry(RID);
    words[index] = ((words[index] ?? 0) | (1 << bit)) >>> 0;
    return words;
  };

  test.each([
    ["opcode 0", Uint32Array.of(0, 0, 0, 0)],
    ["opcode 15", Uint32Array.of(0, 0xf0000000, 0, 0)],
    ["a reserved bit in word 0", reserved(0, 16)],
    ["a reserved bit in word 1", reserved(1, 0)],
    ["a reserved bit in word 2", reserved(2, 0)],
    ["a reserved bit in word 3", reserved(3, 31)],
  ])("%s stops the buffer with the head on it", (_name, words) => {
    const machine = new Machine();
    const [, slot = 0] = machine.submit(invalidateInterruptTable(RID), words, invalidateInterruptTable(RID));
    expect(running(machine)).toBe(false);
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(16);
    expect(machine.log).toEqual([`00000000 50000000 ${slot.toString(16).toUpperCase().padStart(8, "0")} 00000000`]);
  });

  test("other models leave the head behind it", () => {
    const machine = new Machine({ open: { ...defaultOpenPoints, headAfterError: "behind" } });
    machine.submit(Uint32Array.of(0, 0, 0, 0));
    expect([running(machine), machine.unit.read32(COMMAND_HEAD)]).toEqual([false, 16]);
  });

  test("what the unit does not have", () => {
    const machine = new Machine({ efr: encodeFeatures({ ppr: false, invalidateAll: false, gt: false }) });
    for (const words of [
      completePprRequest(RID, undefined, 1, 0),
      invalidateIommuAll(),
      invalidateIotlbPages({ ...device, pasid: 1 }, 0, 1),
    ]) {
      machine.submit(words);
      expect(running(machine)).toBe(false);
      machine.clear("CmdBufEn");
      machine.unit.write32(COMMAND_HEAD, 0);
      machine.unit.write32(COMMAND_TAIL, 0);
      machine.rewind();
      machine.control("CmdBufEn");
      expect(running(machine)).toBe(true);
    }
  });

  test("software restarts the buffer: off, head and tail to 0, on", () => {
    const machine = new Machine();
    machine.submit(Uint32Array.of(0, 0, 0, 0));
    machine.unit.write32(COMMAND_HEAD, 0x40);
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(0x40);
    machine.clear("CmdBufEn");
    machine.unit.write32(COMMAND_HEAD, 0);
    machine.unit.write32(COMMAND_TAIL, 0);
    machine.rewind();
    machine.control("CmdBufEn");
    const target = machine.allocate(8);
    machine.submit(completionWaitStore(target, 9));
    expect(stored(machine, target)).toBe(hex64(9, 0));
    machine.unit.write32(COMMAND_HEAD, 0x40);
    expect(machine.unit.read32(COMMAND_HEAD)).toBe(16);
  });
});

test("COMPLETE_PPR_REQUEST answers a page request", () => {
  const machine = new Machine();
  machine.submit(completePprRequest(RID, 0x12, 5, 1), completePprRequest(RID, undefined, 6, 15));
  expect(machine.root.sent.map(({ kind, pasid, tag, code }) => [kind, pasid, tag, code])).toEqual([
    ["response", 0x12, 5, 1],
    ["response", NO_PASID, 6, 15],
  ]);
});

test("the buffer is a ring", () => {
  const machine = new Machine();
  for (let round = 0; round < 3; round += 1) {
    machine.submit(...Array.from({ length: 300 }, () => invalidateDevtabEntry(RID)));
  }
  expect(machine.unit.read32(COMMAND_HEAD)).toBe((900 * 16) % 8192);
});
