import type { DeviceTableEntry } from "@iommu-lab/amd-vi";
import {
  ALL_PAGES,
  EMPTY_DTE,
  amdV1,
  invalidateDevtabEntry,
  invalidateIommuAll,
  invalidateIommuPages,
} from "@iommu-lab/amd-vi";
import { Digest, x86_64 } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { Machine, RID, RW, TRANSLATED } from "./machine.ts";

const PAGE = 0x12345;
const all = (domainId: number, pasid?: number): Uint32Array =>
  invalidateIommuPages(pasid === undefined ? { domainId } : { domainId, pasid }, 0, ALL_PAGES, true);

describe("DTE", () => {
  test("a change shows only after INVALIDATE_DEVTAB_ENTRY", () => {
    const machine = new Machine();
    machine.setDte({ ...TRANSLATED, iotlb: true });
    expect(machine.translated(PAGE).status).toBe("success");
    machine.storeDte({ ...EMPTY_DTE, valid: true });
    expect(machine.translated(PAGE).status).toBe("success");
    machine.submit(invalidateDevtabEntry(RID + 1));
    expect(machine.translated(PAGE).status).toBe("success");
    machine.submit(invalidateDevtabEntry(RID));
    expect(machine.translated(PAGE).status).toBe("CA");
  });

  test("V=0 is remembered too", () => {
    const machine = new Machine();
    machine.write(PAGE);
    machine.storeDte({ ...EMPTY_DTE, valid: true });
    expect(machine.write(PAGE).status).toBe("success");
    machine.submit(invalidateIommuAll());
    expect(machine.write(PAGE).status).toBe("CA");
  });

  test("an illegal one is not", () => {
    const machine = new Machine();
    machine.storeDte(Uint32Array.of(0xb, 0, 0, 0, 0, 0, 0, 0));
    expect(machine.write(PAGE).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
    machine.storeDte({ ...TRANSLATED });
    expect(machine.write(PAGE).status).toBe("success");
  });
});

describe("host translations", () => {
  function mapped(options = {}): {
    machine: Machine;
    entry: () => DeviceTableEntry;
    unmap: () => void;
    map: (page: number) => void;
  } {
    const machine = new Machine(options);
    const table = machine.table(amdV1, PAGE, 0x2000);
    const entry = { ...TRANSLATED, mode: 3, hostRoot: table.root, iotlb: true };
    machine.setDte(entry);
    return {
      machine,
      entry: () => entry,
      unmap: () => {
        table.unmap(PAGE, 1);
      },
      map: (page) => {
        table.map(page, 0x3000, 1, RW);
      },
    };
  }

  test("an unmapped page stays reachable until its page is invalidated", () => {
    const { machine, unmap } = mapped();
    machine.write(PAGE);
    unmap();
    expect(machine.write(PAGE).status).toBe("success");
    machine.submit(
      invalidateIommuPages({ domainId: 0x12 }, PAGE + 1, 1, false),
      invalidateIommuPages({ domainId: 0x13 }, PAGE, 1, false),
      all(0x12, 0),
      invalidateDevtabEntry(RID),
    );
    expect(machine.write(PAGE).status).toBe("success");
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE, 1, false));
    expect(machine.write(PAGE).status).toBe("CA");
  });

  test.each([
    ["a range around it", () => invalidateIommuPages({ domainId: 0x12 }, 0x12300, 256, false)],
    ["the domain", () => all(0x12)],
    ["everything", () => invalidateIommuAll()],
  ])("%s takes it too", (_name, command) => {
    const { machine, unmap } = mapped();
    machine.write(PAGE);
    unmap();
    machine.submit(command());
    expect(machine.write(PAGE).status).toBe("CA");
  });

  test("without caches nothing stays", () => {
    const { machine, unmap } = mapped({ caches: "none" });
    machine.write(PAGE);
    unmap();
    expect(machine.write(PAGE).status).toBe("CA");
    expect(machine.unit.translations).toBe(0);
  });

  test("what is not present is remembered with NpCache alone", () => {
    for (const npCache of [false, true]) {
      const { machine, map } = mapped({ npCache });
      expect(machine.write(PAGE + 1).status).toBe("CA");
      map(PAGE + 1);
      expect(machine.write(PAGE + 1).status).toBe(npCache ? "CA" : "success");
      machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE + 1, 1, true));
      expect(machine.write(PAGE + 1).status).toBe("success");
    }
  });

  test("permissions of the DTE are no part of a translation", () => {
    const { machine, entry } = mapped();
    machine.write(PAGE);
    machine.setDte({ ...entry(), write: false });
    expect([machine.write(PAGE).status, machine.read(PAGE).status]).toEqual(["CA", "success"]);
  });

  test("a page of a large page goes with any part of it", () => {
    const machine = new Machine();
    const root = machine.allocate(4096);
    machine.memory.store64(root + 8, 0x40000001, 0x60000000);
    machine.setDte({ ...TRANSLATED, mode: 2, hostRoot: root });
    machine.write(0x234);
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, 0x3ff, 1, false));
    expect(machine.unit.translations).toBe(0);
  });
});

describe("guest translations", () => {
  function guestMachine(mode = 0): { machine: Machine; gcr3Root: number } {
    const machine = new Machine();
    const one = machine.table(x86_64, PAGE, 0x2000);
    const two = machine.table(x86_64, PAGE, 0x2001);
    const host = machine.table(amdV1, 0x2000, 0x2000);
    for (let page = 0x1000; page < 0x2000; page += 1) {
      host.map(page, page, 1, RW);
    }
    host.map(0x2001, 0x2001, 1, RW);
    const gcr3Root = machine.gcr3(0, { 1: one.root, 2: two.root });
    machine.setDte({ ...TRANSLATED, guestValid: true, gcr3Root, mode, hostRoot: host.root, iotlb: true });
    machine.write(PAGE, 1);
    machine.write(PAGE, 2);
    return { machine, gcr3Root };
  }

  test("are invalidated by PASID", () => {
    const { machine } = guestMachine();
    expect(machine.unit.translations).toBe(2);
    machine.submit(all(0x12, 1));
    expect(machine.unit.translations).toBe(1);
    expect(machine.write(PAGE, 2).page).toBe(0x2001);
  });

  test("outlive their GCR3 entry", () => {
    const { machine, gcr3Root } = guestMachine();
    machine.memory.store64(gcr3Root + 8, 0, 0);
    expect(machine.write(PAGE, 1).status).toBe("success");
    machine.submit(all(0x12, 1));
    expect(machine.write(PAGE, 1).status).toBe("CA");
  });

  test("stay when host translations of the domain go, unless the host table took part", () => {
    const { machine: plain } = guestMachine();
    plain.submit(all(0x12));
    expect(plain.unit.translations).toBe(2);
    const { machine: nested } = guestMachine(3);
    nested.submit(all(0x12));
    expect(nested.unit.translations).toBe(0);
  });
});

test("the digest tells cached states apart, and equal states are equal", () => {
  const digest = (touch: boolean): string => {
    const machine = new Machine();
    machine.setDte({ ...TRANSLATED });
    if (touch) {
      machine.write(PAGE);
    }
    const into = new Digest();
    machine.unit.digest(into);
    return into.value;
  };
  expect(digest(true)).toBe(digest(true));
  expect(digest(true)).not.toBe(digest(false));
});
