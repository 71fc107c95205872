import { InputError, PROT_READ, PROT_WRITE, PageTable, x86_64 } from "@iommu-lab/core";
import {
  EMPTY_PASID_ENTRY,
  contextCacheInvalidation,
  encodeContextEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeScalableContext,
  iotlbInvalidation,
  iotlbPageInvalidation,
  pasidCacheInvalidation,
  pasidIotlbInvalidation,
  pasidIotlbPageInvalidation,
  secondStage,
} from "@iommu-lab/intel-vtd";
import { AT_TRANSLATED, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, SCALABLE_CAP, SCALABLE_ECAP, SID } from "./machine.ts";
import { GLOBAL_SRTP, GLOBAL_TE, TTM_LEGACY, TTM_SCALABLE } from "../registers.ts";

const RW = PROT_READ | PROT_WRITE;
const drain = { read: true, write: true };

interface Legacy {
  readonly machine: Machine;
  readonly table: PageTable;
  readonly context: number;
}

function legacy(caches: "keep-all" | "none" = "keep-all"): Legacy {
  const machine = new Machine({ caches });
  const table = new PageTable(machine.memory, secondStage(4), "test", "table");
  table.map(1, 0x40a00, 2, RW);
  const context = machine.page();
  machine.store(
    context,
    encodeContextEntry({
      present: true,
      faultDisable: false,
      translationType: 1,
      pageTable: table.root,
      addressWidth: 2,
      domainId: 5,
    }),
  );
  machine.startQueue();
  machine.translateWith(machine.legacyRoot(context), TTM_LEGACY);
  return { machine, table, context };
}

interface Scalable {
  readonly machine: Machine;
  readonly table: PageTable;
  readonly pasid: number;
  readonly context: number;
}

function scalable(): Scalable {
  const machine = new Machine({ cap: SCALABLE_CAP, ecap: SCALABLE_ECAP });
  const table = new PageTable(machine.memory, x86_64, "test", "table");
  table.map(1, 0x40a00, 2, RW);
  const pasid = machine.page();
  machine.store(
    pasid,
    encodePasidEntry({
      ...EMPTY_PASID_ENTRY,
      present: true,
      translationType: 1,
      firstStageTable: table.root,
      domainId: 5,
    }),
  );
  const directory = machine.page();
  machine.store(directory, encodePasidDirectoryEntry({ present: true, faultDisable: false, table: pasid }));
  const context = machine.page();
  machine.store(
    context,
    encodeScalableContext({
      present: true,
      faultDisable: false,
      deviceTlbEnable: true,
      pasidEnable: true,
      pageRequestEnable: true,
      translatedPasidEnable: false,
      directorySize: 0,
      pasidDirectory: directory,
      ridPasid: 0,
      ridPrivileged: false,
    }),
  );
  machine.startQueue();
  machine.translateWith(machine.scalableRoot(context), TTM_SCALABLE);
  return { machine, table, pasid, context };
}

function reaches(machine: Machine, page: number, type = AT_UNTRANSLATED): boolean {
  return machine.unit.translate(SID, NO_PASID, page, 0, type).status === "success";
}

describe("IOTLB", () => {
  test("a translation outlives its table entry until it is invalidated", () => {
    const { machine, table } = legacy();
    expect(reaches(machine, 1)).toBe(true);
    table.unmap(1, 2);
    expect(reaches(machine, 1)).toBe(true);
    expect(reaches(machine, 2)).toBe(false);
    machine.submit(iotlbPageInvalidation(5, 1, 0, true, drain));
    expect(reaches(machine, 1)).toBe(false);
  });

  test("a policy that is none is refused", () => {
    for (const wrong of [{ lru: 0 }, { lru: Number.NaN }, { iotlb: { random: -1 } }]) {
      expect(() => new Machine({ caches: wrong })).toThrow(InputError);
    }
  });

  test("without caches an unmapped page is gone at once", () => {
    const { machine, table } = legacy("none");
    expect(reaches(machine, 1)).toBe(true);
    table.unmap(1, 1);
    expect(reaches(machine, 1)).toBe(false);
  });

  test("an invalidation of another domain or page changes nothing", () => {
    const { machine, table } = legacy();
    reaches(machine, 1);
    table.unmap(1, 1);
    machine.submit(iotlbInvalidation(2, 6, drain), iotlbPageInvalidation(5, 2, 0, true, drain));
    expect(reaches(machine, 1)).toBe(true);
    machine.submit(iotlbInvalidation(2, 5, drain));
    expect(reaches(machine, 1)).toBe(false);
  });

  test("a fault is not cached: what becomes present is seen", () => {
    const { machine, table } = legacy();
    expect(reaches(machine, 9)).toBe(false);
    table.map(9, 0x40b00, 1, RW);
    expect(reaches(machine, 9)).toBe(true);
  });

  test("an upgrade of permissions is not seen before the page is invalidated", () => {
    const { machine, table } = legacy();
    table.unmap(1, 1);
    table.map(1, 0x40a00, 1, PROT_READ);
    expect(reaches(machine, 1)).toBe(true);
    table.unmap(1, 1);
    table.map(1, 0x40a00, 1, RW);
    expect(machine.unit.translate(SID, NO_PASID, 1, 0, AT_UNTRANSLATED | 4).fault).toMatch(/^LGN\.2/);
    machine.submit(iotlbPageInvalidation(5, 1, 0, true, drain));
    expect(machine.unit.translate(SID, NO_PASID, 1, 0, AT_UNTRANSLATED | 4).status).toBe("success");
  });

  test("first-stage translations leave by PASID, not by second-stage pages", () => {
    const { machine, table } = scalable();
    reaches(machine, 1);
    table.unmap(1, 1);
    machine.submit(pasidIotlbPageInvalidation(5, 0, 2, 0, true));
    expect(reaches(machine, 1)).toBe(true);
    machine.submit(pasidIotlbPageInvalidation(5, 1, 1, 0, true));
    expect(reaches(machine, 1)).toBe(true);
    machine.submit(pasidIotlbPageInvalidation(5, 0, 1, 0, true));
    expect(reaches(machine, 1)).toBe(false);
  });

  test("a page-selective invalidation of the domain drops first-stage translations of any page", () => {
    const { machine, table } = scalable();
    reaches(machine, 1);
    table.unmap(1, 1);
    machine.submit(iotlbPageInvalidation(5, 0x100, 0, true, drain));
    expect(reaches(machine, 1)).toBe(false);
  });
});

describe("context and PASID caches", () => {
  test("a cleared legacy context entry still serves until device and domain are named", () => {
    const { machine, context } = legacy();
    reaches(machine, 1);
    machine.memory.zero(context, 16);
    machine.submit(iotlbInvalidation(1, 0, drain));
    expect(reaches(machine, 1)).toBe(true);
    machine.submit(contextCacheInvalidation(3, 6, SID));
    expect(reaches(machine, 2)).toBe(true);
    machine.submit(contextCacheInvalidation(3, 5, SID));
    expect(reaches(machine, 1)).toBe(true);
    machine.submit(iotlbInvalidation(2, 5, drain));
    expect(reaches(machine, 1)).toBe(false);
    expect(reaches(machine, 1, AT_TRANSLATED)).toBe(false);
  });

  test("a cleared PASID entry still serves until its cache entry and the IOTLB are gone", () => {
    const { machine, pasid } = scalable();
    reaches(machine, 1);
    machine.memory.zero(pasid, 64);
    machine.submit(pasidIotlbInvalidation(5, 0));
    expect(reaches(machine, 2)).toBe(true);
    machine.submit(pasidCacheInvalidation(1, 5, 0));
    expect(reaches(machine, 2)).toBe(true);
    machine.submit(pasidIotlbInvalidation(5, 0));
    expect(reaches(machine, 1)).toBe(false);
    expect(reaches(machine, 2)).toBe(false);
    expect(reaches(machine, 1, AT_TRANSLATED)).toBe(true);
  });

  test("a cleared scalable context entry leaves with a device-selective invalidation of any domain", () => {
    const { machine, context } = scalable();
    expect(reaches(machine, 0x40a00, AT_TRANSLATED)).toBe(true);
    machine.memory.zero(context, 32);
    expect(reaches(machine, 0x40a00, AT_TRANSLATED)).toBe(true);
    machine.submit(contextCacheInvalidation(3, 0, SID));
    expect(reaches(machine, 0x40a00, AT_TRANSLATED)).toBe(false);
  });
});

describe("global events", () => {
  test("setting the root table pointer drops everything where ESRTPS is set", () => {
    const { machine, table } = legacy();
    reaches(machine, 1);
    table.unmap(1, 1);
    machine.command(GLOBAL_SRTP);
    expect(reaches(machine, 1)).toBe(false);
  });

  test("switching translation off drops everything on a scalable unit", () => {
    const { machine, table } = scalable();
    reaches(machine, 1);
    table.unmap(1, 1);
    machine.command(GLOBAL_TE, false);
    expect(machine.unit.translating).toBe(false);
    machine.command(GLOBAL_TE);
    expect(reaches(machine, 1)).toBe(false);
  });
});
