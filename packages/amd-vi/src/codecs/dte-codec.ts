import type { LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { hex, wordCodec } from "@iommu-lab/core";
import type { DteContext } from "../hardware/dte-check.ts";
import { dteProblem, hostLevels, interruptProblem } from "../hardware/dte-check.ts";
import { FetchedDte } from "../hardware/fetched-dte.ts";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { EMPTY_DTE, decodeDte, encodeDte } from "../layout/device-table-entry.ts";
import { gcr3Capacity } from "../layout/gcr3-entry.ts";
import { ALL_FEATURES } from "./all-features.ts";

const CONTEXT: DteContext = { features: ALL_FEATURES, guestEnabled: true, cxlAttributes: false, snpActive: false };
const INTERRUPTS: readonly string[] = [
  "Interrupts are refused (INVALID_DEVICE_REQUEST type 5).",
  "Interrupts pass without remapping.",
  "Interrupts are remapped by the table at",
];

function translates(dte: FetchedDte): string[] {
  const rights =
    dte.read && dte.write ? "read and write" : dte.read ? "read only" : dte.write ? "write only" : "do nothing";
  const host =
    dte.mode === 0
      ? "the address stays as it is (Mode 0)"
      : `a ${dte.mode}-level host table at ${hex(dte.hostRoot)} translates`;
  const plain = dte.guestValid && dte.guestIo ? "the guest table of PASID 0 translates" : host;
  const sentences = [`Untranslated requests without PASID: ${plain}; they may ${rights}.`];
  if (dte.guestValid) {
    const nested = dte.mode === 0 ? "" : ", and every guest physical address goes through the host table";
    const capacity = gcr3Capacity(dte.glx);
    const levels = 4 + dte.guestPagingMode;
    sentences.push(
      `Requests with PASID: a ${levels}-level guest table from the GCR3 table at ${hex(dte.gcr3Root)} (${dte.glx + 1} levels, ${capacity} PASIDs) translates${nested}.`,
    );
  } else {
    sentences.push("Requests with PASID are refused with IO_PAGE_FAULT (GV=0).");
  }
  return sentences;
}

function ats(dte: FetchedDte): string {
  if (!dte.valid || !dte.iotlb) {
    const why = dte.valid ? "I=0" : "V=0";
    return `ATS: Translation Requests and Translated requests are refused (${why}).`;
  }
  return dte.translationValid
    ? "ATS: Translation Requests are answered; Translated requests pass without a check (I=1)."
    : "ATS: Translation Requests are refused (TV=0); Translated requests pass without a check (I=1).";
}

function interrupts(words: Words, dte: FetchedDte, interruptTable: number): string {
  if (!dte.interruptValid) {
    return "Interrupts pass without remapping (IV=0).";
  }
  const problem = interruptProblem(words);
  if (problem !== "") {
    return `Interrupts are refused with ILLEGAL_DEV_TABLE_ENTRY: ${problem}.`;
  }
  const sentence = INTERRUPTS[dte.interruptControl] ?? "";
  return dte.interruptControl === 2 ? `${sentence} ${hex(interruptTable)}.` : sentence;
}

/** What a unit does with requests of a device that has this entry, in sentences. */
function dteMeaning(words: Words): string[] {
  const dte = new FetchedDte();
  dte.set(words, 0);
  const last = interrupts(words, dte, decodeDte(words).interruptTable);
  if (!dte.valid) {
    return ["V=0: Untranslated requests pass without translation or check.", ats(dte), last];
  }
  const problem = dteProblem(words, dte, CONTEXT);
  if (problem !== "") {
    return [`Every request is refused with ILLEGAL_DEV_TABLE_ENTRY: ${problem}.`, last];
  }
  if (!dte.translationValid) {
    return ["TV=0: Untranslated requests are refused with IO_PAGE_FAULT (PR=0).", ats(dte), last];
  }
  if (dte.mode > hostLevels(ALL_FEATURES)) {
    return [`Mode ${dte.mode} is more than any unit has: requests are refused.`, last];
  }
  const page = dte.pageRequests ? ["Page requests are taken."] : ["Page requests are refused (PPR=0)."];
  const tag = `Its translations are kept under DomainID ${hex(dte.domainId)}.`;
  return [...translates(dte), ats(dte), ...page, tag, last];
}

/** Device table entries. */
export const dteCodec: LayoutCodec = wordCodec({
  kind: "dte",
  title: "AMD-Vi device table entry",
  source: "AMD IOMMU specification §2.2.2.1",
  words: [4],
  example: "0306000300000060120000000100000000000000000000000000000000000000",
  decode: (words): WordFields => ({ ...decodeDte(words) }),
  encode: (fields) => encodeDte({ ...EMPTY_DTE, ...(fields as Partial<DeviceTableEntry>) }),
  meaning: dteMeaning,
});
