import type { CachePolicy, DeviceTableEntry } from "@iommu-lab/amd-vi";
import { ALL_PAGES, encodeDte, encodeFeatures, invalidateIommuPages } from "@iommu-lab/amd-vi";
import type { PhysicalMemory } from "@iommu-lab/core";
import type { TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { expect } from "vitest";
import { Machine, RID, TRANSLATED } from "./machine.ts";
import type { OracleRequest } from "./naive-oracle.ts";
import { MemoryError, oracle } from "./naive-oracle.ts";

/** Host tables of levels 1 … 6, guest tables of levels 1 … 5, GCR3 tables of 3 levels, then plain pages. */
const HOST_TABLES = 0;
const GUEST_TABLES = 6;
const GCR3_TABLES = 11;
const PAGES = 14;
const PLACES = 18;
/** Entries of a table that are filled: the first few, so that addresses meet them. */
const INDICES = 4;
const efr = encodeFeatures({
  pasidBits: 20,
  guestLevels: 5,
  features: { hostAccessed: true, hostDirty: true },
});

/** One entry: which table and index, and what stands there. */
export interface Slot {
  readonly table: number;
  readonly index: number;
  /** Small: what a well-built table has there; large: something odd. */
  readonly oddity: number;
  readonly target: number;
  readonly next: number;
  readonly flags: number;
  readonly sizeBits: number;
}

export interface Step {
  readonly change: boolean;
  readonly slot: Slot;
  readonly kind: OracleRequest["kind"];
  readonly indices: readonly number[];
  readonly upper: number;
  readonly pasid: number;
}

/** A machine's tables, its DTE, and what happens to them. */
export interface Plan {
  readonly slots: readonly Slot[];
  readonly dte: Partial<DeviceTableEntry>;
  readonly steps: readonly Step[];
}

const often = fc.nat(19).map((value) => value !== 0);

const slotRest = {
  oddity: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 11, 12, 13, 14, 17, 18, 19),
  target: fc.nat(PLACES - 1),
  next: fc.nat(7),
  flags: fc.nat(1023),
  sizeBits: fc.nat(20),
};

const slot: fc.Arbitrary<Slot> = fc.record({
  table: fc.nat(PAGES - 1),
  index: fc.constantFrom(0, 0, 0, 1),
  ...slotRest,
});

/** All entries of all tables. */
const slots: fc.Arbitrary<readonly Slot[]> = fc
  .array(fc.record(slotRest), { minLength: PAGES * INDICES, maxLength: PAGES * INDICES })
  .map((rests) =>
    rests.map((rest, at) => Object.assign({ table: Math.floor(at / INDICES), index: at % INDICES }, rest)),
  );

const dte: fc.Arbitrary<Partial<DeviceTableEntry>> = fc.record({
  valid: often,
  translationValid: often,
  read: often,
  write: often,
  iotlb: often,
  mode: fc.constantFrom(0, 2, 3, 3, 4, 4, 5, 6, 1),
  guestValid: fc.boolean(),
  guestIo: fc.boolean(),
  glx: fc.nat(2),
  guestPagingMode: fc.nat(1),
  accessDirty: fc.constantFrom(0, 0, 1, 3),
});

/** A request, perhaps after a change. */
export const step: fc.Arbitrary<Step> = fc.record({
  change: fc.boolean(),
  slot,
  kind: fc.constantFrom("read", "write", "ask", "translated"),
  indices: fc.array(fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 2, 4), { minLength: 6, maxLength: 6 }),
  upper: fc.constantFrom(0, 0, 0, 1, 2, 3),
  pasid: fc.constantFrom(-1, -1, -1, 0, 0, 1, 1, 2, 0x201, 0x40001),
});

/** Slots of well-built tables, with these in place of some. */
export function plainSlots(...others: readonly Slot[]): readonly Slot[] {
  return Array.from({ length: PAGES * INDICES }, (_, at) => {
    const [table, index] = [Math.floor(at / INDICES), at % INDICES];
    const other = others.find((one) => one.table === table && one.index === index);
    return other ?? { table, index, oddity: 0, target: 0, next: 0, flags: 0, sizeBits: 0 };
  });
}

/** Random tables that point to each other in any way, a DTE, and a run of requests and changes. */
export const plans: fc.Arbitrary<Plan> = fc.record({
  slots,
  dte,
  steps: fc.array(step, { minLength: 10, maxLength: 40 }),
});

/** The word of an entry: of a host table, of a guest table, of a GCR3 table. */
function wordOf(base: number, one: Slot, guestLevels: number): bigint {
  const { table, oddity, target, next, flags } = one;
  const odd = oddity > 16;
  const set = (index: number, position: number): bigint => (((flags >> index) & 1) === 0 ? 0n : 1n << BigInt(position));
  const to = (place: number): bigint => BigInt(base + place * 4096);
  const page = PAGES + (target % (PLACES - PAGES));
  if (table >= GCR3_TABLES) {
    const level = table - GCR3_TABLES;
    const below = level === 0 ? GUEST_TABLES + guestLevels - 1 : table - 1;
    return to(odd ? target : below) | (oddity === 19 ? 0n : 1n);
  }
  if (table >= GUEST_TABLES) {
    const level = table - GUEST_TABLES + 1;
    const leaf = level === 1 || (oddity > 12 && level < 4);
    const place = odd ? target : leaf ? page : table - 1;
    const size = leaf && level > 1 ? (1n << BigInt(3 + 9 * level)) - 1n : 0n;
    const large = leaf && level > 1 ? 0x80n : 0n;
    const address = oddity === 18 ? to(place) : to(place) & ~size;
    const user = (flags & 0x300) === 0x300 ? 0n : 4n;
    const write = (flags & 3) === 0 ? 0n : 2n;
    return address | (oddity === 19 ? 0n : 1n) | write | user | set(2, 5) | set(3, 6) | large | set(4, 63);
  }
  const level = table - HOST_TABLES + 1;
  const leaf = level === 1 || oddity > 12;
  const skipping = !leaf && oddity > 10 && level > 2;
  const nextLevel = odd ? next % 7 : leaf ? 0 : skipping ? level - 2 : level - 1;
  const place = odd ? target : leaf ? page : HOST_TABLES + nextLevel - 1;
  const rights = (flags & 3) === 0 ? set(5, 61) | set(6, 62) : 3n << 61n;
  const reserved = oddity === 18 ? 1n << 55n : 0n;
  return to(place) | (BigInt(nextLevel) << 9n) | (oddity === 19 ? 0n : 1n) | rights | reserved;
}

/** Beside the entry with the last index: four more of one page of four times the size, or none. */
function codedWordOf({ table, target, flags, sizeBits }: Slot): bigint {
  if (table >= GUEST_TABLES || sizeBits > 16) {
    return 0n;
  }
  const level = table - HOST_TABLES + 1;
  const size = BigInt(12 + 9 * (level - 1) + 2);
  const ones = (1n << (size - 1n)) - 4096n;
  const rights = (flags & 3) === 0 ? 1n << 61n : 3n << 61n;
  return (BigInt(target + 1) << size) | ones | 0xe00n | rights | 1n;
}

/** Lets the host tables map all places to themselves, as far as the random entries above allow. */
function mapPlaces(memory: PhysicalMemory, base: number): void {
  for (let place = 0; place < PLACES; place += 1) {
    const page = base / 4096 + place;
    const leaf = base + HOST_TABLES * 4096 + (page % 512) * 8;
    memory.store64(leaf, (page * 4096 + 1) >>> 0, 0x60000000);
    const upper = base + (HOST_TABLES + 1) * 4096 + (Math.floor(page / 512) % 512) * 8;
    memory.store64(upper, (base + HOST_TABLES * 4096 + 0x201) >>> 0, 0x60000000);
  }
}

/** An address whose index in each level is small, so that it meets entries. */
export function addressOf({ indices, upper }: Step, levels: number): number {
  const page = indices.slice(0, levels).reduce((sum, index, level) => sum + index * 2 ** (9 * level), 0);
  // Sometimes beyond the tables, or in the upper half; addresses have 64 bits, so what goes beyond them wraps.
  return upper === 1 ? page + 2 ** 44 : upper === 2 ? (2 ** 52 - 2 ** 30 + page) % 2 ** 52 : page;
}

/** Plays a plan on a unit with these caches, and checks every answer by the oracle. */
export function play(plan: Plan, caches: CachePolicy): void {
  const machine = new Machine({ caches, efr });
  const { memory } = machine;
  const base = memory.allocate(PLACES * 4096, 4096, "test", "tables");
  mapPlaces(memory, base);
  const put = (one: Slot): void => {
    const table = base + one.table * 4096;
    const store = (index: number, word: bigint): void =>
      memory.store64(table + index * 8, Number(word & 0xffffffffn), Number(word >> 32n));
    store(one.index, wordOf(base, one, 4 + (plan.dte.guestPagingMode ?? 0)));
    if (one.index === INDICES - 1) {
      for (let index = INDICES; index < 2 * INDICES; index += 1) {
        store(index, codedWordOf(one));
      }
    }
  };
  plan.slots.forEach(put);
  const entry = {
    ...TRANSLATED,
    ...plan.dte,
    hostRoot: base + (HOST_TABLES + Math.max(1, plan.dte.mode ?? 1) - 1) * 4096,
    gcr3Root: base + (GCR3_TABLES + (plan.dte.glx ?? 0)) * 4096,
  };
  const words = encodeDte(entry);
  machine.setDte(words);
  const quadwords = [0, 2, 4, 6].map((at) => (BigInt(words[at + 1] ?? 0) << 32n) | BigInt(words[at] ?? 0));
  const load = (at: bigint): bigint => {
    if (!memory.load64(Number(at))) {
      throw new MemoryError();
    }
    return (BigInt(memory.hi) << 32n) | BigInt(memory.lo);
  };
  for (const one of plan.steps) {
    if (one.change) {
      put(one.slot);
      const all = (pasid?: number): Uint32Array =>
        invalidateIommuPages(pasid === undefined ? { domainId: 0x12 } : { domainId: 0x12, pasid }, 0, ALL_PAGES, true);
      machine.submit(all(), ...[0, 1, 2, 0x201, 0x40001].map((pasid) => all(pasid)));
    }
    check(machine, one, entry, load, quadwords);
  }
}

function check(
  machine: Machine,
  one: Step,
  entry: DeviceTableEntry,
  load: (at: bigint) => bigint,
  quadwords: readonly bigint[],
): void {
  const { kind, pasid } = one;
  const page = addressOf(one, entry.guestValid ? 5 : Math.max(1, entry.mode));
  const request = { kind, address: BigInt(page) << 12n, ...(pasid < 0 ? {} : { pasid }) };
  // The answer is due before the unit sets A or D in the tables.
  const expected = oracle(load, quadwords, request);
  const events = machine.log.length;
  const type = { read: 0, write: REQUEST_WRITE, ask: AT_TRANSLATION_REQUEST, translated: AT_TRANSLATED }[kind];
  const answer = machine.unit.translate(RID, pasid < 0 ? NO_PASID : pasid, page, 0, type);
  expect(summary(answer, kind)).toEqual(expected.fate === "abort" ? { fate: "abort" } : hidden(expected));
  // Exactly one event of a refused request, none of any other.
  expect(machine.log.length - events).toBe(answer.status === "success" ? 0 : 1);
}

/** The address of an answer without permission says nothing. */
function hidden(answer: object): object {
  return "read" in answer && "write" in answer && answer.read === false && answer.write === false
    ? { fate: "answer", read: false, write: false }
    : answer;
}

function summary(answer: TranslateResult, kind: OracleRequest["kind"]): object {
  if (answer.status !== "success") {
    return { fate: "abort" };
  }
  const address = BigInt(answer.page) << 12n;
  return kind === "ask"
    ? hidden({ fate: "answer", address, read: answer.read, write: answer.write })
    : { fate: "pass", address };
}
