import type { DeviceTableEntry, HostLeaf } from "@iommu-lab/amd-vi";
import { amdV1, encodeHostLeaf, encodeHostTable } from "@iommu-lab/amd-vi";
import type { Word64 } from "@iommu-lab/core";
import { PROT_READ, PROT_WRITE, PageTable, x86_64 } from "@iommu-lab/core";
import { REQUEST_EXECUTE, REQUEST_PRIVILEGED } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine, RID, RW, TRANSLATED } from "./machine.ts";

const BOTH = { read: true, write: true };

function store(machine: Machine, address: number, fill: (out: Word64) => void): void {
  const out = { lo: 0, hi: 0 };
  fill(out);
  machine.memory.store64(address, out.lo, out.hi);
}

function leafAt(machine: Machine, table: number, index: number, level: number, leaf: HostLeaf): void {
  store(machine, table + index * 8, (out) => encodeHostLeaf(level, leaf, out));
}

function pointerAt(machine: Machine, table: number, index: number, next: number, address: number): void {
  store(machine, table + index * 8, (out) => encodeHostTable(next, address, out));
}

/** A machine whose device walks from `root`. */
function hostMachine(mode: number): { machine: Machine; root: number } {
  const machine = new Machine();
  const root = machine.allocate(4096);
  machine.setDte({ ...TRANSLATED, mode, hostRoot: root, iotlb: true });
  return { machine, root };
}

describe("host walk", () => {
  test("agrees with the driver's reading of the same bytes", () => {
    const mapping = fc.record({ page: fc.nat(2 ** 27 - 1), target: fc.nat(2 ** 30), prot: fc.constantFrom(1, 2, 3) });
    const mappings = fc.uniqueArray(mapping, { selector: ({ page }) => page, minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(mappings, fc.nat(2 ** 27 - 1), (all, other) => {
        const machine = new Machine();
        const table = new PageTable(machine.memory, amdV1, "test", "table");
        for (const { page, target, prot } of all) {
          table.map(page, target, 1, prot);
        }
        machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root, iotlb: true });
        for (const page of [...all.map((one) => one.page), other]) {
          const known = table.lookup(page);
          const answer = machine.ask(page);
          expect(answer.read).toBe(((known?.prot ?? 0) & PROT_READ) !== 0);
          expect(answer.write).toBe(((known?.prot ?? 0) & PROT_WRITE) !== 0);
          expect(known === undefined || answer.page === known.target).toBe(true);
          expect(machine.write(page).status).toBe(answer.write ? "success" : "CA");
        }
      }),
      { numRuns: 30 },
    );
  });

  test("a page of 2 MiB, and one of 64 KiB", () => {
    const { machine, root } = hostMachine(3);
    const low = machine.allocate(4096);
    const middle = machine.allocate(4096);
    pointerAt(machine, root, 0, 2, middle);
    leafAt(machine, middle, 1, 2, { address: 0x40000000, ...BOTH });
    pointerAt(machine, middle, 0, 1, low);
    for (let index = 0x10; index < 0x20; index += 1) {
      leafAt(machine, low, index, 1, { address: 0x12340000, sizeLog2: 16, ...BOTH });
    }
    expect(machine.ask(0x234)).toMatchObject({ page: 0x40034, sizeLog2: 21 });
    expect(machine.ask(0x15)).toMatchObject({ page: 0x12345, sizeLog2: 16 });
  });

  test("an entry may skip levels if the address has zeros there", () => {
    const { machine, root } = hostMachine(3);
    const low = machine.allocate(4096);
    pointerAt(machine, root, 0, 1, low);
    leafAt(machine, low, 5, 1, { address: 0x12345000, ...BOTH });
    expect(machine.write(5)).toMatchObject({ status: "success", page: 0x12345 });
    expect(machine.write(0x205)).toMatchObject({ status: "CA", fault: "IO_PAGE_FAULT" });
    expect(machine.log).toEqual(["00003A00 20300012 00205000 00000000"]);
  });

  test("permissions of all levels count, and the DTE's", () => {
    const { machine, root } = hostMachine(2);
    const low = machine.allocate(4096);
    leafAt(machine, low, 5, 1, { address: 0x12345000, ...BOTH });
    pointerAt(machine, root, 0, 1, low);
    machine.memory.load64(root);
    machine.memory.store64(root, machine.memory.lo, machine.memory.hi & ~0x40000000);
    expect(machine.read(5).status).toBe("success");
    expect(machine.ask(5)).toMatchObject({ read: true, write: false });
    expect(machine.write(5).status).toBe("CA");
    machine.setDte({ ...TRANSLATED, mode: 2, hostRoot: root, read: false });
    expect(machine.read(5).status).toBe("CA");
    expect(machine.log).toEqual(["00003A00 20700012 00005000 00000000", "00003A00 20500012 00005000 00000000"]);
  });

  test("reserved bits, wrong levels, addresses above the top level", () => {
    const { machine, root } = hostMachine(2);
    const flags = (page: number): string => {
      expect(machine.write(page).status).toBe("CA");
      return machine.log.at(-1)?.slice(9, 17) ?? "";
    };
    machine.memory.store64(root, 0x1000001, 0x60100000);
    expect(flags(0)).toBe("20B00012");
    pointerAt(machine, root, 0, 1, 0x1000000);
    machine.memory.store64(root, (0x1000000 | (1 << 9) | 1) >>> 0, 0x70000000);
    expect(flags(0)).toBe("20B00012");
    pointerAt(machine, root, 0, 2, 0x1000000);
    expect(flags(0)).toBe("20300012");
    leafAt(machine, root, 0, 2, { address: 0x40000000, sizeLog2: 31, ...BOTH });
    expect(flags(0)).toBe("20300012");
    expect(flags(2 ** 18)).toBe("20200012");
  });

  test("six levels reach the whole address space", () => {
    const { machine, root } = hostMachine(6);
    const page = 2 ** 52 - 1;
    let table = root;
    for (let level = 6; level > 1; level -= 1) {
      const next = machine.allocate(4096);
      pointerAt(machine, table, Math.floor(page / 2 ** (9 * (level - 1))) % 512, level - 1, next);
      table = next;
    }
    leafAt(machine, table, 511, 1, { address: 0x12345000, ...BOTH });
    expect(machine.write(page)).toMatchObject({ status: "success", page: 0x12345 });
  });
});

describe("guest walk", () => {
  const guest: DeviceTableEntry = { ...TRANSLATED, guestValid: true, iotlb: true, domainId: 0x13 };

  test.each([0, 1, 2])("GLX %i: a PASID has its own table, requests without PASID are identity", (glx) => {
    const machine = new Machine();
    const pasid = [0x1ff, 0x12345, 0xfffff][glx] ?? 0;
    const table = machine.table(x86_64, 0x7f000, 0x2222);
    machine.setDte({ ...guest, glx, gcr3Root: machine.gcr3(glx, { [pasid]: table.root }) });
    expect(machine.write(0x7f000, pasid)).toMatchObject({ status: "success", page: 0x2222 });
    expect(machine.ask(0x7f000, pasid)).toMatchObject({ status: "success", page: 0x2222, read: true, write: true });
    expect(machine.write(0x7f000, pasid - 1)).toMatchObject({ status: "CA", fault: "IO_PAGE_FAULT" });
    expect(machine.write(0x7f000)).toMatchObject({ status: "success", page: 0x7f000 });
  });

  test("GIoV: requests without PASID use PASID 0", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0x7f000, 0x2222);
    machine.setDte({ ...guest, guestIo: true, gcr3Root: machine.gcr3(0, { 0: table.root }) });
    expect(machine.write(0x7f000)).toMatchObject({ status: "success", page: 0x2222 });
    expect(machine.write(0x7f001).status).toBe("CA");
    expect(machine.log).toEqual(["00003A00 20250000 7F001000 00000000"]);
  });

  test("events of a PASID", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0x7f000, 0x2222, PROT_READ);
    machine.setDte({ ...guest, glx: 1, gcr3Root: machine.gcr3(1, { 0x12345: table.root }) });
    machine.write(0x7f0000001, 0x12345);
    machine.write(0x7f000, 0x12345);
    expect(machine.log).toEqual(["00013A00 20252345 00001000 00007F00", "00013A00 20752345 7F000000 00000000"]);
  });

  test("a PASID beyond PASMax or the table", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0x7f000, 0x2222);
    machine.setDte({ ...guest, gcr3Root: machine.gcr3(0, { 1: table.root }) });
    expect(machine.write(0x7f000, 0x201).status).toBe("CA");
    expect(machine.write(0x7f000, 1).status).toBe("success");
  });

  test("user, privileged, execute", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0x7f000, 0x2222);
    const system = machine.table(x86_64, 0x7f000, 0x3333);
    machine.memory.load64(system.root);
    machine.memory.store64(system.root, machine.memory.lo & ~4, machine.memory.hi);
    machine.memory.load64(table.root);
    machine.memory.store64(table.root, machine.memory.lo, 0x80000000);
    machine.setDte({ ...guest, gcr3Root: machine.gcr3(0, { 1: table.root, 2: system.root }) });
    const send = (pasid: number, flags: number): string => machine.unit.translate(RID, pasid, 0x7f000, 0, flags).status;
    expect([send(2, 0), send(2, REQUEST_PRIVILEGED)]).toEqual(["CA", "success"]);
    expect([send(1, REQUEST_EXECUTE), send(1, 0), send(1, REQUEST_EXECUTE)]).toEqual(["CA", "success", "CA"]);
    expect(machine.log.map((event) => event.slice(9, 17))).toEqual(["20550002", "20570001", "20570001"]);
  });

  test("2 MiB and 1 GiB pages", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0, 0x2222);
    machine.memory.load64(table.root);
    const level3 = machine.memory.lo & 0xfffff000;
    machine.memory.store64(level3 + 8, 0x400000e7, 0);
    machine.memory.load64(level3);
    const level2 = machine.memory.lo & 0xfffff000;
    machine.memory.store64(level2 + 8, 0x002000e7, 0);
    machine.memory.store64(level2 + 16, 0x002040e7, 0);
    machine.setDte({ ...guest, gcr3Root: machine.gcr3(0, { 1: table.root }) });
    expect(machine.ask(0x40123, 1)).toMatchObject({ page: 0x40123, sizeLog2: 30 });
    expect(machine.ask(0x234, 1)).toMatchObject({ page: 0x234, sizeLog2: 21 });
    expect(machine.write(0x434, 1).status).toBe("CA");
    expect(machine.log.at(-1)?.slice(9, 17)).toBe("20B50001");
  });

  test("addresses are sign-extended, for PASID 0 zero-extended", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0, 0x2222);
    machine.memory.load64(table.root);
    machine.memory.store64(table.root + 256 * 8, machine.memory.lo, machine.memory.hi);
    machine.setDte({ ...guest, guestIo: true, gcr3Root: machine.gcr3(0, { 0: table.root, 1: table.root }) });
    const half = 2 ** 35;
    const negative = 2 ** 52 - 2 ** 36 + half;
    expect(machine.write(half).status).toBe("success");
    expect(machine.write(half, 1).status).toBe("CA");
    expect(machine.write(negative, 1).status).toBe("success");
    expect(machine.write(negative).status).toBe("CA");
  });

  test("with a host table every guest physical address is translated", () => {
    const machine = new Machine();
    const table = machine.table(x86_64, 0x7f000, 0x500);
    const gcr3Root = machine.gcr3(1, { 0x3ff: table.root });
    const host = new PageTable(machine.memory, amdV1, "test", "host");
    const identity = { ...guest, glx: 1, gcr3Root, mode: 3, hostRoot: host.root };
    machine.setDte(identity);
    expect(machine.write(0x7f000, 0x3ff).status).toBe("CA");
    for (let page = 0x1000; page < 0x1000 + 0x2000; page += 1) {
      host.map(page, page, 1, RW);
    }
    expect(machine.write(0x7f000, 0x3ff).status).toBe("CA");
    host.map(0x500, 0x2222, 1, PROT_READ);
    expect(machine.read(0x7f000, 0x3ff)).toMatchObject({ status: "success", page: 0x2222 });
    expect(machine.ask(0x7f000, 0x3ff)).toMatchObject({ read: true, write: false });
    expect(machine.write(0x500)).toMatchObject({ status: "CA" });
    expect(machine.read(0x500)).toMatchObject({ status: "success", page: 0x2222 });
  });

  test("GV without GTSup, or with GTEn clear, is illegal", () => {
    const machine = new Machine();
    machine.clear("GTEn");
    machine.setDte(guest);
    expect(machine.write(0, 1).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
  });
});
