import type { LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { getBit, getBits, hex, newWords, setBits, wordCodec } from "@iommu-lab/core";
import { numberOf, readFields, writeFields } from "./field-values.ts";

const PAGE_SERVICE = 1;

const LAYOUT = {
  deviceId: [0, 15, 0],
  groupIndex: [0, 40, 32],
  last: [0, 41, 41],
  execute: [0, 49, 49],
  read: [0, 50, 50],
  write: [0, 53, 53],
  user: [0, 54, 54],
  reservedBit: [0, 55, 55],
  guest: [0, 56, 56],
  code: [0, 63, 60],
  page: [1, 63, 12],
} as const;

function decode(words: Words): WordFields {
  return { ...readFields(LAYOUT, words), pasid: getBits(words, 45, 42) * 0x10000 + getBits(words, 31, 16) };
}

function encode(fields: WordFields): Words {
  const words = newWords(2);
  writeFields(LAYOUT, words, fields);
  const pasid = numberOf(fields, "pasid");
  setBits(words, 31, 16, pasid);
  setBits(words, 45, 42, pasid >>> 16);
  return words;
}

function meaning(words: Words): readonly string[] {
  if (getBits(words, 63, 60) !== PAGE_SERVICE) {
    return [`Code ${getBits(words, 63, 60)}: no page request.`];
  }
  const wants = [getBit(words, 50) && "read", getBit(words, 53) && "write", getBit(words, 49) && "execute"];
  const rights = wants.filter((name) => name !== false).join(" and ") || "do nothing to";
  const pasid = getBits(words, 45, 42) * 0x10000 + getBits(words, 31, 16);
  const who = getBit(words, 56) ? `, PASID ${pasid},` : "";
  const page = `0x${(BigInt(getBits(words, 127, 76)) << 12n).toString(16)}`;
  const group = getBits(words, 40, 32);
  const answer = getBit(words, 41)
    ? `It is the last of group ${group}: the device waits for COMPLETE_PPR_REQUEST with this tag.`
    : `More of group ${group} follow; it is not answered by itself.`;
  return [`Device ${hex(getBits(words, 15, 0))}${who} wants to ${rights} page ${page}.`, answer];
}

/** Page requests in the PPR log. */
export const pprCodec: LayoutCodec = wordCodec({
  kind: "amd-ppr",
  title: "AMD-Vi PPR log entry",
  source: "AMD IOMMU specification §2.6",
  words: [2],
  example: "003a120005026411000000f007000000",
  decode,
  encode,
  meaning,
});
