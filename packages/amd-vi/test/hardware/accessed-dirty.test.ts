import { amdV1, encodeFeatures, invalidateIommuPages } from "@iommu-lab/amd-vi";
import { PROT_READ, PageTable, x86_64 } from "@iommu-lab/core";
import { AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_NO_WRITE } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RID, RW, TRANSLATED } from "./machine.ts";

const PAGE = 0x12345;
const A = 0x20;
const D = 0x40;
const efr = encodeFeatures({ pasidBits: 20, features: { hostAccessed: true, hostDirty: true } });

/** Bits A and D of the entries on the way to a page, from the top. */
function marks(machine: Machine, table: PageTable, levels: number): string[] {
  let at = table.root;
  const found: string[] = [];
  for (let level = levels; level >= 1; level -= 1) {
    machine.memory.load64(at + (Math.floor(PAGE / 2 ** (9 * (level - 1))) % 512) * 8);
    const { lo, hi } = machine.memory;
    found.push(`${(lo & A) === 0 ? "-" : "A"}${(lo & D) === 0 ? "-" : "D"}`);
    at = table.format.address(level, lo, hi);
  }
  return found;
}

function hostMachine(accessDirty: number, prot: number = RW): { machine: Machine; table: PageTable } {
  const machine = new Machine({ efr });
  const table = machine.table(amdV1, PAGE, 0x2000, prot);
  machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root, accessDirty, iotlb: true });
  return { machine, table };
}

describe("host tables", () => {
  test.each([
    [0, ["--", "--", "--"], ["--", "--", "--"]],
    [1, ["A-", "A-", "A-"], ["A-", "A-", "A-"]],
    [3, ["A-", "A-", "A-"], ["A-", "A-", "AD"]],
  ])("HAD %i: after a read, after a write", (accessDirty, afterRead, afterWrite) => {
    const { machine, table } = hostMachine(accessDirty);
    machine.read(PAGE);
    expect(marks(machine, table, 3)).toEqual(afterRead);
    machine.write(PAGE);
    expect(marks(machine, table, 3)).toEqual(afterWrite);
  });

  test("a Translation Request that may write makes dirty; with NW it gets no W before the page is dirty", () => {
    const { machine, table } = hostMachine(3);
    const ask = (flags: number): boolean =>
      machine.unit.translate(RID, NO_PASID, PAGE, 0, AT_TRANSLATION_REQUEST | flags).write;
    expect(ask(REQUEST_NO_WRITE)).toBe(false);
    expect(marks(machine, table, 3).at(-1)).toBe("A-");
    expect(ask(0)).toBe(true);
    expect(marks(machine, table, 3).at(-1)).toBe("AD");
    expect(ask(REQUEST_NO_WRITE)).toBe(true);
  });

  test("D that software clears is set again only after the translation was invalidated", () => {
    const { machine, table } = hostMachine(3);
    machine.write(PAGE);
    const leaf = (): number => {
      let at = table.root;
      for (let level = 3; level > 1; level -= 1) {
        machine.memory.load64(at + (Math.floor(PAGE / 2 ** (9 * (level - 1))) % 512) * 8);
        at = table.format.address(level, machine.memory.lo, machine.memory.hi);
      }
      return at + (PAGE % 512) * 8;
    };
    const slot = leaf();
    machine.memory.load64(slot);
    machine.memory.store64(slot, machine.memory.lo & ~D, machine.memory.hi);
    machine.write(PAGE);
    expect(marks(machine, table, 3).at(-1)).toBe("A-");
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE, 1, false));
    machine.write(PAGE);
    expect(marks(machine, table, 3).at(-1)).toBe("AD");
  });

  test("a refused write marks nothing", () => {
    const { machine, table } = hostMachine(3, PROT_READ);
    expect(machine.write(PAGE).status).toBe("CA");
    expect(marks(machine, table, 3).at(-1)).toBe("--");
  });

  test.each([
    ["HAD 2 is reserved", 2, efr],
    ["HAD without HASup", 1, encodeFeatures({})],
    ["HAD 3 without HDSup", 3, encodeFeatures({ features: { hostAccessed: true } })],
  ])("%s", (_name, accessDirty, features) => {
    const machine = new Machine({ efr: features });
    machine.setDte({ ...TRANSLATED, mode: 3, accessDirty });
    expect(machine.write(PAGE).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
  });
});

describe("guest tables", () => {
  function clean(machine: Machine, table: PageTable): void {
    let at = table.root;
    for (let level = 4; level >= 1; level -= 1) {
      const slot = at + (Math.floor(PAGE / 2 ** (9 * (level - 1))) % 512) * 8;
      machine.memory.load64(slot);
      const { lo, hi } = machine.memory;
      at = table.format.address(level, lo, hi);
      machine.memory.store64(slot, lo & ~(A | D), hi);
    }
  }

  test("get A on the way and D for a write", () => {
    const machine = new Machine({ efr });
    const table = machine.table(x86_64, PAGE, 0x2000);
    clean(machine, table);
    machine.setDte({ ...TRANSLATED, guestValid: true, gcr3Root: machine.gcr3(0, { 1: table.root }) });
    machine.read(PAGE, 1);
    expect(marks(machine, table, 4)).toEqual(["A-", "A-", "A-", "A-"]);
    machine.write(PAGE, 1);
    expect(marks(machine, table, 4)).toEqual(["A-", "A-", "A-", "AD"]);
  });

  test("a host table without write permission for them refuses the access", () => {
    const machine = new Machine({ efr });
    const table = machine.table(x86_64, PAGE, 0x500);
    const host = new PageTable(machine.memory, amdV1, "test", "host");
    for (let page = 0x1000; page < 0x3000; page += 1) {
      host.map(page, page, 1, PROT_READ);
    }
    host.map(0x500, 0x2222, 1, RW);
    const entry = { ...TRANSLATED, guestValid: true, mode: 3, hostRoot: host.root };
    machine.setDte({ ...entry, gcr3Root: machine.gcr3(0, { 1: table.root }) });
    expect(machine.write(PAGE, 1)).toMatchObject({ status: "success", page: 0x2222 });
    clean(machine, table);
    machine.submit(invalidateIommuPages({ domainId: 0x12, pasid: 1 }, 0, 2 ** 52, true));
    expect(machine.write(PAGE, 1)).toMatchObject({ status: "CA", fault: "IO_PAGE_FAULT" });
    expect(marks(machine, table, 4)).toEqual(["--", "--", "--", "--"]);
  });
});
