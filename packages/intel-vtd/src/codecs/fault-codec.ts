import type { LayoutCodec, Words } from "@iommu-lab/core";
import { hex, wordCodec } from "@iommu-lab/core";
import { NO_PASID, formatRid } from "@iommu-lab/pci";
import { FAULT_REASONS } from "../layout/fault-reason.ts";
import type { FaultAccess } from "../layout/fault-record.ts";
import { decodeFaultRecord, encodeFaultRecord } from "../layout/fault-record.ts";

const accesses: readonly FaultAccess[] = ["write", "page-request", "read", "atomic"];
const kinds = ["Untranslated", "Translation Request", "Translated", "reserved type"];

/** Fault recording registers. */
export const faultCodec: LayoutCodec = wordCodec({
  kind: "vtd-fault",
  title: "Fault recording register",
  source: "VT-d 5.10 §11.4.7.7",
  words: [2],
  example: "00b0adde00000000003a0000590000c0",
  decode(words) {
    const { page, pasid, ...record } = decodeFaultRecord(words);
    return {
      ...record,
      address: page * 4096,
      pasidPresent: pasid !== NO_PASID,
      pasid: pasid === NO_PASID ? 0 : pasid,
    };
  },
  encode(fields) {
    const access = accesses.find((one) => one === fields["access"]) ?? "write";
    return encodeFaultRecord({
      valid: fields["valid"] === true,
      page: Math.floor(Number(fields["address"] ?? 0) / 4096),
      sourceId: Number(fields["sourceId"] ?? 0),
      reason: Number(fields["reason"] ?? 0),
      pasid: fields["pasidPresent"] === true ? Number(fields["pasid"] ?? 0) : NO_PASID,
      privileged: fields["privileged"] === true,
      execute: fields["execute"] === true,
      addressType: Number(fields["addressType"] ?? 0),
      access,
    });
  },
  meaning: describe,
});

function describe(words: Words): readonly string[] {
  const record = decodeFaultRecord(words);
  const reason = FAULT_REASONS.get(record.reason);
  const pasid = record.pasid === NO_PASID ? "" : ` with PASID ${record.pasid}`;
  const what = record.access === "page-request" ? "page request" : `${kinds[record.addressType]} ${record.access}`;
  const place = hex(record.page * 4096);
  const first = record.valid ? "" : "The record is free (F=0); what is left in it: ";
  return [
    `${first}${formatRid(record.sourceId)}${pasid}: ${what} to ${place}.`,
    reason === undefined
      ? `Fault reason ${hex(record.reason)} is none that the specification lists.`
      : `Fault reason ${hex(record.reason)} (${reason.condition}): ${reason.meaning}; ${reason.qualified ? "FPD=1 on the way would have kept it silent" : "recorded whatever FPD says"}.`,
  ];
}
