import type { AmdIommuOptions, DeviceTableEntry } from "@iommu-lab/amd-vi";
import {
  ALL_PAGES,
  EMPTY_DTE,
  amdV1,
  invalidateDevtabEntry,
  invalidateIommuAll,
  invalidateIommuPages,
} from "@iommu-lab/amd-vi";
import { Digest, InputError, x86_64 } from "@iommu-lab/core";
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

describe("upper tables", () => {
  function moved(caches: AmdIommuOptions["caches"] = "keep-all"): Machine {
    const machine = new Machine({ caches });
    const table = machine.table(amdV1, PAGE, 0x2000);
    machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root });
    machine.write(PAGE);
    // Software puts other tables in place of the ones that were used.
    const other = machine.table(amdV1, PAGE, 0x3000);
    machine.memory.load64(other.root);
    machine.memory.store64(table.root, machine.memory.lo, machine.memory.hi);
    return machine;
  }

  test("stay when pages go without PDE", () => {
    const machine = moved();
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, 0, ALL_PAGES, false));
    expect(machine.write(PAGE).page).toBe(0x2000);
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE, 1, true));
    expect(machine.write(PAGE).page).toBe(0x3000);
  });

  test("other pages of the same table are found through it", () => {
    const machine = moved({ translations: "none" });
    expect(machine.write(PAGE).page).toBe(0x2000);
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE + 1, 1, true));
    expect(machine.write(PAGE).page).toBe(0x3000);
  });

  test("are not kept where the policy says so", () => {
    const machine = moved({ directories: "none" });
    machine.submit(invalidateIommuPages({ domainId: 0x12 }, PAGE, 1, false));
    expect(machine.write(PAGE).page).toBe(0x3000);
  });
});

describe("policies", () => {
  test("lru: the one used longest ago leaves", () => {
    const machine = new Machine({ caches: { lru: 2 } });
    const table = machine.table(amdV1, 1, 0x2001);
    table.map(2, 0x2002, 2, RW);
    machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root });
    machine.write(1);
    machine.write(2);
    machine.write(1);
    machine.write(3);
    table.unmap(1, 3);
    expect([1, 2, 3].map((page) => machine.write(page).status)).toEqual(["success", "CA", "success"]);
    expect(machine.unit.translations).toBe(2);
  });

  test("random: some leave, the same ones for the same seed", () => {
    const kept = (seed: number): string[] => {
      const machine = new Machine({ caches: { random: seed } });
      const table = machine.table(amdV1, 0, 0x2000);
      table.map(1, 0x2001, 40, RW);
      machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root });
      for (let page = 0; page <= 40; page += 1) {
        machine.write(page);
      }
      table.unmap(0, 41);
      return Array.from({ length: 41 }, (_, page) => machine.write(page).status);
    };
    expect(kept(1)).toEqual(kept(1));
    expect(kept(1)).not.toEqual(kept(2));
    expect(new Set(kept(1))).toEqual(new Set(["success", "CA"]));
  });

  test("anything else is refused", () => {
    for (const wrong of [{ lru: 0 }, { lru: 1.5 }, { random: -1 }, { lru: Number.NaN }]) {
      expect(() => new Machine({ caches: wrong })).toThrow(InputError);
    }
  });

  test("a page of 2 MiB is kept whole", () => {
    const machine = new Machine();
    const root = machine.allocate(4096);
    machine.memory.store64(root + 8, 0x40000001, 0x60000000);
    machine.setDte({ ...TRANSLATED, mode: 2, hostRoot: root });
    expect(machine.write(0x234).page).toBe(0x40034);
    machine.memory.store64(root + 8, 0, 0);
    expect(machine.write(0x3ff).page).toBe(0x401ff);
    expect(machine.write(0x400).status).toBe("CA");
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
    expect(machine.write(PAGE + 1, 1).status).toBe("CA");
    machine.submit(all(0x12, 1));
    expect(machine.write(PAGE, 1).status).toBe("CA");
  });

  test("a GCR3 entry that was used serves other pages too, until its PASID is invalidated", () => {
    const { machine, gcr3Root } = guestMachine();
    const other = machine.table(x86_64, PAGE + 1, 0x2002);
    machine.memory.store64(gcr3Root + 8, other.root + 1, 0);
    expect(machine.write(PAGE + 1, 1).status).toBe("CA");
    machine.submit(all(0x12, 2));
    expect(machine.write(PAGE + 1, 1).status).toBe("CA");
    machine.submit(all(0x12, 1));
    expect(machine.write(PAGE + 1, 1).page).toBe(0x2002);
  });

  test("stay when host translations of the domain go, unless the host table took part", () => {
    const { machine: plain } = guestMachine();
    plain.submit(all(0x12));
    expect(plain.unit.translations).toBe(2);
    const { machine: nested } = guestMachine(3);
    nested.submit(all(0x12));
    expect(nested.unit.translations).toBe(0);
  });

  test("guest physical addresses of tables are translations of the host", () => {
    const { machine } = guestMachine(3);
    expect(machine.unit.translations).toBeGreaterThan(4);
    machine.submit(all(0x12, 1), all(0x12, 2));
    expect(machine.write(PAGE, 1).page).toBe(0x2000);
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
