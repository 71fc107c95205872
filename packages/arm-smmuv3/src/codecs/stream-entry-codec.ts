import { type LayoutCodec, type Words, hex, wordCodec } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { StreamEntry, effectiveEats } from "../hardware/stream-entry.ts";
import { BYPASSES, judgeSubstream } from "../hardware/stream-judge.ts";
import { STE_RULE_TEXT } from "../hardware/stream-rules.ts";
import { eventName } from "../layout/event-record.ts";
import { EATS, STE, STE_CONFIG, STE_WORDS, decodeSte, describeSte } from "../layout/stream-table-entry.ts";
import { everyFeature } from "./every-feature.ts";
import { encodeNamed } from "./known-fields.ts";

/** The entry as the hardware would take it apart. */
function judged(words: Words): StreamEntry {
  const entry = new StreamEntry();
  entry.take(words);
  entry.decode(everyFeature, false);
  return entry;
}

function fate(entry: StreamEntry, pasid: number): string {
  const event = judgeSubstream(entry, everyFeature, pasid);
  if (event === BYPASSES) {
    return entry.stage2 ? "are translated by stage 2 alone" : "pass untranslated";
  }
  if (event !== 0) {
    return `abort: ${eventName(event)}`;
  }
  const descriptor = pasid === NO_PASID ? "context descriptor 0" : "the context descriptor of their PASID";
  return `are translated by ${descriptor}${entry.stage2 ? " and stage 2" : ""}`;
}

const ATS_SENTENCES: Readonly<Record<number, string>> = {
  [EATS.off]:
    "ATS is off: Translation Requests get UR and F_BAD_ATS_TREQ, Translated requests (with ATSCHK) abort with F_TRANSL_FORBIDDEN.",
  [EATS.full]: "ATS is on: Translation Requests get physical addresses, Translated requests pass.",
  [EATS.split]:
    "Split-stage ATS: with ATSCHK Translation Requests get intermediate addresses and stage 2 translates what comes back; without ATSCHK ATS is off.",
};

function meaning(words: Words): readonly string[] {
  const entry = judged(words);
  const first = `${describeSte(words)}.`;
  if (entry.rule !== 0) {
    return [
      first,
      `The SMMU refuses the entry: ${STE_RULE_TEXT[entry.rule] ?? ""}.`,
      "Requests abort with C_BAD_STE, Translation Requests get CA.",
    ];
  }
  if (entry.config < STE_CONFIG.bypass) {
    return [first, "Every request aborts without an event; Translation Requests get UR."];
  }
  const below =
    entry.s1CdMax > 0 && entry.stage1
      ? [`Requests with PASID 0 ${fate(entry, 0)}; with PASID 1 to ${hex(2 ** entry.s1CdMax - 1)} ${fate(entry, 1)}.`]
      : [`Requests with a PASID ${fate(entry, 1)}.`];
  const ats = ATS_SENTENCES[effectiveEats(entry, everyFeature, true)] ?? "";
  return [first, `Requests without PASID ${fate(entry, NO_PASID)}.`, ...below, ats];
}

/** Stream table entries. */
export const steCodec: LayoutCodec = wordCodec({
  kind: "ste",
  title: "SMMUv3 stream table entry",
  source: "SMMUv3 §5.2",
  words: [STE_WORDS],
  example: `0b00028808000030d600001000000000${"00".repeat(48)}`,
  decode: decodeSte,
  encode: (fields) => encodeNamed(STE, STE_WORDS, fields),
  meaning,
});
