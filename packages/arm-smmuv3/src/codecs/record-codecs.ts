import { type LayoutCodec, type WordFields, type Words, getField, wordCodec } from "@iommu-lab/core";
import { isTranslationFault } from "../hardware/answers.ts";
import { EVENT, EVENT_CLASS, EVENT_RECORD, describeEvent } from "../layout/event-record.ts";
import { PAGE_REQUEST } from "../layout/page-request-record.ts";
import { decodeNamed, encodeNamed } from "./known-fields.ts";

const SUBSTREAM = ["ssv", "ssid"];
const ACCESS = ["pnu", "ind", "rnw", "s2", "class"];
const INPUT = ["inputOffset", "inputPage"];

/** Fields besides `id` and `sid`. Source: SMMUv3 §7.3. */
const FIELDS: ReadonlyMap<number, readonly string[]> = new Map([
  [EVENT.F_STE_FETCH, [...SUBSTREAM, "fetchAddress"]],
  [EVENT.F_CD_FETCH, [...SUBSTREAM, "fetchAddress"]],
  [EVENT.F_VMS_FETCH, [...SUBSTREAM, "fetchAddress"]],
  [EVENT.F_BAD_ATS_TREQ, [...SUBSTREAM, ...INPUT]],
  [EVENT.F_STREAM_DISABLED, []],
  [EVENT.F_TRANSL_FORBIDDEN, ["rnw", ...INPUT]],
  [EVENT.C_BAD_SUBSTREAMID, ["ssid"]],
  [EVENT.F_WALK_EABT, [...SUBSTREAM, ...ACCESS, ...INPUT, "fetchAddress"]],
]);
const TRANSLATION = [...SUBSTREAM, "stag", "stall", ...ACCESS, "nsIpa", "ttRnw", ...INPUT, "ipa"];

function decodeEvent(words: Words): WordFields {
  const id = getField(words, EVENT_RECORD.id);
  const names = isTranslationFault(id) ? TRANSLATION : (FIELDS.get(id) ?? SUBSTREAM);
  return decodeNamed(EVENT_RECORD, ["id", "sid", ...names], words);
}

const TRANSLATED: Readonly<Record<number, string>> = {
  [EVENT_CLASS.cd]: "the address of a context descriptor",
  [EVENT_CLASS.tt]: "the address of a page table of stage 1",
  [EVENT_CLASS.in]: "the address of the transaction",
};

/** What the SMMU did with the transaction. */
function eventMeaning(words: Words): readonly string[] {
  const id = getField(words, EVENT_RECORD.id);
  const first = `${describeEvent(words)}.`;
  if (!isTranslationFault(id)) {
    return [first, "The transaction was terminated with abort; a Translation Request got UR or CA."];
  }
  const what = TRANSLATED[getField(words, EVENT_RECORD.class)] ?? "a reserved CLASS";
  const fate =
    getField(words, EVENT_RECORD.stall) === 1
      ? `The transaction waits: RESUME with STAG ${getField(words, EVENT_RECORD.stag)}, or STALL_TERM, decides.`
      : "The transaction was terminated.";
  return [first, `Stage ${getField(words, EVENT_RECORD.s2) + 1} could not translate ${what}.`, fate];
}

/** Event records. */
export const eventCodec: LayoutCodec = wordCodec({
  kind: "smmu-event",
  title: "SMMUv3 event record",
  source: "SMMUv3 §7.3",
  words: [4],
  example: `10000000000100000000000008020000${"0010".padEnd(16, "0")}${"00".repeat(8)}`,
  decode: decodeEvent,
  encode: (fields) => encodeNamed(EVENT_RECORD, 4, fields),
  meaning: eventMeaning,
});

function priMeaning(words: Words): readonly string[] {
  const flag = (name: keyof typeof PAGE_REQUEST): boolean => getField(words, PAGE_REQUEST[name]) === 1;
  const who = `Function with StreamID 0x${getField(words, PAGE_REQUEST.sid).toString(16)}`;
  const pasid = flag("ssv") ? `, PASID ${getField(words, PAGE_REQUEST.ssid)}` : "";
  if (flag("last") && flag("ssv") && !flag("read") && !flag("write")) {
    return [`${who}${pasid}: stop marker.`, "It ends the PASID's page requests and gets no response."];
  }
  const wants = (["read", "write", "exec", "priv"] as const).filter(flag).join(", ") || "nothing";
  const page = getField(words, PAGE_REQUEST.page).toString(16);
  const group = `group ${getField(words, PAGE_REQUEST.prgIndex)}`;
  return [
    `${who}${pasid} asks for page 0x${page} (${wants}), ${group}.`,
    flag("last") ? "The last of its group: software answers with PRI_RESP." : "More of its group follow.",
  ];
}

/** Page request records. */
export const priCodec: LayoutCodec = wordCodec({
  kind: "smmu-pri",
  title: "SMMUv3 page request record",
  source: "SMMUv3 §8.1",
  words: [2],
  example: "00010000050000f003100000007f0000",
  decode: (words) => decodeNamed(PAGE_REQUEST, Object.keys(PAGE_REQUEST), words),
  encode: (fields) => encodeNamed(PAGE_REQUEST, 2, fields),
  meaning: priMeaning,
});
