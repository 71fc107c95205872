import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ContextEntry } from "../../src/hardware/context-entry.ts";
import { StreamEntry } from "../../src/hardware/stream-entry.ts";
import { everyFeature } from "../../src/codecs/every-feature.ts";
import { decodeCd } from "../../src/layout/context-descriptor.ts";
import { decodeSte } from "../../src/layout/stream-table-entry.ts";

/** Structures that are mostly plausible: valid, translating, and else random. */
const words = fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => new Uint32Array(bytes.buffer.slice(0)));

function flag(value: boolean): number {
  return value ? 1 : 0;
}

test("the hardware reads an STE as the layout has it", () => {
  const entry = new StreamEntry();
  fc.assert(
    fc.property(words, (input) => {
      const fields = decodeSte(input);
      entry.take(input);
      entry.decode(everyFeature, false);
      expect({
        v: flag(entry.valid),
        config: entry.config,
        s1CdMax: entry.s1CdMax,
        s1ContextPtr: entry.contextTable,
        s1Dss: entry.s1Dss,
        ppar: flag(entry.echoesPasid),
        mev: flag(entry.mergesEvents),
        s1StallD: flag(entry.stallDisabled),
        eats: entry.eats,
        strw: entry.strw,
        privCfg: entry.privCfg,
        instCfg: entry.instCfg,
        s2Vmid: entry.vmid,
      }).toEqual(
        pick(fields, [
          "v",
          "config",
          "s1CdMax",
          "s1ContextPtr",
          "s1Dss",
          "ppar",
          "mev",
          "s1StallD",
          "eats",
          "strw",
          "privCfg",
          "instCfg",
          "s2Vmid",
        ]),
      );
      if (entry.stage2) {
        expect({
          s2T0Sz: entry.s2T0Sz,
          s2Aa64: flag(entry.s2Aa64),
          s2Endi: flag(entry.s2BigEndian),
          s2Affd: flag(entry.s2AccessFlagOff),
          s2Ptw: flag(entry.s2ProtectsWalk),
          s2Hd: flag(entry.s2SetsDirty),
          s2Ha: flag(entry.s2SetsAccessFlag),
          s2S: flag(entry.s2Stalls),
          s2R: flag(entry.s2Records),
          s2Ttb: entry.s2Ttb,
        }).toEqual(
          pick(fields, ["s2T0Sz", "s2Aa64", "s2Endi", "s2Affd", "s2Ptw", "s2Hd", "s2Ha", "s2S", "s2R", "s2Ttb"]),
        );
      }
    }),
    { numRuns: 500 },
  );
});

test("the hardware reads a context descriptor as the layout has it", () => {
  const entry = new ContextEntry();
  const stream = new StreamEntry();
  fc.assert(
    fc.property(words, (input) => {
      const fields = decodeCd(input);
      entry.take(input);
      entry.decode(everyFeature, stream);
      expect({
        v: flag(entry.valid),
        endi: flag(entry.bigEndian),
        affd: flag(entry.accessFlagOff),
        wxn: flag(entry.wxn),
        pan: flag(entry.pan),
        aa64: flag(entry.aa64),
        hd: flag(entry.hd),
        ha: flag(entry.setsAccessFlag),
        s: flag(entry.stalls),
        r: flag(entry.records),
        a: flag(entry.aborts),
        aset: entry.aset,
        asid: entry.asid,
        haft: flag(entry.haft),
        epan: flag(entry.epan),
        ttb0: entry.low.ttb,
        t0Sz: entry.low.tSz,
        epd0: flag(!entry.low.enabled),
        epd1: flag(!entry.high.enabled),
        tbi0: flag(entry.low.topByteIgnored),
        mair0: entry.mair0,
        mair1: entry.mair1,
      }).toEqual(
        pick(fields, [
          "v",
          "endi",
          "affd",
          "wxn",
          "pan",
          "aa64",
          "hd",
          "ha",
          "s",
          "r",
          "a",
          "aset",
          "asid",
          "haft",
          "epan",
          "ttb0",
          "t0Sz",
          "epd0",
          "epd1",
          "tbi0",
          "mair0",
          "mair1",
        ]),
      );
      if (entry.high.enabled) {
        expect([entry.high.ttb, entry.high.tSz, flag(entry.high.topByteIgnored)]).toEqual([
          fields.ttb1,
          fields.t1Sz,
          fields.tbi1,
        ]);
      }
    }),
    { numRuns: 500 },
  );
});

function pick<K extends string>(fields: Readonly<Record<K, number>>, names: readonly K[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, fields[name]]));
}
