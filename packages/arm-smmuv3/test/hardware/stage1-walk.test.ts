import { NO_PASID, REQUEST_EXECUTE, REQUEST_NO_WRITE, REQUEST_PRIVILEGED } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { PROT_READ, PROT_WRITE, PageTable } from "@iommu-lab/core";
import type { CdField } from "../../src/layout/context-descriptor.ts";
import { vmsav8_64 } from "../../src/layout/vmsav8-64.ts";
import { Machine, SID, STREAMS, TABLES } from "../support/machine.ts";
import { wordsOf } from "../support/words.ts";

let machine: Machine;

/** The descriptor of page 1. */
const LEAF = TABLES + 3 * 4096 + 8;

function start(leaf: bigint, cd: Readonly<Partial<Record<CdField, number>>> = {}): void {
  machine = new Machine();
  machine.enable();
  machine.stage1({ s1CdMax: 2, s1Dss: 1 });
  machine.cd(1, cd);
  machine.map({ 1: leaf });
}

describe("permissions", () => {
  it.each([
    // A page that unprivileged code can write is executable for that code alone.
    ["RW", 0x50000f47n, "rwx", "rw-"],
    ["read-only", 0x50000fc7n, "r-x", "r-x"],
    ["privileged RW", 0x50000f07n, "---", "rwx"],
    ["privileged read-only", 0x50000f87n, "---", "r-x"],
  ])("%s", (_what, leaf, user, privileged) => {
    const check = (flags: number): string => {
      start(leaf);
      const result = machine.translationRequest(1, 1, flags | REQUEST_EXECUTE);
      const bits = [result.read ? "r" : "-", result.write ? "w" : "-", result.execute ? "x" : "-"];
      return bits.join("");
    };
    expect(check(0)).toBe(user);
    expect(check(REQUEST_PRIVILEGED)).toBe(privileged);
  });

  it.each([
    ["PXN", 0x0020000050000fc7n, true, false],
    ["UXN", 0x0040000050000fc7n, false, true],
  ])("%s", (_what, leaf, user, privileged) => {
    start(leaf);
    expect(machine.translationRequest(1, 1, REQUEST_EXECUTE).execute).toBe(user);
    expect(machine.translationRequest(1, 1, REQUEST_EXECUTE | REQUEST_PRIVILEGED).execute).toBe(privileged);
  });

  it("without PASID nothing is executable or privileged", () => {
    start(0x50000f47n);
    machine.stage1({ s1Dss: 2 });
    machine.cd(0);
    const result = machine.translationRequest(1, NO_PASID, REQUEST_EXECUTE | REQUEST_PRIVILEGED);
    expect(result).toMatchObject({ read: true, write: true, execute: false, privileged: false });
  });

  it("refuse what is missing, and say who asked", () => {
    start(0x50000fc7n);
    expect(machine.read(1, 1).status).toBe("success");
    expect(machine.write(1, 1).fault).toBe("F_PERMISSION");
    expect(machine.takeEvents()).toEqual([["0x0000010000001813", "0x0000020000000000", "0x0000000000001000"]]);
  });

  it.each([
    [61, "no unprivileged access", 0x50000f47n, "F_PERMISSION", "F_PERMISSION"],
    [62, "no writes", 0x50000f47n, "", "F_PERMISSION"],
  ])("APTable bit %i: %s below", (bit, _what, leaf, read, write) => {
    start(leaf);
    machine.qword(TABLES + 2 * 4096, (2n ** BigInt(bit)) | BigInt(TABLES + 3 * 4096) | 3n);
    expect(machine.read(1, 1).fault).toBe(read);
    expect(machine.write(1, 1).fault).toBe(write);
  });

  it("HAD switches table permissions off where the SMMU has it", () => {
    start(0x50000f47n, { had0: 1 });
    machine.qword(TABLES + 2 * 4096, (2n ** 62n) | BigInt(TABLES + 3 * 4096) | 3n);
    expect(machine.write(1, 1).status).toBe("success");
  });

  it("WXN: what is writable is not executable", () => {
    start(0x50000f47n, { wxn: 1 });
    expect(machine.translationRequest(1, 1, REQUEST_EXECUTE)).toMatchObject({ write: true, execute: false });
  });
});

describe("descriptors", () => {
  it.each([
    ["invalid", 0n, "F_TRANSLATION"],
    ["reserved at level 3", 0x50000f45n, "F_TRANSLATION"],
    ["AF = 0", 0x50000b47n, "F_ACCESS"],
    ["beyond IPS", 0x1000050000f47n, ""],
    ["beyond a 40-bit IPS", 0x10050000f47n, "F_ADDR_SIZE"],
  ])("leaf %s", (_what, leaf, fault) => {
    start(leaf, { ips: 2 });
    expect(machine.read(1, 1).fault).toBe(fault);
  });

  it.each([
    [0, "F_TRANSLATION"],
    [1, ""],
    [2, ""],
  ])("a block at level %i", (level, fault) => {
    start(0n);
    machine.qword(TABLES + level * 4096, 0xc0000f45n);
    const result = machine.write(1, 1);
    expect(result.fault).toBe(fault);
    if (fault === "") {
      expect(result.page).toBe(0xc0001);
      expect(result.sizeLog2).toBe(level === 1 ? 30 : 21);
      expect(machine.translationRequest(0x123, 1)).toMatchObject({ page: 0xc0123, sizeLog2: level === 1 ? 30 : 21 });
    }
  });

  it("that cannot be fetched are an external abort, recorded whatever CD.R says", () => {
    start(0n, { r: 0 });
    machine.qword(TABLES + 4096, 0x10000003n);
    expect(machine.read(1, 1)).toMatchObject({ fault: "F_WALK_EABT", recorded: true });
    expect(machine.takeEvents()).toEqual([
      ["0x000001000000180b", "0x0000010800000000", "0x0000000000001000", "0x0000000010000000"],
    ]);
  });

  it("CD.R = 0: translation faults leave no record", () => {
    start(0n, { r: 0 });
    expect(machine.read(1, 1)).toMatchObject({ status: "UR", fault: "F_TRANSLATION", recorded: false });
    expect(machine.takeEvents()).toEqual([]);
  });
});

describe("input range", () => {
  const top = 2 ** 52 - 1;

  it.each([
    ["T0SZ 16, first page beyond", { t0Sz: 16 }, 2 ** 36, "F_TRANSLATION"],
    ["T0SZ 25, last page", { t0Sz: 25, ttb0: TABLES + 4096 }, 2 ** 27 - 1, "F_TRANSLATION"],
    ["T0SZ 25, page 1 from level 1", { t0Sz: 25, ttb0: TABLES + 4096 }, 1, ""],
    ["EPD0", { epd0: 1 }, 1, "F_TRANSLATION"],
    ["upper range while EPD1", {}, top, "F_TRANSLATION"],
    ["tag in bits 63:56", {}, 0xab * 2 ** 44 + 1, "F_TRANSLATION"],
    ["tag in bits 63:56 with TBI0", { tbi0: 1 }, 0xab * 2 ** 44 + 1, ""],
  ])("%s", (_what, cd, page, fault) => {
    start(0x50000f47n, cd);
    expect(machine.read(page, 1).fault).toBe(fault);
  });

  it("TTB1 translates the upper range", () => {
    start(0n, { epd1: 0, t1Sz: 16, tg1: 2, ttb1: TABLES + 0x10000 });
    const tables = TABLES + 0x10000;
    for (let level = 0; level < 3; level += 1) {
      machine.qword(tables + level * 4096 + 511 * 8, BigInt(tables + (level + 1) * 4096) | 3n);
    }
    machine.qword(tables + 3 * 4096 + 511 * 8, 0x50007f47n);
    expect(machine.read(top, 1)).toMatchObject({ status: "success", page: 0x50007 });
    expect(machine.read(top - 1, 1).fault).toBe("F_TRANSLATION");
  });

  it("granules of 16 and 64 KiB", () => {
    const machine64 = new Machine();
    machine64.enable();
    machine64.stage1();
    machine64.cd(0, { tg0: 1, t0Sz: 22 });
    // Two levels of 8192 entries: 29-bit and 16-bit shifts.
    machine64.qword(TABLES, BigInt(TABLES + 0x10000) | 3n);
    machine64.qword(TABLES + 0x10000 + 8, 0x50010f47n);
    expect(machine64.read(0x1f)).toMatchObject({ status: "success", page: 0x5001f, sizeLog2: 16 });
    const machine16 = new Machine();
    machine16.enable();
    machine16.stage1();
    machine16.cd(0, { tg0: 2, t0Sz: 28 });
    machine16.qword(TABLES, BigInt(TABLES + 0x4000) | 3n);
    machine16.qword(TABLES + 0x4000 + 8, 0x50004f47n);
    expect(machine16.read(7)).toMatchObject({ status: "success", page: 0x50007, sizeLog2: 14 });
  });
});

describe("hardware updates", () => {
  const CLEAN = 0x0008000050000fc7n;
  const DIRTY = 0x0008000050000f47n;

  it("AF is set by HA, for good", () => {
    start(0x50000b47n, { ha: 1 });
    expect(machine.read(1, 1).status).toBe("success");
    expect(machine.readQword(LEAF)).toBe(0x50000f47n);
  });

  it("AF does not fault with AFFD, and stays as it is", () => {
    start(0x50000b47n, { affd: 1 });
    expect(machine.read(1, 1).status).toBe("success");
    expect(machine.readQword(LEAF)).toBe(0x50000b47n);
  });

  it("a writable-clean page becomes dirty by the first write", () => {
    start(CLEAN, { ha: 1, hd: 1 });
    expect(machine.read(1, 1).status).toBe("success");
    expect(machine.readQword(LEAF)).toBe(CLEAN);
    expect(machine.write(1, 1).status).toBe("success");
    expect(machine.readQword(LEAF)).toBe(DIRTY);
  });

  it("without HD it is read-only", () => {
    start(CLEAN, { ha: 1 });
    expect(machine.write(1, 1).fault).toBe("F_PERMISSION");
  });

  it("a Translation Request makes it dirty unless NW says otherwise", () => {
    start(CLEAN, { ha: 1, hd: 1 });
    expect(machine.translationRequest(1, 1, REQUEST_NO_WRITE)).toMatchObject({ read: true, write: false });
    expect(machine.readQword(LEAF)).toBe(CLEAN);
    expect(machine.translationRequest(1, 1)).toMatchObject({ read: true, write: true });
    expect(machine.readQword(LEAF)).toBe(DIRTY);
  });
});

describe("table walk of an emulator's recorded vector", () => {
  beforeEach(() => {
    machine = new Machine({ id: { idr0: 0x0d44101b, idr1: 0x02730010, idr3: 0x1414, idr5: 0x74 } });
    machine.enable();
  });

  it("ns-s1-only: NSTable, software bits, a descriptor in the middle of a page", () => {
    machine.store(STREAMS + SID * 64, wordsOf(8, 0x4e178fcbn, 0n, 0x000d009400000000n, 0x4e4d0000n));
    machine.store(0x4e178fc0, wordsOf(8, 0x1e206204c0000010n, 0x4e4d0001n, 1n));
    machine.qword(0x4e4d0008, 0x4e4d1000n | 0x8000000000000003n);
    machine.qword(0x4e4d1010, 0x4e4d2000n | 0x8000000000000003n);
    machine.qword(0x4e4d2018, 0x4e4d3000n | 0x8000000000000003n);
    machine.qword(0x4e4d3020, 0x040000004ecba763n);
    const result = machine.write(0x8080604, NO_PASID, 0x567);
    expect(result).toMatchObject({ status: "success", page: 0x4ecba });
  });
});

describe("against tables that Linux's code writes", () => {
  it("every mapped page goes where it was mapped, every other one nowhere", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.record({
            page: fc.oneof(fc.integer({ min: 0, max: 2 ** 36 - 1 }), fc.integer({ min: 0, max: 1100 })),
            target: fc.integer({ min: 0, max: 2 ** 36 - 1 }),
            write: fc.boolean(),
          }),
          { selector: ({ page }) => page, minLength: 1, maxLength: 12 },
        ),
        fc.constantFrom("keep-all" as const, "none" as const),
        (mappings, caches) => {
          const one = new Machine({ caches });
          one.enable();
          one.stage1();
          const table = new PageTable(one.memory, vmsav8_64, "test", "table");
          one.cd(0, { ttb0: table.root });
          for (const { page, target, write } of mappings) {
            table.map(page, target, 1, PROT_READ | (write ? PROT_WRITE : 0));
          }
          for (const { page, target, write } of [...mappings, ...mappings]) {
            expect(one.read(page).page).toBe(target);
            expect(one.write(page).status).toBe(write ? "success" : "UR");
            expect(one.translationRequest(page)).toMatchObject({ page: target, read: true, write });
            const other = page ^ 1;
            const mapped = mappings.find((mapping) => mapping.page === other);
            expect(one.read(other).page).toBe(mapped?.target ?? 0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
