import {
  type CachePolicies,
  type CachePolicy,
  Smmu,
  encodeCd,
  encodeCommand,
  encodeL1cd,
  encodeL1std,
  encodeSte,
  interruptLines,
  vmsav8_64,
} from "@iommu-lab/arm-smmuv3";
import { Clock, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, Trace } from "@iommu-lab/core";
import { AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { dependentLoads } from "../dependent-loads.ts";
import type { Bench } from "../measure.ts";

const SID = 0x3a00;
const FIRST_PAGE = 0x12345;
const PAGES = 64;
const RW = PROT_READ | PROT_WRITE;
const REG = { cr0: 0x20, strtabBase: 0x80, strtabBaseCfg: 0x88, cmdqBase: 0x90, cmdqProd: 0x98 } as const;
const ENABLED = 0x9;
const TWO_LEVELS_16_BITS_SPLIT_8 = 0x10210;
const QUEUE_LOG2 = 8;
/** Both stages, AArch64, coherent, ATS, 16-bit tags, two-level tables, little-endian; 16-bit StreamIDs, 20-bit PASIDs. */
const ID = { idr0: 0x0dcd149b, idr1: 0x0a108510, idr3: 0x1414, idr5: 0x75 };
/** Configuration is known; every page is walked for. */
const WALKING: CachePolicies = { translations: "none", walks: "none" };

type Caches = CachePolicy | CachePolicies;

/** An SMMU with its tables, translating. */
interface Subject {
  readonly memory: PhysicalMemory;
  readonly smmu: Smmu;
  readonly commands: number;
}

function store(memory: PhysicalMemory, address: number, words: ArrayLike<number>): void {
  for (let index = 0; index < words.length; index += 1) {
    memory.store32(address + index * 4, words[index] ?? 0);
  }
}

function smmuOf(memory: PhysicalMemory, caches: Caches, streams: number, commands: number): Smmu {
  const clock = new Clock();
  const smmu = new Smmu(
    { name: "smmu0", id: ID, atcTimeout: 1000, caches, streamIdOf: (rid) => rid, ridOf: (sid) => sid },
    {
      memory,
      clock,
      trace: new Trace(clock),
      root: { sendInvalidate: () => "delivered", sendPageResponse: () => "delivered" },
      interrupts: interruptLines("smmu0"),
    },
  );
  smmu.write32(REG.strtabBase, streams);
  smmu.write32(REG.strtabBaseCfg, TWO_LEVELS_16_BITS_SPLIT_8);
  smmu.write32(REG.cmdqBase, commands | QUEUE_LOG2);
  smmu.write32(REG.cr0, ENABLED);
  settle(smmu);
  return smmu;
}

function settle(smmu: Smmu): void {
  for (const engine of smmu.engines) {
    while (engine.ready()) {
      engine.step();
    }
  }
}

/** Stage 2 maps what it is asked for to itself, in 4 KiB pages: the intermediate addresses of tables and of the pages. */
function identityStage2(memory: PhysicalMemory, first: number, count: number): number {
  const page = (): number => memory.allocate(4096, 4096, "bench", "stage-2 table");
  const root = page();
  for (let at = first; at < first + count; at += 1) {
    let table = root;
    for (const shift of [27, 18, 9]) {
      const slot = table + (Math.floor(at / 2 ** shift) % 512) * 8;
      memory.load64(slot);
      if (memory.lo === 0) {
        memory.store64(slot, page() | 3, 0);
        memory.load64(slot);
      }
      table = memory.hi * 2 ** 32 + (memory.lo & 0xfffff000);
    }
    memory.store64(table + (at % 512) * 8, ((at % 2 ** 20) * 4096 + 0x7ff) >>> 0, 0);
  }
  return root;
}

/** A stream with two-level tables above stage 1, and stage 2 below it when nested. */
function subject(caches: Caches, nested: boolean): Subject {
  const memory = new PhysicalMemory();
  const page = (): number => memory.allocate(4096, 4096, "bench", "table");
  const commands = page();
  const streams = page();
  const leaves = memory.allocate(16384, 16384, "bench", "STEs");
  const table = new PageTable(memory, vmsav8_64, "bench", "stage 1");
  table.map(FIRST_PAGE, 0x40a00, PAGES, RW);
  const contexts = page();
  const context = page();
  store(memory, contexts, encodeL1cd(context));
  store(
    memory,
    context,
    encodeCd({ v: 1, aa64: 1, t0Sz: 16, epd1: 1, ips: 5, asid: 5, a: 1, r: 1, aset: 1, ttb0: table.root }),
  );
  const stage2 = nested
    ? {
        config: 7,
        s2Vmid: 1,
        s2T0Sz: 16,
        s2Sl0: 2,
        s2Ps: 5,
        s2Aa64: 1,
        s2R: 1,
        s2Ttb: identityStage2(memory, 0x40000, 0x1000),
      }
    : { config: 5 };
  store(memory, streams + (SID >>> 8) * 8, encodeL1std(9, leaves));
  store(
    memory,
    leaves + (SID & 0xff) * 64,
    encodeSte({ v: 1, ...stage2, s1ContextPtr: contexts, s1Fmt: 1, s1CdMax: 8, s1Dss: 2 }),
  );
  return { memory, smmu: smmuOf(memory, caches, streams, commands), commands };
}

/** Requests to {@link PAGES} pages in turn. @throws Error when one is refused: then something else would be timed */
function bench(title: string, { memory, smmu }: Subject, loads: number): Bench {
  return {
    title,
    run(count) {
      let sum = 0;
      for (let round = 0; round < count; round += 1) {
        sum += smmu.translate(SID, NO_PASID, FIRST_PAGE + (round & (PAGES - 1)), 0, AT_UNTRANSLATED).page;
      }
      if (smmu.translate(SID, NO_PASID, FIRST_PAGE, 0, AT_UNTRANSLATED).status !== "success") {
        throw new Error(`${title}: the request is refused`);
      }
      return sum;
    },
    baseline: dependentLoads(memory, loads),
    baselineTitle: `${loads} dependent 64-bit loads`,
  };
}

/** One page is invalidated through the command queue, then asked for: its leaf alone is read again. */
function walkAfterTlbi(leaf: number): Bench {
  const { memory, smmu, commands } = subject("keep-all", false);
  let prod = 0;
  for (let slot = 0; slot < 2 ** QUEUE_LOG2; slot += 1) {
    const page = FIRST_PAGE + (slot & (PAGES - 1));
    store(memory, commands + slot * 16, encodeCommand("TLBI_NH_VA", { asid: 5, page, leaf }));
  }
  return {
    title: leaf === 1 ? "TLBI_NH_VA leaf, then the page" : "TLBI_NH_VA with its tables, then the page",
    run(count) {
      let sum = 0;
      for (let round = 0; round < count; round += 1) {
        const page = FIRST_PAGE + (prod & (PAGES - 1));
        prod = (prod + 1) % 2 ** (QUEUE_LOG2 + 1);
        smmu.write32(REG.cmdqProd, prod);
        settle(smmu);
        sum += smmu.translate(SID, NO_PASID, page, 0, AT_UNTRANSLATED).page;
      }
      return sum;
    },
    baseline: dependentLoads(memory, 4),
    baselineTitle: "4 dependent 64-bit loads",
  };
}

/** SMMUv3 requests: the TLB knows the page; it walks 4 levels; it knows nothing; both stages; after an invalidation. */
export const smmuBenches: Readonly<Record<string, () => Bench>> = {
  "smmu:hit": () => bench("TLB hit", subject("keep-all", false), 4),
  "smmu:walk": () => bench("4-level walk, STE and CD cached", subject(WALKING, false), 4),
  "smmu:cold": () => bench("STE, CD (two-level tables), 4-level walk", subject("none", false), 8),
  "smmu:nested": () => bench("4 × 4 levels, STE and CD cached", subject(WALKING, true), 24),
  "smmu:nested-cached-tables": () => bench("4 × 4 levels, tables cached", subject({ translations: "none" }, true), 24),
  "smmu:walk-after-tlbi": () => walkAfterTlbi(1),
  "smmu:walk-after-tlbi-tables": () => walkAfterTlbi(0),
};
