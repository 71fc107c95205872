import { type Words, getField, newWords, setField } from "@iommu-lab/core";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cdKind, makeEmptyCd, makeS1Cd, makeSvaCd } from "../../src/driver/context-descriptor.ts";
import { type EntryKind, updateSteps } from "../../src/driver/entry-update.ts";
import { makeAbortSte, makeBypassSte, makeCdTableSte, steKind } from "../../src/driver/stream-entry.ts";
import { CD } from "../../src/layout/context-descriptor.ts";
import { S1_DSS, S1_FMT, STE } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, Machine, SID, STREAMS, TABLES } from "../support/machine.ts";

/** Second table of context descriptors, and second page table. */
const OTHER_CONTEXTS = CONTEXTS + 0x10000;
const OTHER_TABLES = TABLES + 0x10000;
const features = { attributeTypesOverride: true, stalls: false, e2h: false };
const cdFeatures = { stallForced: false, setsAccessFlag: false, setsDirty: false, oas: 48 };
const LEAF = 0x0000000000000f43n;

/** A machine that keeps nothing, with two CD tables over two page tables that map page 1 to different pages. */
function machine(): Machine {
  const one = new Machine({ caches: "none" });
  one.enable();
  one.map({ 1: 0x11000n | LEAF }, TABLES);
  one.map({ 1: 0x22000n | LEAF }, OTHER_TABLES);
  for (const ssid of [0, 1]) {
    one.cd(ssid);
    one.store(OTHER_CONTEXTS + ssid * 64, makeS1Cd(cdFeatures, 40 + ssid, OTHER_TABLES, false));
  }
  return one;
}

/** What hardware makes of requests of every class, with and without PASID. */
function fates(one: Machine): string[] {
  return [NO_PASID, 1].flatMap((pasid) =>
    [AT_UNTRANSLATED | REQUEST_WRITE, AT_TRANSLATION_REQUEST, AT_TRANSLATED | REQUEST_WRITE].map((flags) => {
      const { status, page, read, write } = one.smmu.translate(SID, pasid, 1, 0, flags);
      const answer =
        flags === AT_TRANSLATION_REQUEST && status === "success" ? `${read ? "R" : ""}${write ? "W" : ""}` : "";
      return status === "success" ? `page ${page.toString(16)} ${answer}` : "aborts";
    }),
  );
}

/** Which of them are of ATS. */
const IS_ATS = [false, true, true, false, true, true];

/** An entry with the EATS of another one: EATS may change before or after the rest, because the function's ATS is off then. */
function withEats(entry: Words, other: Words): Words {
  const words = entry.slice();
  setField(words, STE.eats, getField(other, STE.eats));
  return words;
}

interface Seen {
  /** Fates of each request in each state that hardware may read. */
  readonly states: readonly (readonly string[])[];
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** The entry was never invalid. */
  readonly hitless: boolean;
  /** Fates that are neither the old nor the new one, nor an abort while the entry was invalid. */
  readonly bad: readonly string[];
}

/**
 * Plays an update. Hardware reads an entry of 64 bytes while 64-bit words of it are stored in any order, so it may see
 * any mix of the words before and after a step.
 */
function play(
  kind: EntryKind,
  address: number,
  one: Machine,
  from: Words,
  to: Words,
  mixes: readonly number[],
  ste?: Words,
): Seen {
  if (ste !== undefined) {
    one.ste(ste);
  }
  const show = (words: Words): readonly string[] => {
    one.store(address, words);
    return fates(one);
  };
  const valid = kind === steKind ? STE.v : CD.v;
  const ends = { from: show(from), to: show(to) };
  const entry = from.slice();
  const states: (readonly string[])[] = [];
  let hitless = true;
  for (const { words, first, count } of updateSteps(kind, from, to)) {
    for (const mix of [...mixes, 0xff]) {
      const torn = entry.slice();
      for (let word = first; word < first + count; word += 1) {
        if (((mix >>> word) & 1) === 1) {
          torn[word * 2] = words[word * 2] ?? 0;
          torn[word * 2 + 1] = words[word * 2 + 1] ?? 0;
        }
      }
      hitless &&= getField(torn, valid) === 1;
      states.push(show(torn));
    }
    entry.set(words.subarray(first * 2, (first + count) * 2), first * 2);
  }
  expect([...entry]).toEqual([...to]);
  const allowed = [
    ends.from,
    ends.to,
    ...(kind === steKind ? [show(withEats(from, to)), show(withEats(to, from))] : []),
  ];
  const bad = states.flatMap((state) =>
    state.filter((fate, index) => {
      const answers = IS_ATS[index] === true ? allowed : allowed.slice(0, 2);
      return !answers.some((answer) => answer[index] === fate) && (hitless || fate !== "aborts");
    }),
  );
  return { states, hitless, ...ends, bad };
}

const mixes = fc.array(fc.integer({ min: 0, max: 0xff }), { minLength: 2, maxLength: 4 });

describe("at each step of an update hardware sees the old behaviour, the new one, or aborts", () => {
  const first = { address: CONTEXTS, s1Fmt: S1_FMT.linear, s1CdMax: 1 };
  const second = { ...first, address: OTHER_CONTEXTS };
  const entries: readonly (readonly [string, Words])[] = [
    ["abort", makeAbortSte()],
    ["bypass", makeBypassSte(features)],
    ...[first, second].flatMap((table, index) =>
      Object.entries(S1_DSS).flatMap(([name, s1Dss]) =>
        [false, true].map(
          (ats) =>
            [`table ${index} ${name}${ats ? " ATS" : ""}`, makeCdTableSte(features, table, false, ats, s1Dss)] as const,
        ),
      ),
    ),
  ];
  const address = STREAMS + SID * 64;

  it("stream table entries", () => {
    const one = machine();
    fc.assert(
      fc.property(fc.constantFrom(...entries), fc.constantFrom(...entries), mixes, ([, from], [, to], order) => {
        const { bad, ...seen } = play(steKind, address, one, from, to, order);
        expect({ bad, seen }).toEqual({ bad: [], seen });
      }),
      { numRuns: 200, seed: 11 },
    );
  });

  it("context descriptors", () => {
    const one = machine();
    const descriptors: readonly Words[] = [
      makeEmptyCd(),
      makeS1Cd(cdFeatures, 5, TABLES, false),
      makeS1Cd(cdFeatures, 5, OTHER_TABLES, false),
      makeS1Cd(cdFeatures, 77, TABLES, false),
      makeSvaCd(cdFeatures, 6, TABLES, false),
      makeSvaCd(cdFeatures, 6, undefined, false),
    ];
    const ssid0 = makeCdTableSte(
      features,
      { address: CONTEXTS, s1Fmt: S1_FMT.linear, s1CdMax: 1 },
      false,
      true,
      S1_DSS.ssid0,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...descriptors),
        fc.constantFrom(...descriptors),
        fc.constantFrom(0, 1),
        mixes,
        (from, to, ssid, order) => {
          const { bad, ...seen } = play(cdKind, CONTEXTS + ssid * 64, one, from, to, order, ssid0);
          expect({ bad, seen }).toEqual({ bad: [], seen });
        },
      ),
      { numRuns: 200, seed: 12 },
    );
  });

  it("an update that stores words in no order is caught", () => {
    // A kind whose bits may all change at any time: everything is written at once, word by word.
    const everything = (): Words => newWords(8).fill(0xffffffff);
    const blind: EntryKind = { used: everything, safe: everything };
    const from = makeCdTableSte(features, first, false, true, S1_DSS.ssid0);
    const to = makeCdTableSte(features, second, false, true, S1_DSS.bypass);
    expect(play(blind, address, machine(), from, to, [1, 2, 0xfe]).bad).not.toEqual([]);
  });
});
