import type { LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { getBit, hex, newWords, wordCodec } from "@iommu-lab/core";
import {
  HOST_LEAF_RESERVED_HI,
  HOST_TABLE_RESERVED_HI,
  NEXT_LEVEL_LEAF,
  NEXT_LEVEL_SIZED,
  codedSizeLog2,
  hostAddress,
  nextLevel,
} from "../layout/host-page-table.ts";
import { readFields, writeFields } from "./field-values.ts";

const LAYOUT = {
  present: [0, 0, 0],
  accessed: [0, 5, 5],
  dirty: [0, 6, 6],
  nextLevel: [0, 11, 9],
  address: [0, 51, 12, true],
  untranslatedOnly: [0, 59, 59],
  forceCoherent: [0, 60, 60],
  read: [0, 61, 61],
  write: [0, 62, 62],
} as const;

const UNITS: readonly string[] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function sizeText(log2: number): string {
  return `${2 ** (log2 % 10)} ${UNITS[Math.floor(log2 / 10)] ?? ""}`;
}

/** What NextLevel and the address make of it. */
function shape(lo: number, hi: number): string {
  const next = nextLevel(lo);
  if (next === NEXT_LEVEL_LEAF) {
    const address = hex(hostAddress(lo, hi));
    return `It maps a page at ${address} of its level's own size: 4 KiB in level 1, 2 MiB in level 2, 1 GiB in level 3.`;
  }
  if (next === NEXT_LEVEL_SIZED) {
    return `It maps a page of ${sizeText(codedSizeLog2(lo, hi))} at ${hex(hostAddress(lo, hi))}, whose size its address codes.`;
  }
  return `It points to a table of level ${next} at ${hex(hostAddress(lo, hi))}; in a table of that level or below it is illegal.`;
}

function meaning(words: Words): readonly string[] {
  const [lo = 0, hi = 0] = words;
  if (!getBit(words, 0)) {
    return ["PR=0: nothing is here; an access is refused with IO_PAGE_FAULT (PR=0)."];
  }
  const next = nextLevel(lo);
  const leaf = next === NEXT_LEVEL_LEAF || next === NEXT_LEVEL_SIZED;
  if ((hi & (leaf ? HOST_LEAF_RESERVED_HI : HOST_TABLE_RESERVED_HI)) !== 0) {
    return [`A reserved bit is set (${leaf ? "58:52" : "60:52"}): an access is refused with IO_PAGE_FAULT (PR, RZ).`];
  }
  const wants = [getBit(words, 61) && "reads", getBit(words, 62) && "writes"].filter((name) => name !== false);
  const rights =
    wants.length === 0
      ? "It allows nothing."
      : `It allows ${wants.join(" and ")} as far as the entries above and the DTE do.`;
  const extra = leaf
    ? [
        ...(getBit(words, 59) ? ["U: devices may not keep its translation for Translated requests."] : []),
        ...(getBit(words, 60) ? ["FC: accesses are coherent whatever the device asks for."] : []),
      ]
    : [];
  return [shape(lo, hi), rights, ...extra];
}

/** Entries of host (v1) page tables. */
export const pteCodec: LayoutCodec = wordCodec({
  kind: "amd-pte",
  title: "AMD-Vi host (v1) page table entry",
  source: "AMD IOMMU specification §2.2.3",
  words: [1],
  example: "017e341200000060",
  decode: (words): WordFields => readFields(LAYOUT, words),
  encode(fields): Words {
    const words = newWords(1);
    writeFields(LAYOUT, words, fields);
    return words;
  },
  meaning,
});
