import { describe, expect, it } from "vitest";
import { ContextEntry } from "../../src/hardware/context-entry.ts";
import { CD_RULE, CD_RULE_TEXT } from "../../src/hardware/context-rules.ts";
import { StreamEntry } from "../../src/hardware/stream-entry.ts";
import { everyFeature } from "../../src/codecs/every-feature.ts";
import { type CdField, encodeCd } from "../../src/layout/context-descriptor.ts";
import type { Identification } from "../../src/layout/id-registers.ts";

const cd = { v: 1, aa64: 1, a: 1, r: 1, t0Sz: 16, epd1: 1, ips: 5, asid: 5, ttb0: 0x40200000 };
const upper = { ...cd, epd1: 0, t1Sz: 16, tg1: 2, ttb1: 0x40300000 };

function streamWith(stallDisabled: boolean): StreamEntry {
  const stream = new StreamEntry();
  stream.stallDisabled = stallDisabled;
  return stream;
}

/** A descriptor, what the SMMU lacks, and the rule that is broken. */
type Case = readonly [string, Readonly<Partial<Record<CdField, number>>>, Partial<Identification>, number];

describe("illegal context descriptors", () => {
  it.each<Case>([
    ["as Linux writes it", cd, {}, 0],
    ["with both halves", upper, {}, 0],
    ["V = 0", { ...cd, v: 0 }, {}, CD_RULE.invalid],
    ["32-bit tables", { ...cd, aa64: 0 }, {}, CD_RULE.format],
    ["S where faults terminate", { ...cd, s: 1 }, { stallModel: 1 }, CD_RULE.stalls],
    ["S clear where faults stall", cd, { stallModel: 2 }, CD_RULE.mustStall],
    ["A clear where termination aborts", { ...cd, a: 0 }, { alwaysAborts: true }, CD_RULE.mustAbort],
    ["A clear otherwise", { ...cd, a: 0 }, {}, 0],
    ["HA without HTTU", { ...cd, ha: 1 }, { httu: 0 }, CD_RULE.accessFlag],
    ["HD with HTTU 1", { ...cd, ha: 1, hd: 1 }, { httu: 1 }, CD_RULE.dirty],
    ["HAFT without HA", { ...cd, haft: 1 }, {}, CD_RULE.tableAccessFlag],
    ["ENDI", { ...cd, endi: 1 }, { ttEndian: 2 }, CD_RULE.endian],
    ["ENDI on a big-endian SMMU", { ...cd, endi: 1 }, { ttEndian: 3 }, 0],
    ["16-bit ASID", { ...cd, asid: 0x100 }, { asidBits: 8 as const }, CD_RULE.asid],
    ["TG0 reserved", { ...cd, tg0: 3 }, {}, CD_RULE.granule],
    ["TG0 reserved, but EPD0", { ...cd, tg0: 3, epd0: 1 }, {}, 0],
    ["TG1 reserved", { ...upper, tg1: 0 }, {}, CD_RULE.granule],
    ["TG0 absent", { ...cd, tg0: 1 }, { granule64K: false }, CD_RULE.granule],
    ["T0SZ 15", { ...cd, t0Sz: 15 }, {}, CD_RULE.input],
    ["T0SZ 12 with 64 KiB and 52 bits", { ...cd, t0Sz: 12, tg0: 1 }, {}, 0],
    ["T0SZ 12 with 64 KiB, 48 bits", { ...cd, t0Sz: 12, tg0: 1 }, { largeInput: false }, CD_RULE.input],
    ["T0SZ 12 with 4 KiB and DS", { ...cd, t0Sz: 12, ds: 1 }, {}, 0],
    ["T0SZ 40 without STT", { ...cd, t0Sz: 40 }, { smallTables: false }, CD_RULE.input],
    ["T0SZ 48 with STT", { ...cd, t0Sz: 48 }, {}, 0],
    ["T0SZ 48 with STT, 64 KiB", { ...cd, t0Sz: 48, tg0: 1 }, {}, CD_RULE.input],
    ["TTB0 beyond IPS", { ...cd, ips: 0, ttb0: 2 ** 33 }, {}, CD_RULE.table],
    ["TTB1 beyond IPS", { ...upper, ips: 0, ttb1: 2 ** 33 }, {}, CD_RULE.table],
  ])("%s", (_what, fields, lacks, rule) => {
    const entry = new ContextEntry();
    entry.take(encodeCd(fields));
    entry.decode({ ...everyFeature, ...lacks }, streamWith(false));
    expect(entry.rule).toBe(rule);
  });

  it("S under S1STALLD", () => {
    const entry = new ContextEntry();
    entry.take(encodeCd({ ...cd, s: 1 }));
    entry.decode(everyFeature, streamWith(true));
    expect(entry.rule).toBe(CD_RULE.stallDisabled);
  });

  it("every rule has its sentence", () => {
    expect(CD_RULE_TEXT).toHaveLength(Object.keys(CD_RULE).length + 1);
  });
});
