import { type Words, getField, newWords, sameWords, setField } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cdKind, makeS1Cd, makeSvaCd } from "../../src/driver/context-descriptor.ts";
import { type EntryKind, updateSteps } from "../../src/driver/entry-update.ts";
import { makeAbortSte, makeBypassSte, makeCdTableSte, steKind } from "../../src/driver/stream-entry.ts";
import { CD } from "../../src/layout/context-descriptor.ts";
import { EATS, S1_DSS, S1_FMT, STE, STE_CONFIG, encodeSte } from "../../src/layout/stream-table-entry.ts";

const features = { attributeTypesOverride: true, stalls: true, e2h: false };
const cdFeatures = { stallForced: false, setsAccessFlag: false, setsDirty: false, oas: 48 };
const tableA = { address: 0xf0f0f0f0f0c0, s1Fmt: S1_FMT.leaves64K, s1CdMax: 31 };
const tableB = { address: 0x4b4b4b4b40, s1Fmt: S1_FMT.leaves64K, s1CdMax: 31 };

const abort = makeAbortSte();
const bypass = makeBypassSte(features);
const ssid0 = makeCdTableSte(features, tableA, false, true, S1_DSS.ssid0);
const dssBypass = makeCdTableSte(features, tableA, false, true, S1_DSS.bypass);
const otherTable = makeCdTableSte(features, tableB, false, true, S1_DSS.bypass);
const stalling = makeCdTableSte(features, tableA, true, false, S1_DSS.ssid0);

function stage2(ats: boolean, stalls: boolean): Words {
  return encodeSte({
    v: 1,
    config: STE_CONFIG.stage2,
    eats: ats ? EATS.full : 0,
    shCfg: 1,
    s2T0Sz: 4,
    s2Sl0: 3,
    s2Ir0: 2,
    s2Or0: 1,
    s2Sh0: 3,
    s2Tg: 2,
    s2Ps: 1,
    s2Aa64: 1,
    s2Ptw: 1,
    s2S: stalls ? 1 : 0,
    s2R: 1,
    s2Ttb: 0xdbeefdeadbee0,
  });
}

/** The guest's part over the stage-2 part, without stalls. */
function nested(): Words {
  const words = dssBypass.slice();
  setField(words, STE.config, STE_CONFIG.nested);
  setField(words, STE.mev, 1);
  words.set(stage2(true, false).slice(4), 4);
  return words;
}

const cd778 = makeS1Cd(cdFeatures, 778, 0xdbeefdeadb000, false);
const cd1997 = makeS1Cd(cdFeatures, 1997, 0xdbeefdeadb000, false);
const sva = makeSvaCd(cdFeatures, 1997, 0xdbeefdeadb000, false);
const svaGone = makeSvaCd(cdFeatures, 1997, undefined, false);
const empty = newWords(8);

interface Walked {
  readonly syncs: number;
  readonly hitless: boolean;
}

function differs(entry: Words, used: Words, target: Words, safe: Words | undefined): boolean {
  return entry.some((word, index) => {
    const mask = (used[index] ?? 0) & ~(safe?.[index] ?? 0);
    return ((word ^ (target[index] ?? 0)) & mask) !== 0;
  });
}

/** Plays the steps; after each sync a hitless update must look like the old or the new entry. */
function walk(kind: EntryKind, from: Words, to: Words): Walked {
  const entry = from.slice();
  let syncs = 0;
  let hitless = true;
  const seen: Words[] = [];
  for (const { words, first, count } of updateSteps(kind, from, to)) {
    let changed = false;
    for (let index = first * 2; index < (first + count) * 2; index += 1) {
      changed ||= entry[index] !== words[index];
      entry[index] = words[index] ?? 0;
    }
    if (changed) {
      syncs += 1;
      seen.push(entry.slice());
      const valid = getField(entry, kind === steKind ? STE.v : CD.v) === 1;
      hitless &&= valid;
    }
  }
  expect(sameWords(entry, to)).toBe(true);
  if (hitless) {
    for (const state of seen) {
      const used = kind.used(state);
      const asOld = !differs(state, used, from, kind.safe?.(state, from));
      const asNew = !differs(state, used, to, kind.safe?.(state, to));
      expect(asOld || asNew).toBe(true);
    }
  }
  return { syncs, hitless };
}

describe("stream table entries", () => {
  it.each([
    ["bypass → abort", bypass, abort, 2, true],
    ["abort → bypass", abort, bypass, 2, true],
    ["table SSID0 → abort", ssid0, abort, 2, true],
    ["abort → table SSID0", abort, ssid0, 2, true],
    ["table SSID0 → bypass", ssid0, bypass, 3, true],
    ["bypass → table SSID0", bypass, ssid0, 3, true],
    ["S1DSS SSID0 → bypass", ssid0, dssBypass, 1, true],
    ["S1DSS bypass → SSID0", dssBypass, ssid0, 1, true],
    ["table S1DSS bypass → bypass", dssBypass, bypass, 2, true],
    ["bypass → table S1DSS bypass", bypass, dssBypass, 2, true],
    ["stage 2 → abort", stage2(true, false), abort, 2, true],
    ["abort → stage 2", abort, stage2(true, false), 2, true],
    ["stage 2 → bypass", stage2(true, false), bypass, 2, true],
    ["bypass → stage 2", bypass, stage2(true, false), 2, true],
    ["stage 1 → stage 2", ssid0, stage2(true, false), 3, true],
    ["stage 2 → stage 1", stage2(true, false), ssid0, 3, true],
    ["stage 1 stalling → stage 2 stalling", stalling, stage2(false, true), 3, true],
    ["stage 2 stalling → stage 1 stalling", stage2(false, true), stalling, 3, true],
    ["nested → stage 2 without ATS", nested(), stage2(false, false), 3, true],
    ["stage 2 without ATS → nested", stage2(false, false), nested(), 2, true],
    ["another table and S1DSS at once", ssid0, otherTable, 3, false],
    ["the same again", ssid0, ssid0, 0, true],
  ])("%s", (_what, from, to, syncs, hitless) => {
    expect(walk(steKind, from, to)).toEqual({ syncs, hitless });
  });

  it.each([
    ["abort", "bypass", 1, 1],
    ["table", "bypass", 2, 2],
    ["table with ATS", "bypass", 2, 2],
    ["table", "abort", 2, 2],
    ["table with ATS", "abort", 2, 2],
    ["table", "dssBypass", 1, 1],
    ["table with ATS", "dssBypass", 1, 1],
  ] as const)("without attribute override: %s ↔ %s, as measured", (one, other, there, back) => {
    const plain = { attributeTypesOverride: false, stalls: false, e2h: false };
    const entries = {
      abort,
      bypass: makeBypassSte(plain),
      table: makeCdTableSte(plain, tableA, false, false, S1_DSS.ssid0),
      "table with ATS": makeCdTableSte(plain, tableA, false, true, S1_DSS.ssid0),
      dssBypass: makeCdTableSte(plain, tableA, false, true, S1_DSS.bypass),
    };
    expect(walk(steKind, entries[one], entries[other])).toEqual({ syncs: there, hitless: true });
    expect(walk(steKind, entries[other], entries[one])).toEqual({ syncs: back, hitless: true });
  });

  it("arrive at any entry from any entry, with at most three syncs", () => {
    const entries = [
      abort,
      bypass,
      ssid0,
      dssBypass,
      otherTable,
      stalling,
      stage2(true, false),
      stage2(false, true),
      nested(),
      empty,
    ];
    fc.assert(
      fc.property(fc.constantFrom(...entries), fc.constantFrom(...entries), (from, to) => {
        expect(walk(steKind, from, to).syncs).toBeLessThanOrEqual(3);
      }),
    );
  });

  it("turns full ATS off without an invalid moment, unless stalls or split stages are involved", () => {
    const off = ssid0.slice();
    setField(off, STE.eats, EATS.off);
    expect(walk(steKind, ssid0, off)).toEqual({ syncs: 1, hitless: true });
    expect(steKind.safe?.(ssid0, off)[2]).toBe(0x10080000);
    expect(steKind.safe?.(stage2(true, true), stage2(false, true))[2]).toBe(0x00080000);
  });
});

describe("context descriptors", () => {
  it.each([
    ["empty → stage 1", empty, cd1997, 2, false],
    ["stage 1 → empty", cd1997, empty, 2, false],
    ["another ASID", cd778, cd1997, 1, true],
    ["and back", cd1997, cd778, 1, true],
    ["empty → SVA", empty, sva, 2, false],
    ["SVA → empty", sva, empty, 2, false],
    ["SVA → process gone", sva, svaGone, 2, true],
    ["process gone → SVA", svaGone, sva, 2, true],
  ])("%s", (_what, from, to, syncs, hitless) => {
    const walked = walk(cdKind, from, to);
    expect(walked.syncs).toBe(syncs);
    // Going from or to an invalid entry, there is nothing to keep up.
    expect(walked.hitless).toBe(hitless);
  });

  it("another table and ASID at once: invalid in between", () => {
    const other = makeS1Cd(cdFeatures, 5, 0x40000000, false);
    expect(walk(cdKind, cd778, other)).toEqual({ syncs: 3, hitless: false });
  });
});
