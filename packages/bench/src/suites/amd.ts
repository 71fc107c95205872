import type { AmdIommuOptions, DeviceTableEntry } from "@iommu-lab/amd-vi";
import {
  AmdIommu,
  EMPTY_DTE,
  amdV1,
  defaultOpenPoints,
  encodeDeviceTableBase,
  encodeDte,
  encodeFeatures,
  encodeGcr3Entry,
} from "@iommu-lab/amd-vi";
import type { PageTableFormat } from "@iommu-lab/core";
import { Clock, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, Trace, x86_64 } from "@iommu-lab/core";
import { AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { dependentLoads } from "../dependent-loads.ts";
import type { Bench } from "../measure.ts";

const RID = 0x3a00;
const PASID = 7;
const FIRST_PAGE = 0x12345;
const PAGES = 64;
const TARGET = 0x40a00;
const RW = PROT_READ | PROT_WRITE;
const DEVICE_TABLE_BASE = 0x0;
const CONTROL = 0x18;
/** IommuEn and GTEn. */
const ENABLE = 0x10001;

type Caches = AmdIommuOptions["caches"];

/** The caches of a unit that knows the device but walks for each page. */
const WALKING: Caches = { translations: "none", directories: "none", gcr3: "none" };

/** Host tables of 4 levels; Linux begins with 3. */
const host4: PageTableFormat = { ...amdV1, levels: 4, endPage: 2 ** 36 };

/** A unit with its tables, translating. */
interface Subject {
  readonly memory: PhysicalMemory;
  readonly unit: AmdIommu;
}

function unitOf(memory: PhysicalMemory, caches: Caches, entry: Partial<DeviceTableEntry>): AmdIommu {
  const clock = new Clock();
  const unit = new AmdIommu(
    {
      name: "ivhd0",
      efr: encodeFeatures({}),
      efr2: 0n,
      iotlbSup: true,
      npCache: false,
      caches,
      open: defaultOpenPoints,
    },
    {
      memory,
      clock,
      trace: new Trace(clock),
      root: { sendInvalidate: () => "delivered", sendPageResponse: () => "delivered" },
      interrupt: { raise: () => undefined },
    },
  );
  const table = memory.allocate(2 ** 21, 4096, "bench", "device table");
  const base = { ...EMPTY_DTE, valid: true, translationValid: true, read: true, write: true, domainId: 5 };
  for (const [index, word] of encodeDte({ ...base, ...entry }).entries()) {
    memory.store32(table + RID * 32 + index * 4, word);
  }
  unit.write64(DEVICE_TABLE_BASE, ...encodeDeviceTableBase(table, 2 ** 21));
  unit.write64(CONTROL, ENABLE, 0);
  return unit;
}

/** A table in which the pages of the bench are mapped, or all of memory to itself. */
function tableOf(memory: PhysicalMemory, format: PageTableFormat, identity = false): PageTable {
  const table = new PageTable(memory, format, "bench", format.name);
  if (identity) {
    table.map(0x40000, 0x40000, 0x1000, RW);
  } else {
    table.map(FIRST_PAGE, TARGET, PAGES, RW);
  }
  return table;
}

function host(caches: Caches): Subject {
  const memory = new PhysicalMemory();
  const table = tableOf(memory, host4);
  return { memory, unit: unitOf(memory, caches, { mode: 4, hostRoot: table.root }) };
}

/** A guest table behind a GCR3 table; nested: below a host table. */
function guest(caches: Caches, nested = false): Subject {
  const memory = new PhysicalMemory();
  const table = tableOf(memory, x86_64);
  const gcr3Root = memory.allocate(4096, 4096, "bench", "GCR3 table");
  memory.store64(gcr3Root + PASID * 8, ...encodeGcr3Entry(table.root));
  const below = nested ? { mode: 4, hostRoot: tableOf(memory, host4, true).root } : {};
  return { memory, unit: unitOf(memory, caches, { guestValid: true, gcr3Root, ...below }) };
}

/** Writes to {@link PAGES} pages in turn. @throws Error when one is refused: then something else would be timed */
function bench(title: string, { memory, unit }: Subject, pasid: number, loads: number): Bench {
  const flags = AT_UNTRANSLATED | REQUEST_WRITE;
  return {
    title,
    run(count) {
      let sum = 0;
      for (let round = 0; round < count; round += 1) {
        sum += unit.translate(RID, pasid, FIRST_PAGE + (round & (PAGES - 1)), 0, flags).page;
      }
      const last = unit.translate(RID, pasid, FIRST_PAGE, 0, flags);
      if (last.status !== "success" || last.page !== TARGET) {
        throw new Error(`${title}: the request goes elsewhere`);
      }
      return sum;
    },
    baseline: dependentLoads(memory, loads),
    baselineTitle: `${loads} dependent 64-bit loads`,
  };
}

/** AMD-Vi requests: the IOTLB knows the page; a walk of 4 levels; nothing is known; a guest below a host table. */
export const amdBenches: Readonly<Record<string, () => Bench>> = {
  "amd:v1-hit": () => bench("IOTLB hit", host("keep-all"), NO_PASID, 4),
  "amd:v1-walk": () => bench("4-level walk, DTE cached", host(WALKING), NO_PASID, 4),
  "amd:v1-cold": () => bench("DTE, 4-level walk", host("none"), NO_PASID, 8),
  "amd:v2-hit": () => bench("IOTLB hit", guest("keep-all"), PASID, 4),
  "amd:v2-walk": () => bench("GCR3, 4-level walk, DTE cached", guest(WALKING), PASID, 5),
  "amd:v2-cold": () => bench("DTE, GCR3, 4-level walk", guest("none"), PASID, 9),
  "amd:nested": () => bench("4 × 4 levels, DTE cached", guest(WALKING, true), PASID, 25),
};
