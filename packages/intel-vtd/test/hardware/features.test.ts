import { PROT_READ, PROT_WRITE, PageTable, fromQwords, x86_64 } from "@iommu-lab/core";
import type { PasidEntry, ScalableContextEntry, VtdUnitOptions } from "@iommu-lab/intel-vtd";
import {
  EMPTY_PASID_ENTRY,
  contextCacheInvalidation,
  encodeContextEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeRootTableAddress,
  encodeScalableContext,
  hostPermissionInvalidation,
  iotlbInvalidation,
  iotlbPageInvalidation,
  pasidCacheInvalidation,
  secondStage,
} from "@iommu-lab/intel-vtd";
import {
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, SCALABLE_CAP, SCALABLE_ECAP, SID } from "./machine.ts";
import { GLOBAL_SRTP, GLOBAL_TE, RTADDR, TTM_LEGACY, TTM_SCALABLE } from "../registers.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGE = 0x1234;
const TARGET = 0x40a00;
const drain = { read: true, write: true };

/** ECAP with more features: NEST 26, SRS 31; EAFS 34, SSADS 45, RPS 49, RPRIVS 53, HPTS 55, SSIRWS 57. */
const ecap = (...bits: number[]): readonly [number, number] => {
  let [lo, hi] = SCALABLE_ECAP;
  for (const bit of bits) {
    lo |= bit < 32 ? 1 << bit : 0;
    hi |= bit >= 32 ? 1 << (bit - 32) : 0;
  }
  return [lo >>> 0, hi >>> 0];
};

interface Setup {
  readonly unit?: Partial<VtdUnitOptions>;
  readonly pasid?: Partial<PasidEntry>;
  readonly context?: Partial<ScalableContextEntry>;
  readonly stage?: "first" | "second" | "nested";
}

interface Built {
  readonly machine: Machine;
  readonly first: PageTable;
  readonly second: PageTable;
  readonly pasids: number;
}

function setUp({ unit, pasid, context, stage = "second" }: Setup): Built {
  const machine = new Machine({ cap: SCALABLE_CAP, ecap: SCALABLE_ECAP, ...unit });
  const first = new PageTable(machine.memory, x86_64, "test", "first");
  const second = new PageTable(machine.memory, secondStage(4), "test", "second");
  first.map(PAGE, TARGET, 1, RW);
  second.map(PAGE, TARGET, 1, RW);
  second.map(0x40000, 0x40000, 0x1000, RW);
  const pasids = machine.page();
  const entry: PasidEntry = {
    ...EMPTY_PASID_ENTRY,
    present: true,
    addressWidth: 2,
    translationType: { first: 1, second: 2, nested: 3 }[stage],
    secondStageTable: stage === "first" ? 0 : second.root,
    firstStageTable: stage === "second" ? 0 : first.root,
    domainId: 5,
    pageWalkSnoop: true,
    ...pasid,
  };
  machine.store(pasids, encodePasidEntry(entry));
  const directory = machine.page();
  machine.store(directory, encodePasidDirectoryEntry({ present: true, faultDisable: false, table: pasids }));
  const contexts = machine.page();
  machine.store(
    contexts,
    encodeScalableContext({
      present: true,
      faultDisable: false,
      deviceTlbEnable: true,
      pasidEnable: true,
      pageRequestEnable: false,
      translatedPasidEnable: false,
      directorySize: 0,
      pasidDirectory: directory,
      ridPasid: 0,
      ridPrivileged: false,
      ...context,
    }),
  );
  machine.startQueue();
  machine.translateWith(machine.scalableRoot(contexts), TTM_SCALABLE);
  return { machine, first, second, pasids };
}

function ask(
  { machine }: Pick<Built, "machine">,
  flags = AT_UNTRANSLATED,
  page = PAGE,
  pasid: number = NO_PASID,
): string {
  const result = machine.unit.translate(SID, pasid, page, 0, flags);
  const rights = `${result.read ? "R" : "-"}${result.write ? "W" : "-"}`;
  return result.status === "success"
    ? `${rights} 0x${result.page.toString(16)}`
    : `${result.status} ${result.fault.split(" ")[0]}`;
}

/** Address of the entry of a level for a page. */
function slot({ machine }: Pick<Built, "machine">, table: PageTable, page: number, level: number): number {
  let at = table.root;
  for (let above = 4; above > level; above -= 1) {
    machine.memory.load64(at + (Math.floor(page / 2 ** (9 * (above - 1))) % 512) * 8);
    at = (machine.memory.hi & 0xfffff) * 2 ** 32 + ((machine.memory.lo & 0xfffff000) >>> 0);
  }
  return at + (Math.floor(page / 2 ** (9 * (level - 1))) % 512) * 8;
}

describe("accessed and dirty bits", () => {
  test("of the second stage where SSADE is set: A in each entry, D in the leaf of a write", () => {
    const built = setUp({ unit: { ecap: ecap(45) }, pasid: { secondStageAccessDirty: true } });
    const { memory } = built.machine;
    const bits = (level: number): number => memory.load32(slot(built, built.second, PAGE, level)) & 0x300;
    expect(ask(built)).toBe("RW 0x40a00");
    expect([4, 3, 2, 1].map((level) => bits(level))).toEqual([0x100, 0x100, 0x100, 0x100]);
    expect(ask(built, AT_UNTRANSLATED | REQUEST_WRITE)).toBe("RW 0x40a00");
    expect([4, 3, 2, 1].map((level) => bits(level))).toEqual([0x100, 0x100, 0x100, 0x300]);
  });

  test("must be reachable by a snooped walk", () => {
    const unit = { ecap: ecap(45) };
    const pasid = { secondStageAccessDirty: true, pageWalkSnoop: false };
    expect(ask(setUp({ unit, pasid }))).toBe("UR SSS.5");
    expect(ask(setUp({ unit, pasid }), AT_TRANSLATION_REQUEST)).toBe("CA SSS.5");
    const first = setUp({ stage: "first", pasid: { pageWalkSnoop: false } });
    expect(ask(first)).toBe("RW 0x40a00");
    const leaf = slot(first, first.first, PAGE, 1);
    const plain = setUp({ stage: "first", pasid: { pageWalkSnoop: false } });
    plain.machine.memory.store32(leaf, plain.machine.memory.load32(leaf) & ~0x20);
    expect(ask(plain)).toBe("UR SFS.9");
    expect(ask(plain, AT_TRANSLATION_REQUEST)).toBe("-- 0x0");
  });

  test("EAFE sets the extended bit too", () => {
    const built = setUp({ stage: "first", unit: { ecap: ecap(34) }, pasid: { extendedAccess: true } });
    expect(ask(built)).toBe("RW 0x40a00");
    expect(built.machine.memory.load32(slot(built, built.first, PAGE, 1)) & 0x420).toBe(0x420);
  });

  test("of a guest's table need its write permission in the second stage", () => {
    const built = setUp({ stage: "nested", unit: { ecap: ecap(26) } });
    const { memory } = built.machine;
    expect(ask(setUp({ stage: "nested", unit: { ecap: ecap(26) } }))).toBe("RW 0x40a00");
    const leaf = slot(built, built.first, PAGE, 1);
    memory.store32(leaf, memory.load32(leaf) & ~0x60);
    const mapped = slot(built, built.second, Math.floor(leaf / 4096), 1);
    memory.store32(mapped, memory.load32(mapped) & ~2);
    expect(ask(built)).toBe("UR SFS.8");
    memory.store32(mapped, memory.load32(mapped) & ~1);
    expect(ask(built)).toBe("UR SSS.2");
    memory.store32(mapped, memory.load32(mapped) | 2);
    expect(ask(built)).toBe("UR SFS.7");
  });
});

describe("privilege", () => {
  test("RID_PRIV makes requests without PASID privileged, if the entry serves such", () => {
    const context = { ridPrivileged: true };
    const unit = { ecap: ecap(31, 53) };
    expect(ask(setUp({ stage: "first", unit, context }))).toBe("UR SPT.6");
    const served = setUp({ stage: "first", unit, context, pasid: { supervisorEnable: true } });
    const leaf = slot(served, served.first, PAGE, 1);
    served.machine.memory.store32(leaf, served.machine.memory.load32(leaf) & ~6);
    expect(ask(served, AT_UNTRANSLATED | REQUEST_WRITE)).toBe("RW 0x40a00");
    const result = served.machine.unit.translate(SID, NO_PASID, PAGE, 0, AT_TRANSLATION_REQUEST);
    expect([result.write, result.privileged]).toEqual([true, false]);
    const protectedPage = setUp({
      stage: "first",
      unit,
      context,
      pasid: { supervisorEnable: true, writeProtect: true },
    });
    protectedPage.machine.memory.store32(leaf, protectedPage.machine.memory.load32(leaf) & ~6);
    expect(ask(protectedPage, AT_UNTRANSLATED | REQUEST_WRITE)).toBe("UR SGN.6");
  });

  test("execute requests are refused by the PASID entry, from version 8 on by the unit", () => {
    const execute = AT_UNTRANSLATED | REQUEST_EXECUTE;
    const context = { ridPasid: 1 };
    const unit = { ecap: ecap(49) };
    expect(ask(setUp({ unit, context }), execute, PAGE, 0)).toBe("UR SPT.5");
    expect(ask(setUp({ unit: { ...unit, version: 0x80 }, context }), execute, PAGE, 0)).toBe("UR RTA.5");
  });
});

describe("paging-structure caches", () => {
  /** Points the level-2 entry to another table that maps the page elsewhere. */
  function moveTable(built: Built): void {
    const { machine } = built;
    const other = machine.page();
    machine.store(other + (PAGE % 512) * 8, fromQwords([0x40b00003n]));
    machine.store(other + ((PAGE + 1) % 512) * 8, fromQwords([0x40b01003n]));
    machine.store(slot(built, built.second, PAGE, 2), fromQwords([BigInt(other + 3)]));
  }

  test("a freed table is still walked until an invalidation without IH", () => {
    const built = setUp({});
    expect(ask(built)).toBe("RW 0x40a00");
    moveTable(built);
    expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("UR SSS.2");
    built.machine.submit(iotlbPageInvalidation(5, PAGE, 0, true, drain));
    expect(ask(built)).toBe("RW 0x40a00");
    built.machine.submit(iotlbPageInvalidation(5, PAGE, 0, false, drain));
    expect(ask(built)).toBe("RW 0x40b00");
  });

  test("without them the new table is seen", () => {
    const built = setUp({ unit: { caches: { paging: "none" } } });
    expect(ask(built)).toBe("RW 0x40a00");
    moveTable(built);
    expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("RW 0x40b01");
  });
});

describe("caching mode", () => {
  const unit = { cap: [SCALABLE_CAP[0] | 0x80, SCALABLE_CAP[1]] } as const;

  test("what is not mapped may be remembered: a new mapping needs an invalidation", () => {
    const built = setUp({ unit });
    expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("UR SSS.2");
    built.second.map(PAGE + 1, TARGET + 1, 1, RW);
    expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("UR SSS.2");
    built.machine.submit(iotlbPageInvalidation(5, PAGE + 1, 0, false, drain));
    expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("RW 0x40a01");
  });

  test("so may a PASID entry that is not present; first-stage faults never", () => {
    const built = setUp({ unit, pasid: { present: false } });
    expect(ask(built)).toBe("UR SPT.2");
    built.machine.memory.store32(built.pasids, built.machine.memory.load32(built.pasids) | 1);
    expect(ask(built)).toBe("UR SPT.2");
    built.machine.submit(pasidCacheInvalidation(1, 5, 0));
    expect(ask(built)).toBe("RW 0x40a00");
    const first = setUp({ unit, stage: "first" });
    expect(ask(first, AT_UNTRANSLATED, PAGE + 1)).toBe("UR SFS.2");
    first.first.map(PAGE + 1, TARGET + 1, 1, RW);
    expect(ask(first, AT_UNTRANSLATED, PAGE + 1)).toBe("RW 0x40a01");
  });

  test("a legacy context entry that is not present has domain ID 0", () => {
    const machine = new Machine({ cap: [0x222f0686, 0x80d2008c] });
    const context = machine.page();
    machine.startQueue();
    machine.translateWith(machine.legacyRoot(context), TTM_LEGACY);
    expect(ask({ machine })).toBe("UR LCT.2");
    const entry = {
      present: true,
      faultDisable: false,
      translationType: 2,
      pageTable: 0,
      addressWidth: 2,
      domainId: 5,
    };
    machine.store(context, encodeContextEntry(entry));
    machine.submit(contextCacheInvalidation(3, 5, SID));
    expect(ask({ machine })).toBe("UR LCT.2");
    machine.submit(contextCacheInvalidation(3, 0, SID));
    expect(ask({ machine })).toBe("RW 0x1234");
  });
});

describe("host permission tables", () => {
  const unit = { ecap: ecap(55) };

  function withPermissions(bits: bigint): Built {
    const built = setUp({ unit, context: { permissionTableEnable: true } });
    const { machine, pasids } = built;
    const [top, third, second, leaf] = [machine.page(), machine.page(), machine.page(), machine.page()];
    const at = (table: number, index: number): number => table + index * 16;
    machine.store(at(top, 0), fromQwords([0n, BigInt(third + 1)]));
    machine.store(at(third, 0), fromQwords([0n, BigInt(second + 1)]));
    machine.store(at(second, 0x20), fromQwords([0n, BigInt(leaf + 1)]));
    // Page 0x40a00: address bits 24:17 = 0x50, bits 16:12 = 0.
    machine.store(at(leaf, 0x50), fromQwords([bits, 0n]));
    machine.store(pasids + 32, fromQwords([BigInt(top), 7n]));
    return built;
  }

  test("Translated requests need a permission of their page", () => {
    const built = withPermissions(1n);
    expect(ask(built, AT_TRANSLATED, TARGET)).toBe("RW 0x40a00");
    expect(ask(built, AT_TRANSLATED | REQUEST_WRITE, TARGET)).toBe("UR HPT.5");
    expect(ask(built, AT_TRANSLATED, TARGET + 1)).toBe("UR HPT.6");
    expect(ask(built, AT_TRANSLATED, 2 ** 33)).toBe("UR HPT.6");
    expect(ask(built)).toBe("RW 0x40a00");
  });

  test("a permission is remembered until its domain is invalidated", () => {
    const built = withPermissions(3n);
    expect(ask(built, AT_TRANSLATED | REQUEST_WRITE, TARGET)).toBe("RW 0x40a00");
    built.machine.memory.zero(built.pasids + 32, 16);
    built.machine.submit(pasidCacheInvalidation(3, 0, 0));
    expect(ask(built, AT_TRANSLATED | REQUEST_WRITE, TARGET)).toBe("RW 0x40a00");
    built.machine.submit(hostPermissionInvalidation(2, 6));
    expect(ask(built, AT_TRANSLATED | REQUEST_WRITE, TARGET)).toBe("RW 0x40a00");
    built.machine.submit(hostPermissionInvalidation(2, 7));
    expect(ask(built, AT_TRANSLATED | REQUEST_WRITE, TARGET)).toBe("CA HPT.3");
  });

  test("with them the PASID entry counts for Translated requests, without them it does not", () => {
    const cleared = setUp({ unit, context: { permissionTableEnable: true }, pasid: { present: false } });
    expect(ask(cleared, AT_TRANSLATED, TARGET)).toBe("UR SPT.2");
    expect(ask(setUp({ unit, pasid: { present: false } }), AT_TRANSLATED, TARGET)).toBe("RW 0x40a00");
  });
});

describe("registers", () => {
  test("SSIRWE moves the rights of second-stage entries to bits 61 and 62; legacy mode forbids it", () => {
    const machine = new Machine({ cap: SCALABLE_CAP, ecap: ecap(57) });
    const built = setUp({ unit: { ecap: ecap(57) } });
    const [lo] = [0];
    const rootLo = built.machine.unit.read32(RTADDR);
    built.machine.unit.write64(RTADDR, (rootLo | 0x80) >>> 0, lo);
    built.machine.command(GLOBAL_SRTP);
    expect(ask(built)).toBe("UR SSS.2");
    for (const level of [4, 3, 2, 1]) {
      const at = slot(built, built.second, PAGE, level);
      built.machine.memory.load64(at);
      const right = level === 1 ? 0x20000000 : 0x60000000;
      built.machine.memory.store64(at, (built.machine.memory.lo & ~3) >>> 0, right);
    }
    expect(ask(built)).toBe("R- 0x40a00");
    expect(ask(built, AT_UNTRANSLATED | REQUEST_WRITE)).toBe("UR SGN.6");
    const [legacyLo, legacyHi] = encodeRootTableAddress({
      table: machine.page(),
      mode: TTM_LEGACY,
      requestRights: true,
    });
    machine.unit.write64(RTADDR, legacyLo, legacyHi);
    machine.command(GLOBAL_SRTP);
    machine.command(GLOBAL_TE);
    expect(ask({ machine })).toBe("UR RTA.1");
  });

  test("protected memory is out of reach, and nothing is recorded", () => {
    const unit = { cap: [SCALABLE_CAP[0] | 0x60, SCALABLE_CAP[1]], version: 0x20 } as const;
    const built = setUp({ unit });
    const { unit: hardware } = built.machine;
    hardware.write32(0x68, 0x40a00000);
    hardware.write32(0x6c, 0x40a00000);
    expect([hardware.read32(0x68), ask(built)]).toEqual([0x40a00000, "RW 0x40a00"]);
    hardware.write32(0x64, 0x80000000);
    expect(hardware.read32(0x64)).toBe(0x80000001);
    expect(ask(built)).toBe("UR protected");
    expect(hardware.read32(0x34)).toBe(0);
    hardware.write64(0x70, 0x40a00000, 1);
    hardware.write64(0x78, 0x40a00000, 1);
    expect(ask(built, AT_TRANSLATED, 0x140a00)).toBe("UR protected");
    built.machine.command(GLOBAL_TE, false);
    expect(ask(built, AT_UNTRANSLATED, 0x40bff)).toBe("UR protected");
    hardware.write32(0x64, 0);
    expect(ask(built, AT_UNTRANSLATED, 0x40bff)).toBe("RW 0x40bff");
  });

  test("the old invalidation registers work in legacy mode while the queue is off", () => {
    const machine = new Machine();
    const table = new PageTable(machine.memory, secondStage(4), "test", "table");
    table.map(PAGE, TARGET, 1, RW);
    const context = machine.page();
    const entry = { present: true, faultDisable: false, translationType: 0, addressWidth: 2, domainId: 5 };
    machine.store(context, encodeContextEntry({ ...entry, pageTable: table.root }));
    machine.translateWith(machine.legacyRoot(context), TTM_LEGACY);
    const { unit } = machine;
    const iva = unit.caps.iotlbOffset;
    expect(ask({ machine })).toBe("RW 0x40a00");
    table.unmap(PAGE, 1);
    unit.write64(iva, PAGE << 12, 0);
    unit.write64(iva + 8, 0, 0xb0000006);
    expect([unit.read32(iva + 12) >>> 31, ask({ machine })]).toEqual([0, "RW 0x40a00"]);
    unit.write64(iva + 8, 0, 0xb0000005);
    expect([(unit.read32(iva + 12) >>> 25) & 3, ask({ machine })]).toEqual([3, "UR LGN.3"]);
    machine.memory.zero(context, 16);
    unit.write64(0x28, 0, 0xa0000000);
    expect([(unit.read32(0x2c) >>> 27) & 3, ask({ machine })]).toEqual([1, "UR LCT.2"]);
    machine.startQueue();
    unit.write64(0x28, 0, 0xa0000000);
    expect(unit.read32(0x2c) >>> 27).toBe(0b00100);
  });

  test("a fault record holds the address bits of the widest tables", () => {
    const built = setUp({ stage: "first" });
    expect(ask(built, AT_UNTRANSLATED, 2 ** 51 + 2 ** 36 + 5)).toBe("UR SGN.1");
    const { unit } = built.machine;
    const base = unit.caps.faultRecordOffset;
    expect([unit.read32(base), unit.read32(base + 4)]).toEqual([0x5000, 0]);
  });

  test("a completion that arrives while translation is off is lost", () => {
    const built = setUp({});
    built.machine.command(GLOBAL_TE, false);
    built.machine.unit.invalidateCompletion(SID, 1, 1);
    expect(built.machine.unit.read32(0x34)).toBe(0);
    built.machine.command(GLOBAL_TE);
    built.machine.unit.invalidateCompletion(SID, 1, 1);
    expect(built.machine.unit.read32(0x34)).toBe(0x20);
  });

  test("the mode does not change under a unit that keeps its caches on SRTP", () => {
    const machine = new Machine({ cap: [0x222f0606, 0x00d2008c] });
    machine.translateWith(machine.legacyRoot(machine.page()), TTM_LEGACY);
    machine.unit.write64(RTADDR, 0xc00, 0);
    machine.command(GLOBAL_SRTP);
    expect(machine.unit.mode).toBe("legacy");
    machine.command(GLOBAL_TE, false);
    machine.command(GLOBAL_SRTP);
    expect(machine.unit.mode).toBe("abort");
  });
});

test("a page-selective invalidation takes the whole of a larger translation", () => {
  const built = setUp({ pasid: { translationType: 4 } });
  expect(ask(built)).toBe("RW 0x1234");
  built.machine.memory.zero(built.pasids, 64);
  built.machine.submit(pasidCacheInvalidation(3, 0, 0), iotlbInvalidation(2, 6, drain));
  expect(ask(built, AT_UNTRANSLATED, PAGE + 1)).toBe("RW 0x1235");
  built.machine.submit(iotlbPageInvalidation(5, 0, 0, true, drain));
  expect(ask(built)).toBe("UR SPT.2");
});
