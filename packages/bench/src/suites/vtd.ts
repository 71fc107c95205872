import { Clock, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, Trace, x86_64 } from "@iommu-lab/core";
import type { CachePolicies, CachePolicy, PasidEntry } from "@iommu-lab/intel-vtd";
import {
  EMPTY_PASID_ENTRY,
  VtdUnit,
  encodeContextEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeRootEntry,
  encodeRootTableAddress,
  encodeScalableContext,
  encodeScalableRootEntry,
  secondStage,
} from "@iommu-lab/intel-vtd";
import { AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { dependentLoads } from "../dependent-loads.ts";
import type { Bench } from "../measure.ts";

const SID = 0x3a00;
const PASID = 7;
const FIRST_PAGE = 0x12345;
const PAGES = 64;
const RW = PROT_READ | PROT_WRITE;
const GCMD = 0x18;
const RTADDR = 0x20;

/** The caches of a unit that knows the requester but walks for each page. */
const WALKING: CachePolicies = { iotlb: "none", paging: "none" };

type Stage = "first" | "second" | "nested";

/** A unit with its tables, translating. */
interface Subject {
  readonly memory: PhysicalMemory;
  readonly unit: VtdUnit;
}

/** One that has every feature: both stages, nested, PASIDs. */
function unitOf(memory: PhysicalMemory, caches: CachePolicy | CachePolicies, table: number, mode: number): VtdUnit {
  const clock = new Clock();
  const unit = new VtdUnit(
    {
      name: "dmar0",
      cap: [0x222f0606, 0x81d2008c],
      ecap: [0x24f00f4e, 0x0001cd98],
      version: 0x10,
      hostAddressWidth: 46,
      invalidationTimeout: 1000,
      caches,
    },
    {
      memory,
      clock,
      trace: new Trace(clock),
      root: { sendInvalidate: () => "delivered", sendPageResponse: () => "delivered" },
      interrupts: { message: () => undefined },
    },
  );
  const [lo, hi] = encodeRootTableAddress({ table, mode });
  unit.write64(RTADDR, lo, hi);
  for (const command of [0x40000000, 0x80000000]) {
    unit.write32(GCMD, command);
    for (const engine of unit.engines) {
      engine.step();
    }
  }
  return unit;
}

function store(memory: PhysicalMemory, address: number, words: ArrayLike<number>): void {
  for (let index = 0; index < words.length; index += 1) {
    memory.store32(address + index * 4, words[index] ?? 0);
  }
}

function legacy(caches: CachePolicy | CachePolicies): Subject {
  const memory = new PhysicalMemory();
  const page = (): number => memory.allocate(4096, 4096, "bench", "table");
  const table = new PageTable(memory, secondStage(4), "bench", "second stage");
  table.map(FIRST_PAGE, 0x40a00, PAGES, RW);
  const context = page();
  const entry = { present: true, faultDisable: false, translationType: 1, addressWidth: 2, domainId: 5 };
  store(memory, context, encodeContextEntry({ ...entry, pageTable: table.root }));
  const root = page();
  store(memory, root + (SID >>> 8) * 16, encodeRootEntry({ present: true, contextTable: context }));
  return { memory, unit: unitOf(memory, caches, root, 0) };
}

/** The guest's pages are where the second stage finds them again: all of memory is mapped to itself. */
function stages(memory: PhysicalMemory, stage: Stage): Partial<PasidEntry> {
  const first = new PageTable(memory, x86_64, "bench", "first stage");
  const second = new PageTable(memory, secondStage(4), "bench", "second stage");
  (stage === "second" ? second : first).map(FIRST_PAGE, 0x40a00, PAGES, RW);
  if (stage === "nested") {
    second.map(0x40000, 0x40000, 0x1000, RW);
  }
  return {
    translationType: { first: 1, second: 2, nested: 3 }[stage],
    addressWidth: 2,
    ...(stage === "first" ? {} : { secondStageTable: second.root }),
    ...(stage === "second" ? {} : { firstStageTable: first.root }),
  };
}

function scalable(caches: CachePolicy | CachePolicies, stage: Stage): Subject {
  const memory = new PhysicalMemory();
  const page = (): number => memory.allocate(4096, 4096, "bench", "table");
  const entry = {
    ...EMPTY_PASID_ENTRY,
    present: true,
    domainId: 5,
    pageWalkSnoop: true,
    ...stages(memory, stage),
  };
  const pasids = page();
  store(memory, pasids + PASID * 64, encodePasidEntry(entry));
  const directory = page();
  store(memory, directory, encodePasidDirectoryEntry({ present: true, faultDisable: false, table: pasids }));
  const context = page();
  store(
    memory,
    context,
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
    }),
  );
  const root = page();
  const rootEntry = { lowPresent: true, lowTable: context, highPresent: false, highTable: 0 };
  store(memory, root + (SID >>> 8) * 16, encodeScalableRootEntry(rootEntry));
  return { memory, unit: unitOf(memory, caches, root, 1) };
}

/** Requests to {@link PAGES} pages in turn. @throws Error when one is refused: then something else would be timed */
function bench(title: string, { memory, unit }: Subject, pasid: number, loads: number): Bench {
  return {
    title,
    run(count) {
      let sum = 0;
      for (let round = 0; round < count; round += 1) {
        sum += unit.translate(SID, pasid, FIRST_PAGE + (round & (PAGES - 1)), 0, AT_UNTRANSLATED).page;
      }
      if (unit.translate(SID, pasid, FIRST_PAGE, 0, AT_UNTRANSLATED).status !== "success") {
        throw new Error(`${title}: the request is refused`);
      }
      return sum;
    },
    baseline: dependentLoads(memory, loads),
    baselineTitle: `${loads} dependent 64-bit loads`,
  };
}

/** VT-d requests: the IOTLB knows the page; it walks 4 levels; it knows nothing; both stages; PASIDs and none. */
export const vtdBenches: Readonly<Record<string, () => Bench>> = {
  "vtd:legacy-hit": () => bench("IOTLB hit", legacy("keep-all"), NO_PASID, 4),
  "vtd:legacy-walk": () => bench("4-level walk, context cached", legacy(WALKING), NO_PASID, 4),
  "vtd:legacy-cold": () => bench("root, context, 4-level walk", legacy("none"), NO_PASID, 8),
  "vtd:scalable-hit": () => bench("IOTLB hit", scalable("keep-all", "first"), PASID, 4),
  "vtd:scalable-walk": () => bench("4-level walk, PASID entry cached", scalable(WALKING, "first"), PASID, 4),
  "vtd:scalable-walk-second": () => bench("4-level second-stage walk", scalable(WALKING, "second"), PASID, 4),
  "vtd:scalable-cold": () => bench("root, context, PASID, 4-level walk", scalable("none", "first"), PASID, 18),
  "vtd:nested": () => bench("4 × 4 levels, PASID entry cached", scalable(WALKING, "nested"), PASID, 24),
  "vtd:nested-cached-tables": () =>
    bench("4 × 4 levels, tables cached", scalable({ iotlb: "none" }, "nested"), PASID, 24),
};
