import { beforeEach, describe, expect, it } from "vitest";
import { cmdCfgiAll, encodeCommand } from "../../src/layout/command.ts";
import { CR0, CR2 } from "../../src/layout/registers.ts";
import { Machine, TABLES } from "../support/machine.ts";

const A = 0x50000f47n;
const B = 0x60000f47n;
/** Another last-level table. */
const OTHER = TABLES + 0x10000;

let machine: Machine;

function start(idr0?: number, cr2: number = CR2.recInvSid): void {
  machine = new Machine(idr0 === undefined ? {} : { id: { idr0 } });
  machine.enable(CR0.smmuen | CR0.atschk, cr2);
  machine.stage1();
  machine.cd(0);
  machine.map({ 1: A, 2: A });
  machine.qword(OTHER + 8, B);
  machine.qword(OTHER + 16, B);
}

describe("a table that was read", () => {
  beforeEach(() => {
    start();
    machine.read(1);
    machine.qword(TABLES + 2 * 4096, BigInt(OTHER) | 3n);
  });

  it("leads to the old table until it is invalidated with its tables", () => {
    expect(machine.read(2).page).toBe(0x50000);
    machine.issue(encodeCommand("TLBI_NH_VA", { asid: 5, page: 1, leaf: 1 }));
    expect(machine.read(1).page).toBe(0x50000);
    machine.issue(encodeCommand("TLBI_NH_VA", { asid: 5, page: 1, leaf: 0 }));
    expect(machine.read(1).page).toBe(0x60000);
  });

  it.each([
    ["TLBI_NH_ASID", encodeCommand("TLBI_NH_ASID", { asid: 5 }), 0x60000],
    ["TLBI_NH_ASID of another", encodeCommand("TLBI_NH_ASID", { asid: 6 }), 0x50000],
    ["TLBI_NH_ALL", encodeCommand("TLBI_NH_ALL"), 0x60000],
    ["TLBI_NH_VAA", encodeCommand("TLBI_NH_VAA", { page: 0x1ff }), 0x60000],
    ["TLBI_NH_VA elsewhere", encodeCommand("TLBI_NH_VA", { asid: 5, page: 0x200 }), 0x50000],
    ["TLBI_NH_VA, range, level 3", encodeCommand("TLBI_NH_VA", { asid: 5, page: 2, num: 1, tg: 1, ttl: 3 }), 0x60000],
    ["CFGI_ALL", cmdCfgiAll(), 0x50000],
  ])("%s", (_what, command, page) => {
    machine.issue(command);
    expect(machine.read(2).page).toBe(page);
  });
});

describe("policies", () => {
  it.each([
    ["walks none", { walks: "none" } as const, 0x60000],
    ["translations none", { translations: "none" } as const, 0x50000],
  ])("%s", (_what, caches, page) => {
    machine = new Machine({ caches });
    machine.enable();
    machine.stage1();
    machine.cd(0);
    machine.map({ 1: A, 2: A });
    machine.qword(OTHER + 16, B);
    machine.read(1);
    machine.qword(TABLES + 2 * 4096, BigInt(OTHER) | 3n);
    expect(machine.read(2).page).toBe(page);
  });

  it("lru: the entry used last stays", () => {
    machine = new Machine({ caches: { config: "keep-all", walks: "none", translations: { lru: 2 } } });
    machine.enable();
    machine.stage1();
    machine.cd(0);
    machine.map({ 1: A, 2: A, 3: A });
    for (const page of [1, 2, 1, 3]) {
      machine.read(page);
    }
    machine.map({ 1: B, 2: B, 3: B });
    expect([1, 3].map((page) => machine.read(page).page)).toEqual([0x50000, 0x50000]);
    expect(machine.read(2).page).toBe(0x60000);
  });

  it("a policy that is none is refused", () => {
    expect(() => new Machine({ caches: { lru: 0 } })).toThrow(/lru: 0/);
  });
});

describe("broadcasts of CPUs", () => {
  /** IDR0.BTM. */
  const BTM = 0x0dcd149b | 0x20;
  const tlbi = encodeCommand("TLBI_NH_ASID", { asid: 5 });

  function afterBroadcast(aset: number): number {
    machine.cd(0, { aset });
    machine.read(1);
    machine.map({ 1: B });
    machine.smmu.broadcast(tlbi);
    return machine.read(1).page;
  }

  it("drop what contexts that share their ASID brought", () => {
    start(BTM);
    expect(afterBroadcast(0)).toBe(0x60000);
  });

  it("leave what contexts with ASET brought", () => {
    start(BTM);
    expect(afterBroadcast(1)).toBe(0x50000);
  });

  it("do not reach an SMMU with PTM, or without BTM", () => {
    start(BTM, CR2.recInvSid | CR2.ptm);
    expect(afterBroadcast(0)).toBe(0x50000);
    start();
    expect(afterBroadcast(0)).toBe(0x50000);
  });
});
