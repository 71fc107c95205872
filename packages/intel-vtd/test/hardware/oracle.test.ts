import { fromQwords } from "@iommu-lab/core";
import type { CachePolicies, CachePolicy } from "@iommu-lab/intel-vtd";
import {
  EMPTY_PASID_ENTRY,
  FAULT_REASONS,
  contextCacheInvalidation,
  encodeContextEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeScalableContext,
  iotlbInvalidation,
} from "@iommu-lab/intel-vtd";
import { AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine, SCALABLE_CAP, SCALABLE_ECAP, SID } from "./machine.ts";
import { type OracleRequest, type OracleTables, oracle } from "./oracle.ts";
import { TTM_LEGACY, TTM_SCALABLE } from "../registers.ts";

/** Nested translation beside the features of the other tests. */
const NESTED_ECAP = [SCALABLE_ECAP[0] | (1 << 26), SCALABLE_ECAP[1]] as const;
const TYPES = ["legacy", "first", "second", "nested"] as const;
const TABLES = 8;
const POOL = 0x41000000;

/** A random entry: which table or page it points to, and its low bits. */
interface Entry {
  readonly table: number;
  readonly index: number;
  readonly target: number;
  readonly bits: number;
  readonly high: bigint;
}

const INDEXES = [0, 1, 2, 511];

/** Mostly sound entries, so that walks get deep; low bits of both stages, now and then a reserved one. */
const entries = fc.array(
  fc.record({
    table: fc.nat(TABLES - 1),
    index: fc.constantFrom(...INDEXES),
    target: fc.oneof({ weight: 6, arbitrary: fc.nat(TABLES - 1) }, fc.constantFrom(0x200, 0x400, 0xbee00, 0xbef00)),
    bits: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(0x67, 0x27, 0x25, 0x63, 0x65, 0x62) },
      fc.constantFrom(0, 0xe7, 0xa5, 0x867, 0x1e7),
    ),
    high: fc.oneof({ weight: 12, arbitrary: fc.constant(0n) }, fc.constantFrom(1n << 62n, 1n << 51n, 1n << 63n)),
  }),
  { minLength: 20, maxLength: 60 },
);

const requests = fc.array(
  fc.record({
    steps: fc.tuple(...[0, 1, 2, 3].map(() => fc.constantFrom(...INDEXES))),
    beyond: fc.oneof({ weight: 10, arbitrary: fc.constant(0n) }, fc.constantFrom(1n << 36n, 0xffff000000000n)),
    kind: fc.constantFrom<OracleRequest["kind"]>("read", "write", "translation"),
  }),
  { minLength: 4, maxLength: 20 },
);

const policies: readonly (CachePolicy | CachePolicies)[] = [
  "none",
  "keep-all",
  { lru: 1 },
  { lru: 3 },
  { random: 7 },
  { iotlb: "none" },
  { paging: "none", context: { random: 3 } },
];

interface Built {
  readonly machine: Machine;
  readonly tables: OracleTables;
}

/** Table n is at POOL + n pages; nested, the guest knows it by the same address. */
function build(type: (typeof TYPES)[number], list: readonly Entry[], caches: CachePolicy | CachePolicies): Built {
  const scalable = type !== "legacy";
  const machine = new Machine({ caches, ...(scalable ? { cap: SCALABLE_CAP, ecap: NESTED_ECAP } : {}) });
  const { memory } = machine;
  for (const { table, index, target, bits, high } of list) {
    const word = (BigInt(POOL) + BigInt(target) * 4096n) | BigInt(bits) | high;
    machine.store(POOL + table * 4096 + index * 8, fromQwords([word]));
  }
  const firstRoot = POOL;
  const secondRoot = type === "nested" ? guestMemory(machine) : POOL;
  const pasids = machine.page();
  const directory = machine.page();
  const context = machine.page();
  if (scalable) {
    const entry = {
      ...EMPTY_PASID_ENTRY,
      present: true,
      addressWidth: 2,
      domainId: 5,
      pageWalkSnoop: true,
      translationType: { first: 1, second: 2, nested: 3 }[type],
      ...(type === "second" ? {} : { firstStageTable: firstRoot }),
      ...(type === "first" ? {} : { secondStageTable: secondRoot }),
    };
    machine.store(pasids, encodePasidEntry(entry));
    machine.store(directory, encodePasidDirectoryEntry({ present: true, faultDisable: false, table: pasids }));
    machine.store(
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
  } else {
    const entry = { present: true, faultDisable: false, translationType: 1, addressWidth: 2, domainId: 5 };
    machine.store(context, encodeContextEntry({ ...entry, pageTable: secondRoot }));
  }
  machine.startQueue();
  const root = scalable ? machine.scalableRoot(context) : machine.legacyRoot(context);
  machine.translateWith(root, scalable ? TTM_SCALABLE : TTM_LEGACY);
  const load = (address: bigint): bigint => {
    memory.load64(Number(address));
    return (BigInt(memory.hi >>> 0) << 32n) | BigInt(memory.lo >>> 0);
  };
  return { machine, tables: { load, type, firstRoot: BigInt(firstRoot), secondRoot: BigInt(secondRoot) } };
}

/** A second stage of the pool's pages: each where it is, some read only, some missing, some in a large page. */
function guestMemory(machine: Machine): number {
  const levels = [machine.page(), machine.page(), machine.page(), machine.page()] as const;
  const [top, third, middle, last] = levels;
  const entry = (table: number, index: number, value: number): void =>
    machine.store(table + index * 8, fromQwords([BigInt(value)]));
  entry(top, 0, third + 3);
  entry(third, 1, middle + 3);
  entry(middle, 8, last + 3);
  for (let page = 0; page < TABLES; page += 1) {
    entry(last, page, POOL + page * 4096 + (page === TABLES - 1 ? 1 : 3));
  }
  entry(middle, 9, 0x50000083);
  entry(middle, 10, 0x50200081);
  return top;
}

function ask({ machine }: Built, request: OracleRequest): object {
  const type = request.kind === "translation" ? AT_TRANSLATION_REQUEST : AT_UNTRANSLATED;
  const flags = type | (request.kind === "write" ? REQUEST_WRITE : 0);
  const { status, page, read, write, fault } = machine.unit.translate(SID, NO_PASID, Number(request.page), 0, flags);
  return { status, fault: fault.split(" ")[0], page: read || write ? BigInt(page) : 0n, read, write };
}

function expected(built: Built, request: OracleRequest): object {
  const { fault, page, read, write } = oracle(built.tables, request);
  const reason = FAULT_REASONS.get(fault);
  if (reason === undefined) {
    return { status: "success", fault: "", page: read || write ? page : 0n, read, write };
  }
  const status = request.kind === "translation" ? reason.translationRequest : reason.untranslated;
  return status === "S0"
    ? { status: "success", fault: "", page: 0n, read: false, write: false }
    : { status, fault: reason.condition, page: 0n, read: false, write: false };
}

/** Pages of a request that lead through the indexes used by the entries; never the interrupt range as input. */
function pageOf(steps: readonly number[], beyond: bigint): bigint {
  return steps.reduce((page, step) => page * 512n + BigInt(step), 0n) | beyond;
}

describe.each(TYPES)("%s: random tables and requests", (type) => {
  test("one answer, that of the oracle, under every cache policy", () => {
    fc.assert(
      fc.property(entries, requests, fc.constantFrom(...policies), (list, asked, caches) => {
        const built = build(type, list, caches);
        for (const { steps, beyond, kind } of asked) {
          const request = { page: pageOf(steps, beyond), kind };
          const wanted = expected(built, request);
          // What was remembered of a weaker access may refuse a stronger one, but tables do not change here.
          expect(ask(built, request)).toEqual(wanted);
        }
      }),
      { numRuns: 250 },
    );
  });

  test("after a change and the invalidations for it nothing of the old tables is left", () => {
    fc.assert(
      fc.property(entries, entries, requests, fc.constantFrom(...policies), (before, after, asked, caches) => {
        const built = build(type, before, caches);
        for (const { steps, beyond, kind } of asked) {
          ask(built, { page: pageOf(steps, beyond), kind });
        }
        built.machine.memory.zero(POOL, TABLES * 4096);
        for (const { table, index, target, bits, high } of after) {
          const word = (BigInt(POOL) + BigInt(target) * 4096n) | BigInt(bits) | high;
          built.machine.store(POOL + table * 4096 + index * 8, fromQwords([word]));
        }
        built.machine.submit(contextCacheInvalidation(1, 0, 0), iotlbInvalidation(2, 5, { read: true, write: true }));
        for (const { steps, beyond, kind } of asked) {
          const request = { page: pageOf(steps, beyond), kind };
          const wanted = expected(built, request);
          expect(ask(built, request)).toEqual(wanted);
        }
      }),
      { numRuns: 150 },
    );
  });
});
