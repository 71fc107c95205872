import { NO_PASID } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import {
  ATC_SIZE_ALL,
  PRI_RESPONSE,
  SYNC_SIGNAL,
  cmdAtcInv,
  cmdCfgiAll,
  cmdPriResp,
  cmdSync,
  encodeCommand,
} from "../../src/layout/command.ts";
import { CERROR, CR0, GERROR, REG } from "../../src/layout/registers.ts";
import { Machine, SID } from "../support/machine.ts";
import { wordsOf } from "../support/words.ts";

let machine: Machine;

beforeEach(() => {
  machine = new Machine();
  machine.enable();
});

function error(): number {
  return (machine.read32(REG.cmdqCons) >>> 24) & 0x7f;
}

function acknowledge(): void {
  machine.write32(REG.gerrorn, machine.read32(REG.gerror));
}

function results(): string[] {
  return machine.events
    .filter((event) => event.type === "command:complete")
    .map((event) => `${event.opcode} ${event.result}`);
}

describe("commands", () => {
  it("are consumed in order, and the queue wraps", () => {
    for (let round = 0; round < 100; round += 1) {
      machine.issue(cmdCfgiAll());
      expect(machine.consumed).toBe(true);
    }
    expect(results()).toHaveLength(200);
  });

  it("wait while CMDQEN is 0", () => {
    machine.write32(REG.cr0, CR0.eventqen);
    machine.issue(cmdCfgiAll());
    expect(machine.consumed).toBe(false);
    machine.write32(REG.cr0, CR0.eventqen | CR0.cmdqen);
    expect(machine.consumed).toBe(true);
  });

  it("a SYNC can tell by a message", () => {
    machine.memory.store32(0x40130040, 0xffffffff);
    machine.put(cmdSync(SYNC_SIGNAL.irq, 0x40130040));
    machine.ring();
    expect(machine.memory.load32(0x40130040)).toBe(0);
  });
});

describe("ATC_INV", () => {
  it.each([
    ["a range", cmdAtcInv(SID, undefined, 8, 2), { pasid: NO_PASID, page: 8, sizeLog2: 14, global: false }],
    ["an unaligned range", cmdAtcInv(SID, undefined, 9, 2), { pasid: NO_PASID, page: 8, sizeLog2: 14, global: false }],
    [
      "everything",
      cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL),
      { pasid: NO_PASID, page: 0, sizeLog2: 64, global: false },
    ],
    ["a PASID", cmdAtcInv(SID, 5, 1, 0), { pasid: 5, page: 1, sizeLog2: 12, global: false }],
    [
      "all PASIDs",
      encodeCommand("ATC_INV", { sid: SID, ssv: 1, ssid: 5, global: 1, size: ATC_SIZE_ALL }),
      { pasid: 5, page: 0, sizeLog2: 64, global: true },
    ],
    [
      "Global without PASID counts as not set",
      encodeCommand("ATC_INV", { sid: SID, global: 1, size: 0 }),
      { pasid: NO_PASID, page: 0, sizeLog2: 12, global: false },
    ],
  ])("%s", (_what, command, sent) => {
    machine.issue(command);
    expect(machine.root.sent).toMatchObject([{ kind: "invalidate", rid: SID, tag: 0, ...sent }]);
  });

  it("is consumed before it is done; the SYNC behind it waits", () => {
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL), cmdCfgiAll());
    expect(machine.consumed).toBe(false);
    expect(machine.read32(REG.cmdqCons)).toBe(2);
    machine.smmu.invalidateCompletion(SID, 1, 1);
    machine.scheduler.settle();
    expect(machine.consumed).toBe(true);
    expect(results()).toEqual(["CFGI_ALL completed", "ATC_INV completed", "SYNC completed"]);
  });

  it("needs as many completions as the first one says", () => {
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL));
    machine.smmu.invalidateCompletion(SID, 1, 3);
    machine.smmu.invalidateCompletion(SID, 1, 3);
    machine.scheduler.settle();
    expect(machine.consumed).toBe(false);
    machine.smmu.invalidateCompletion(SID, 1, 3);
    machine.scheduler.settle();
    expect(machine.consumed).toBe(true);
  });

  it("ignores a completion that names nothing", () => {
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL));
    machine.smmu.invalidateCompletion(SID, 2, 1);
    machine.smmu.invalidateCompletion(SID + 1, 1, 1);
    machine.scheduler.settle();
    expect(machine.consumed).toBe(false);
  });

  it("answered UR is done", () => {
    machine.root.delivery = "UR";
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL));
    expect(machine.consumed).toBe(true);
    expect(error()).toBe(CERROR.none);
  });

  it("has 32 ITags for each function, then waits", () => {
    machine.put(...Array.from({ length: 40 }, (_, page) => cmdAtcInv(SID, undefined, page, 0)));
    machine.put(cmdAtcInv(SID + 8, undefined, 0, 0), cmdSync(0));
    machine.ring();
    expect(machine.root.sent.map((one) => one.tag)).toEqual(Array.from({ length: 32 }, (_, tag) => tag));
    machine.smmu.invalidateCompletion(SID, 2 ** 7, 1);
    machine.scheduler.settle();
    expect(machine.root.sent.slice(32).map((one) => one.tag)).toEqual([7]);
    machine.smmu.invalidateCompletion(SID, 0xffffffff, 1);
    machine.scheduler.settle();
    expect(machine.root.sent).toHaveLength(41);
    expect(machine.root.sent.at(-1)).toMatchObject({ rid: SID + 8, tag: 0 });
  });

  it("while SMMUEN is 0 is consumed and ignored", () => {
    machine.write32(REG.cr0, CR0.cmdqen);
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL));
    expect(machine.root.sent).toEqual([]);
    expect(machine.consumed).toBe(true);
  });
});

describe("an ATC invalidation that is never answered", () => {
  beforeEach(() => {
    machine.root.delivery = "lost";
    machine.issue(cmdAtcInv(SID, undefined, 0, ATC_SIZE_ALL));
  });

  it("times out in virtual time; the SYNC reports it and stays", () => {
    expect(Math.min(...machine.smmu.engines.map((engine) => engine.deadline()))).toBe(1000);
    machine.clock.advance(999);
    machine.scheduler.settle();
    expect(error()).toBe(CERROR.none);
    machine.clock.advance(1000);
    machine.scheduler.settle();
    expect(error()).toBe(CERROR.atcInvSync);
    expect(machine.read32(REG.cmdqCons) & 0xff).toBe(1);
    expect(machine.read32(REG.gerror)).toBe(GERROR.cmdqErr);
    expect(machine.interrupts.gerror.pending).toBe(true);
    expect(machine.events.filter((event) => event.type === "invalidate:timeout")).toMatchObject([
      { iommu: "smmu0", rid: SID, itag: 0 },
    ]);
  });

  it("lets the repeated SYNC complete, as nothing is on its way any more", () => {
    machine.clock.advance(1000);
    machine.scheduler.settle();
    acknowledge();
    expect(machine.consumed).toBe(true);
    expect(error()).toBe(CERROR.none);
    expect(results()).toEqual(["ATC_INV timed out", "SYNC CERROR_ATC_INV_SYNC", "SYNC completed"]);
  });

  it("is reported by the next SYNC when it timed out before", () => {
    machine = new Machine();
    machine.enable();
    machine.root.delivery = "lost";
    machine.put(cmdAtcInv(SID, undefined, 0, 0));
    machine.ring();
    machine.clock.advance(2000);
    machine.scheduler.settle();
    expect(error()).toBe(CERROR.none);
    machine.issue();
    expect(error()).toBe(CERROR.atcInvSync);
  });
});

describe("illegal commands", () => {
  it.each([
    ["unknown opcode", wordsOf(2, 0x99n)],
    ["Secure opcode", wordsOf(2, 0x18n)],
    ["SSec on the Non-secure queue", wordsOf(2, 0x403n)],
    ["TLBI_EL2_ALL without EL2", encodeCommand("TLBI_EL2_ALL")],
    ["RESUME where nothing stalls", encodeCommand("RESUME", { sid: SID })],
    ["SYNC with CS 3", encodeCommand("SYNC", { cs: 3 })],
    ["PRI_RESP with Resp 3", encodeCommand("PRI_RESP", { sid: SID, resp: 3 })],
    ["a range of nothing", encodeCommand("TLBI_NH_VA", { asid: 1, tg: 1 })],
  ])("%s", (_what, command) => {
    machine.issue(cmdCfgiAll(), command, cmdCfgiAll());
    expect(error()).toBe(CERROR.ill);
    expect(machine.read32(REG.cmdqCons) & 0xff).toBe(1);
    expect(machine.interrupts.gerror.pending).toBe(true);
  });

  it.each([
    ["ATC_INV without ATS", 0x0dcd149b & ~0x400, cmdAtcInv(SID, undefined, 0, 0)],
    ["PRI_RESP without PRI", 0x0dcd149b & ~0x10000, cmdPriResp(SID, undefined, 0, 0)],
    ["TLBI_S12_VMALL without stage 2", 0x0dcd149b & ~1, encodeCommand("TLBI_S12_VMALL")],
    ["TLBI_NH_ASID without stage 1", 0x0dcd149b & ~2, encodeCommand("TLBI_NH_ASID")],
  ])("%s", (_what, idr0, command) => {
    machine = new Machine({ id: { idr0 } });
    machine.enable();
    machine.issue(command);
    expect(error()).toBe(CERROR.ill);
  });

  it("stop consumption until acknowledged; software may put a SYNC in their place", () => {
    machine.issue(wordsOf(2, 0x99n), cmdCfgiAll());
    expect(results()).toEqual(["opcode 0x99 CERROR_ILL"]);
    machine.issue(cmdCfgiAll());
    expect(results()).toHaveLength(1);
    machine.store(0x40100000, cmdSync(0));
    acknowledge();
    expect(machine.consumed).toBe(true);
  });

  it("are found again when they stay", () => {
    machine.issue(wordsOf(2, 0x99n));
    acknowledge();
    expect(error()).toBe(CERROR.ill);
    expect((machine.read32(REG.gerror) ^ machine.read32(REG.gerrorn)) & GERROR.cmdqErr).toBe(GERROR.cmdqErr);
  });

  it("a queue outside memory is CERROR_ABT", () => {
    machine = new Machine();
    machine.write64(REG.cmdqBase, [0x10000006, 0]);
    machine.write32(REG.cr0, CR0.cmdqen);
    machine.ring();
    machine.issue();
    expect(error()).toBe(CERROR.abt);
  });
});

describe("PRI_RESP", () => {
  it.each([
    [PRI_RESPONSE.success, 0],
    [PRI_RESPONSE.invalid, 1],
    [PRI_RESPONSE.failure, 15],
  ])("response %i goes out as code %i", (response, code) => {
    machine.issue(cmdPriResp(SID, 5, 3, response), cmdPriResp(SID, undefined, 4, response));
    expect(machine.root.sent).toMatchObject([
      { kind: "response", rid: SID, pasid: 5, tag: 3, code },
      { kind: "response", rid: SID, pasid: NO_PASID, tag: 4, code },
    ]);
  });
});
