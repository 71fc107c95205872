import { NO_PASID, type PageRequest } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { CR0, CR2, GBPA, GERROR, REG } from "../../src/layout/registers.ts";
import { STE_CONFIG } from "../../src/layout/stream-table-entry.ts";
import { CMDQ, Machine, PRIQ, SID } from "../support/machine.ts";

let machine: Machine;

beforeEach(() => {
  machine = new Machine();
  machine.enable();
  machine.ste({ v: 0 });
});

describe("event queue", () => {
  it("interrupts when a record was written", () => {
    expect(machine.interrupts.eventq.pending).toBe(false);
    machine.read(1);
    expect(machine.interrupts.eventq.pending).toBe(true);
  });

  it("does not when the interrupt is off", () => {
    machine.write32(REG.irqCtrl, 0);
    machine.read(1);
    expect(machine.interrupts.eventq.pending).toBe(false);
  });

  it("full: later events are lost and the overflow flag says so, once", () => {
    for (let count = 0; count < 64; count += 1) {
      expect(machine.read(1).recorded).toBe(true);
    }
    expect(machine.read32(REG.eventqProd) & 0x80000000).toBe(0);
    expect(machine.read(1).recorded).toBe(false);
    expect(machine.read32(REG.eventqProd) >>> 31).toBe(1);
    expect(machine.read(1).recorded).toBe(false);
    expect(machine.read32(REG.eventqProd) >>> 31).toBe(1);
    expect(machine.takeEvents()).toHaveLength(64);
  });

  it("takes records again as soon as there is room, whether or not the overflow was acknowledged", () => {
    for (let count = 0; count < 65; count += 1) {
      machine.read(1);
    }
    machine.write32(REG.eventqCons, 1);
    expect(machine.read32(REG.eventqProd)).toBe(0x80000040);
    expect(machine.read(1).recorded).toBe(true);
    expect(machine.read32(REG.eventqProd)).toBe(0x80000041);
  });

  it("off: events vanish without an overflow", () => {
    machine.write32(REG.cr0, CR0.smmuen);
    expect(machine.read(1).recorded).toBe(false);
    expect(machine.read32(REG.eventqProd)).toBe(0);
  });

  it("outside memory raises EVENTQ_ABT_ERR", () => {
    machine = new Machine();
    machine.write64(REG.eventqBase, [0x10000006, 0]);
    machine.write32(REG.irqCtrl, 7);
    machine.write32(REG.cr0, CR0.eventqen);
    machine.translated(1);
    expect(machine.read32(REG.gerror)).toBe(GERROR.eventqAbtErr);
    expect(machine.interrupts.gerror.pending).toBe(true);
  });

  it("a fault names the event that wrote the structure at fault", () => {
    const mark = machine.trace.emit("mark", { what: "wrote the entry" });
    machine.memory.noteWriter(0x40400000 + SID * 64, mark);
    machine.read(1);
    expect(machine.events.at(-1)).toMatchObject({
      type: "fault",
      code: "0x04",
      name: "C_BAD_STE",
      rid: SID,
      page: 1,
      recorded: true,
      table: mark,
    });
  });
});

describe("page requests", () => {
  const request: PageRequest = {
    rid: SID,
    pasid: NO_PASID,
    page: 1,
    read: true,
    write: false,
    last: true,
    groupIndex: 3,
  };
  const stop: PageRequest = { ...request, pasid: 5, read: false };

  function fill(): void {
    for (let count = 0; count < 64; count += 1) {
      machine.smmu.pageRequest({ ...request, last: false });
    }
  }

  it("go into the queue", () => {
    machine.smmu.pageRequest(request);
    machine.smmu.pageRequest({ ...request, pasid: 5, write: true });
    expect(machine.readQword(PRIQ)).toBe(0x5000000000000100n);
    expect(machine.readQword(PRIQ + 8)).toBe(0x1003n);
    expect(machine.readQword(PRIQ + 16)).toBe(0xf000000500000100n);
    expect(machine.read32(REG.priqProd)).toBe(2);
    expect(machine.interrupts.priq.pending).toBe(true);
    expect(machine.root.sent).toEqual([]);
  });

  it.each([
    ["PRIQEN is 0", CR0.smmuen],
    ["SMMUEN is 0", CR0.priqen],
  ])("while %s: the last of a group gets a failure, the others and stop markers nothing", (_what, cr0) => {
    machine.write32(REG.cr0, cr0);
    machine.smmu.pageRequest({ ...request, last: false });
    machine.smmu.pageRequest(stop);
    expect(machine.root.sent).toEqual([]);
    machine.smmu.pageRequest({ ...request, pasid: 5 });
    expect(machine.root.sent).toMatchObject([{ kind: "response", rid: SID, pasid: NO_PASID, tag: 3, code: 15 }]);
  });

  it.each([
    ["without PASID: success", {}, NO_PASID, {}, 0],
    ["with PASID, stream not valid: failure", { pasid: 5 }, NO_PASID, { v: 0 }, 15],
    ["with PASID, PPAR 0: success without it", { pasid: 5 }, NO_PASID, { config: STE_CONFIG.abort }, 0],
    ["with PASID, PPAR 1: success with it", { pasid: 5 }, 5, { config: STE_CONFIG.abort, ppar: 1 }, 0],
  ])("to a full queue, %s", (_what, more, pasid, ste, code) => {
    machine.ste(ste);
    fill();
    machine.smmu.pageRequest({ ...request, ...more });
    expect(machine.root.sent).toMatchObject([{ pasid, tag: 3, code }]);
    expect(machine.read32(REG.priqProd) >>> 31).toBe(1);
  });

  it("with PPS the PASID always comes back", () => {
    machine = new Machine({ id: { idr3: 0x1434 } });
    machine.enable();
    fill();
    machine.smmu.pageRequest({ ...request, pasid: 5 });
    expect(machine.root.sent).toMatchObject([{ pasid: 5, code: 0 }]);
  });

  it("after an overflow nothing is queued until it is acknowledged", () => {
    fill();
    machine.smmu.pageRequest(request);
    machine.write32(REG.priqCons, 64);
    machine.smmu.pageRequest(request);
    expect(machine.root.sent).toHaveLength(2);
    machine.write32(REG.priqCons, 0x80000040);
    machine.smmu.pageRequest(request);
    expect(machine.root.sent).toHaveLength(2);
    expect(machine.read32(REG.priqProd)).toBe(0x80000041);
  });
});

describe("registers", () => {
  it("CR0 is acknowledged in a step of its own", () => {
    const one = new Machine();
    one.smmu.write32(REG.cr0, CR0.cmdqen);
    expect(one.read32(REG.cr0)).toBe(CR0.cmdqen);
    expect(one.read32(REG.cr0Ack)).toBe(0);
    one.scheduler.settle();
    expect(one.read32(REG.cr0Ack)).toBe(CR0.cmdqen);
  });

  it("GBPA changes with UPDATE alone, and shows UPDATE until it is done", () => {
    const one = new Machine();
    one.smmu.write32(REG.gbpa, GBPA.abort);
    expect(one.read32(REG.gbpa)).toBe(0);
    one.smmu.write32(REG.gbpa, (GBPA.abort | GBPA.update) >>> 0);
    expect(one.read32(REG.gbpa) >>> 31).toBe(1);
    one.smmu.write32(REG.gbpa, GBPA.update);
    one.scheduler.settle();
    expect(one.read32(REG.gbpa)).toBe(GBPA.abort);
  });

  it("what the SMMU lacks cannot be turned on", () => {
    const one = new Machine({ id: { idr0: 0x0dcd149b & ~0x10400 } });
    one.write32(REG.cr0, 0x1f);
    expect(one.read32(REG.cr0)).toBe(0xd);
    one.write32(REG.cr0, 0);
    one.write32(REG.cr2, CR2.e2h | CR2.recCfgAts);
    expect(one.read32(REG.cr2)).toBe(CR2.recCfgAts);
  });

  it("CR2, the stream table and enabled queues cannot be changed while in use", () => {
    machine.write32(REG.cr2, 0);
    machine.write32(REG.strtabBaseCfg, 5);
    machine.write64(REG.strtabBase, [0, 0]);
    machine.write64(REG.cmdqBase, [0, 0]);
    machine.write32(REG.cmdqCons, 9);
    machine.write32(REG.eventqProd, 9);
    expect(machine.read32(REG.cr2)).toBe(2);
    expect(machine.read32(REG.strtabBaseCfg)).toBe(16);
    expect(machine.read32(REG.strtabBase)).toBe(0x40400000);
    expect(machine.read32(REG.cmdqBase)).toBe(CMDQ + 6);
    expect(machine.read32(REG.cmdqCons)).toBe(0);
    expect(machine.read32(REG.eventqProd)).toBe(0);
  });

  it("ID registers are read-only, unknown ones read 0", () => {
    machine.write32(REG.idr0, 0);
    expect(machine.read32(REG.idr0)).toBe(0x0dcd149b);
    expect(machine.read32(0x3fc)).toBe(0);
  });
});
