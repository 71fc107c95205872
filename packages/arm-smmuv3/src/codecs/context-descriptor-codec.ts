import { type LayoutCodec, type Words, hex, wordCodec } from "@iommu-lab/core";
import { ContextEntry, type TableRange } from "../hardware/context-entry.ts";
import { CD_RULE_TEXT } from "../hardware/context-rules.ts";
import { StreamEntry } from "../hardware/stream-entry.ts";
import { CD, CD_WORDS, decodeCd, describeCd } from "../layout/context-descriptor.ts";
import { everyFeature } from "./every-feature.ts";
import { encodeNamed } from "./known-fields.ts";

/** The descriptor as the hardware would take it apart, for a stream of stage 1 at EL1. */
function judged(words: Words): ContextEntry {
  const entry = new ContextEntry();
  entry.take(words);
  entry.decode(everyFeature, new StreamEntry());
  return entry;
}

function range(name: string, half: TableRange): string {
  return half.enabled
    ? `The ${name} half has ${64 - half.tSz} bits: ${2 ** (half.granule - 10)} KiB granule, from level ${half.startLevel} at ${hex(half.table)}.`
    : `Every access to the ${name} half is F_TRANSLATION (EPD).`;
}

function faults(entry: ContextEntry): string {
  const fate = entry.stalls ? "stall" : entry.aborts ? "abort" : "end silently (reads give zero, writes are ignored)";
  return `Translation faults ${fate}, and are ${entry.records ? "" : "not "}recorded.`;
}

function flags(entry: ContextEntry): string {
  if (entry.setsDirty) {
    return "The SMMU sets the access flag and the dirty state of pages.";
  }
  if (entry.setsAccessFlag) {
    return "The SMMU sets the access flag of pages.";
  }
  return entry.accessFlagOff ? "The access flag does not matter." : "A page without access flag is F_ACCESS.";
}

function meaning(words: Words): readonly string[] {
  const entry = judged(words);
  const first = `${describeCd(words).trim()}.`;
  if (entry.rule !== 0) {
    return [
      first,
      `The SMMU refuses the descriptor: ${CD_RULE_TEXT[entry.rule] ?? ""}.`,
      "Requests abort with C_BAD_CD, Translation Requests get CA.",
    ];
  }
  return [first, range("lower", entry.low), range("upper", entry.high), flags(entry), faults(entry)];
}

/** Context descriptors. */
export const cdCodec: LayoutCodec = wordCodec({
  kind: "cd",
  title: "SMMUv3 context descriptor",
  source: "SMMUv3 §5.4",
  words: [CD_WORDS],
  example: `103500c005e205000000208008000000${"00".repeat(8)}44ff04f4ffffffff${"00".repeat(32)}`,
  decode: decodeCd,
  encode: (fields) => encodeNamed(CD, CD_WORDS, fields),
  meaning,
});
