import type { TranslateResult } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { encodeCommand } from "../../src/layout/command.ts";
import { CERROR, CR0, REG } from "../../src/layout/registers.ts";
import { STE_CONFIG } from "../../src/layout/stream-table-entry.ts";
import { Machine, SID } from "../support/machine.ts";
import { mapStage1Structures, stage2Ste } from "../support/stage2.ts";

/** STALL_MODEL 0, TERM_MODEL 0: software chooses. */
const CHOICE = 0x08cd149b;
const RW = 0x50000f47n;

let machine: Machine;
let resumed: { readonly tag: number; readonly status: string; readonly ignored: boolean; readonly page: number }[];

function start(stalls: number = 1, idr5?: number): void {
  resumed = [];
  machine = new Machine({
    id: { idr0: CHOICE, ...(idr5 === undefined ? {} : { idr5 }) },
    resumed: (tag: number, { status, ignored, page }: TranslateResult) => {
      resumed.push({ tag, status, ignored, page });
    },
  });
  machine.enable();
  machine.stage1();
  machine.cd(0, { s: stalls });
  machine.map({});
}

describe("CD.S", () => {
  beforeEach(() => {
    start();
  });

  it("a fault waits, and its record says so", () => {
    expect(machine.write(1)).toMatchObject({ status: "pending", stallTag: 0, fault: "F_TRANSLATION" });
    expect(machine.read(2)).toMatchObject({ status: "pending", stallTag: 1 });
    expect(machine.takeEvents()).toEqual([
      ["0x0000010000000010", "0x0000020080000000", "0x0000000000001000"],
      ["0x0000010000000010", "0x0000020880000001", "0x0000000000002000"],
    ]);
  });

  it("RESUME with Ac retries with the tables of then", () => {
    machine.write(1);
    machine.map({ 1: RW });
    machine.issue(encodeCommand("RESUME", { sid: SID, ac: 1, stag: 0 }));
    expect(resumed).toEqual([{ tag: 0, status: "success", ignored: false, page: 0x50000 }]);
    machine.issue(encodeCommand("RESUME", { sid: SID, ac: 1, stag: 0 }));
    expect(resumed).toHaveLength(1);
  });

  it("a retry that faults again waits again", () => {
    machine.write(1);
    machine.issue(encodeCommand("RESUME", { sid: SID, ac: 1, stag: 0 }));
    expect(resumed).toMatchObject([{ tag: 0, status: "pending" }]);
    expect(machine.takeEvents()).toHaveLength(2);
  });

  it.each([
    ["Ab", 1, false],
    ["neither", 0, true],
  ])("RESUME with %s ends it", (_what, ab, ignored) => {
    machine.write(1);
    machine.issue(encodeCommand("RESUME", { sid: SID, ab, stag: 0 }));
    expect(resumed).toMatchObject([{ tag: 0, status: "UR", ignored }]);
  });

  it("RESUME of another stream, or of no stall, does nothing", () => {
    machine.write(1);
    machine.issue(
      encodeCommand("RESUME", { sid: SID + 1, ac: 1, stag: 0 }),
      encodeCommand("RESUME", { sid: SID, ac: 1, stag: 9 }),
    );
    expect(resumed).toEqual([]);
    expect(machine.consumed).toBe(true);
  });

  it("STALL_TERM ends all of a stream", () => {
    machine.write(1);
    machine.write(2);
    machine.issue(encodeCommand("STALL_TERM", { sid: SID }));
    expect(resumed).toMatchObject([
      { tag: 0, status: "UR" },
      { tag: 1, status: "UR" },
    ]);
  });

  it("Translation Requests never wait", () => {
    expect(machine.translationRequest(1)).toMatchObject({ status: "success", read: false, write: false });
    expect(machine.takeEvents()).toEqual([]);
  });

  it("a record waits for room in the queue", () => {
    for (let page = 0; page < 64; page += 1) {
      machine.smmu.translate(0x10000, -1, page, 0, 0);
    }
    expect(machine.read(1).status).toBe("pending");
    expect(machine.takeEvents()).toHaveLength(64);
    expect(machine.takeEvents().map(([w0]) => w0)).toEqual(["0x0000010000000010"]);
    expect(machine.read32(REG.eventqProd) >>> 31).toBe(0);
  });
});

it("a record waits for its queue to be enabled", () => {
  start();
  machine.write32(REG.cr0, CR0.cmdqen | CR0.smmuen);
  expect(machine.read(1).status).toBe("pending");
  machine.write32(REG.cr0, CR0.cmdqen | CR0.smmuen | CR0.eventqen);
  expect(machine.takeEvents()).toHaveLength(1);
});

it("S1STALLD forbids CD.S", () => {
  start();
  machine.stage1({ s1StallD: 1 });
  expect(machine.read(1).fault).toBe("C_BAD_CD");
});

it("stage 2 has its own bit", () => {
  start();
  machine.ste(stage2Ste(STE_CONFIG.nested, { s2S: 1 }));
  machine.map({ 1: RW });
  mapStage1Structures(machine);
  expect(machine.read(1)).toMatchObject({ status: "pending", fault: "F_TRANSLATION" });
  expect(machine.takeEvents()).toEqual([
    ["0x0000010000000010", "0x0000028880000000", "0x0000000000001000", "0x0000000050000000"],
  ]);
});

it("beyond STALL_MAX faults terminate", () => {
  start(1, 0x00010075);
  expect(machine.read(1).status).toBe("pending");
  expect(machine.read(2)).toMatchObject({ status: "UR", fault: "F_TRANSLATION" });
});

it("CD.A = 0: reads give zero and writes are ignored, with a record", () => {
  start(0);
  machine.cd(0, { a: 0 });
  expect(machine.read(1)).toMatchObject({ status: "UR", ignored: true, recorded: true, fault: "F_TRANSLATION" });
});

it("where faults always stall, a descriptor must say so", () => {
  machine = new Machine({ id: { idr0: CHOICE | 0x2000000 } });
  machine.enable(CR0.smmuen);
  machine.stage1();
  machine.cd(0);
  machine.map({ 1: RW });
  expect(machine.read(1).fault).toBe("C_BAD_CD");
});

it("RESUME where nothing stalls is illegal", () => {
  machine = new Machine();
  machine.enable();
  machine.issue(encodeCommand("RESUME", { sid: SID, ac: 1 }));
  expect((machine.read32(REG.cmdqCons) >>> 24) & 0x7f).toBe(CERROR.ill);
});
