import type { LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { hex, newWords, wordCodec } from "@iommu-lab/core";
import type { ContextEntry } from "../layout/context-entry.ts";
import {
  TT_DEVICE_TLB,
  TT_PASS_THROUGH,
  decodeContextEntry,
  describeContextEntry,
  encodeContextEntry,
} from "../layout/context-entry.ts";
import type { PasidDirectoryEntry } from "../layout/pasid-entry.ts";
import {
  EMPTY_PASID_ENTRY,
  PGTT_FIRST_STAGE,
  PGTT_NESTED,
  PGTT_PASS_THROUGH,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  describePasidDirectoryEntry,
  describePasidEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
} from "../layout/pasid-entry.ts";
import type { ScalableRootEntry } from "../layout/root-entry.ts";
import { decodeScalableRootEntry, describeRootEntry, encodeScalableRootEntry } from "../layout/root-entry.ts";
import type { ScalableContextEntry } from "../layout/scalable-context-entry.ts";
import {
  decodeScalableContext,
  describeScalableContext,
  encodeScalableContext,
} from "../layout/scalable-context-entry.ts";
import {
  faultSentence,
  judgeContextEntry,
  judgePasidDirectoryEntry,
  judgePasidEntry,
  judgeScalableContextEntry,
} from "./judged-tables.ts";

/** The fields of an entry in its own type; what is absent is that of `empty`. */
function entryOf<T extends object>(empty: T, fields: WordFields): T {
  return { ...empty, ...fields };
}

const emptyRoot: ScalableRootEntry = decodeScalableRootEntry(newWords(2));
const emptyContext: ContextEntry = decodeContextEntry(newWords(2));
const emptyScalable: ScalableContextEntry = decodeScalableContext(newWords(4));
const emptyDirectory: PasidDirectoryEntry = decodePasidDirectoryEntry(newWords(1));

/** Root entries of both modes: in legacy mode the lower half alone is used. */
const rootCodec: LayoutCodec = wordCodec({
  kind: "vtd-root",
  title: "Root entry (legacy or scalable mode)",
  source: "VT-d 5.10 §9.1, §9.2",
  words: [2],
  example: "01300001000000000140000100000000",
  decode: (words) => ({ ...decodeScalableRootEntry(words) }),
  encode: (fields) => encodeScalableRootEntry(entryOf(emptyRoot, fields)),
  meaning(words) {
    const entry = decodeScalableRootEntry(words);
    const upper = entry.highPresent || entry.highTable !== 0;
    return [
      `Scalable mode: ${describeRootEntry(words, true)}. A half that is not present refuses its devices: fault 0x39 SRT.2.`,
      upper
        ? "Legacy mode: the upper qword is reserved and not zero: fault 0xa LRT.3 for the whole bus."
        : `Legacy mode: ${describeRootEntry(words, false)}${entry.lowPresent ? "" : ": fault 0x1 LRT.2 for the whole bus"}.`,
    ];
  },
});

/** Context entries: 16 bytes in legacy mode, 32 in scalable mode. */
const contextCodec: LayoutCodec = wordCodec({
  kind: "vtd-context",
  title: "Context entry (16 bytes legacy, 32 bytes scalable mode)",
  source: "VT-d 5.10 §9.3, §9.4",
  words: [2, 4],
  example: "1d0e01010000000000000000000000000000000000000000000000000000000000000000".slice(0, 64),
  decode: (words) => (words.length === 4 ? { ...decodeContextEntry(words) } : { ...decodeScalableContext(words) }),
  encode: (fields, count) =>
    count === 4 || Object.keys(fields).some((name) => name in emptyScalable && !(name in emptyContext))
      ? encodeScalableContext(entryOf(emptyScalable, fields))
      : encodeContextEntry(entryOf(emptyContext, fields)),
  meaning: (words) => (words.length === 4 ? legacyMeaning(words) : scalableMeaning(words)),
});

function legacyMeaning(words: Words): readonly string[] {
  const judgement = judgeContextEntry(words);
  const { faultDisable, translationType } = decodeContextEntry(words);
  const first = `${describeContextEntry(words)}.`;
  if (judgement.fault !== undefined) {
    return [first, faultSentence("Every request is refused", judgement.fault, faultDisable)];
  }
  return [first, ...legacyFate(translationType)];
}

function legacyFate(translationType: number): readonly string[] {
  const withPasid = "Requests with a PASID are refused in legacy mode: fault 0x31 RTA.2.";
  switch (translationType) {
    case TT_DEVICE_TLB:
      return [
        "Untranslated requests walk the second stage.",
        "Translation Requests get what the second stage permits; Translated requests pass without any look-up.",
        withPasid,
      ];
    case TT_PASS_THROUGH:
      return [
        "Untranslated requests pass unchanged.",
        "Translation Requests and Translated requests are refused with UR: fault 0xd LCT.5.",
        withPasid,
      ];
    default:
      return [
        "Untranslated requests walk the second stage.",
        "Translation Requests and Translated requests are refused with UR: fault 0xd LCT.5.",
        withPasid,
      ];
  }
}

function scalableMeaning(words: Words): readonly string[] {
  const judgement = judgeScalableContextEntry(words);
  const { faultDisable } = decodeScalableContext(words);
  const first = `${describeScalableContext(words)}.`;
  if (judgement.fault !== undefined) {
    return [first, faultSentence("Every request is refused", judgement.fault, faultDisable)];
  }
  const { entry } = judgement;
  return [
    first,
    `Requests without PASID use the entry of PASID ${entry.ridPasid}.`,
    entry.pasidEnable
      ? `Requests may carry PASIDs below ${hex(entry.directoryEnd)}, but not ${entry.ridPasid}.`
      : "Requests with a PASID are refused with UR: fault 0x45 SCT.6.",
    entry.deviceTlbEnable
      ? `Translation Requests are served; Translated requests ${entry.permissionTableEnable ? "need a host permission" : "pass, whatever the PASID entries hold"}${entry.translatedPasidEnable ? ", also with a PASID" : ""}.`
      : "Translation Requests and Translated requests are refused with UR: fault 0x44 SCT.5.",
    entry.pageRequestEnable ? "Page Requests are queued." : "Page Requests are answered with Invalid Request.",
  ];
}

/** PASID entries of 64 bytes, and entries of the PASID directory of 8 bytes. */
const pasidCodec: LayoutCodec = wordCodec({
  kind: "vtd-pasid",
  title: "PASID table entry (64 bytes) or PASID directory entry (8 bytes)",
  source: "VT-d 5.10 §9.5, §9.6",
  words: [8, 1],
  example: "49000000000000000500800000000000000000020000000000000000000000000000000000000000".padEnd(128, "0"),
  decode: (words) => (words.length === 2 ? { ...decodePasidDirectoryEntry(words) } : { ...decodePasidEntry(words) }),
  encode: (fields, count) =>
    count === 1 || "table" in fields
      ? encodePasidDirectoryEntry(entryOf(emptyDirectory, fields))
      : encodePasidEntry(entryOf(EMPTY_PASID_ENTRY, fields)),
  meaning: (words) => (words.length === 2 ? directoryMeaning(words) : pasidMeaning(words)),
});

function directoryMeaning(words: Words): readonly string[] {
  const fault = judgePasidDirectoryEntry(words);
  const first = `${describePasidDirectoryEntry(words)}.`;
  const { faultDisable } = decodePasidDirectoryEntry(words);
  return fault === undefined
    ? [first, "The 64 PASIDs of this entry have their entries in that table."]
    : [first, faultSentence("Requests that use one of its 64 PASIDs are refused", fault, faultDisable), translated];
}

const translated =
  "Translated requests do not look at it: with DTE=1 in the context entry (and HPTE=0) they pass all the same.";

function pasidMeaning(words: Words): readonly string[] {
  const judgement = judgePasidEntry(words);
  const first = `${describePasidEntry(words)}.`;
  const { faultDisable } = decodePasidEntry(words);
  if (judgement.fault !== undefined) {
    return [
      first,
      faultSentence("Requests that use this PASID are refused", judgement.fault, faultDisable),
      translated,
    ];
  }
  const { entry } = judgement;
  return [first, pasidFate(entry.translationType, entry.firstStageLevels, entry.secondStageLevels), translated];
}

function pasidFate(type: number, first: number, second: number): string {
  switch (type) {
    case PGTT_FIRST_STAGE:
      return `Requests walk ${first}-level first-stage (x86-64) tables at host addresses.`;
    case PGTT_NESTED:
      return `Requests walk ${first}-level first-stage tables at guest addresses; each of these, and the result, passes ${second}-level second-stage tables.`;
    case PGTT_PASS_THROUGH:
      return "Requests pass unchanged; Translation Requests get identity translations of the largest page size.";
    default:
      return `Requests walk ${second}-level second-stage tables.`;
  }
}

/** Codecs of root, context and PASID entries. */
export const entryCodecs: readonly LayoutCodec[] = [rootCodec, contextCodec, pasidCodec];
