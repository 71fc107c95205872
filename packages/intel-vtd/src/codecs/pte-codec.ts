import type { LayoutCodec, Words } from "@iommu-lab/core";
import { decodeFields, encodeFields, hex, wordCodec } from "@iommu-lab/core";
import { FirstStageWalk } from "../hardware/first-stage-walk.ts";
import { HeldContext } from "../hardware/held-context.ts";
import { HeldPasid } from "../hardware/held-pasid.ts";
import { PagingCache } from "../hardware/paging-cache.ts";
import { SCALABLE_CODES, SecondStageWalk } from "../hardware/second-stage-walk.ts";
import type { Need } from "../hardware/walk.ts";
import { faultReason } from "../layout/fault-reason.ts";
import { contextOver } from "./judged-tables.ts";

/** Bits by what they are in the first (F) or the second stage (S); what both have is named once. */
const PTE = {
  readOrPresent: [0, 0, 0],
  write: [0, 1, 1],
  user: [0, 2, 2],
  writeThrough: [0, 3, 3],
  cacheDisable: [0, 4, 4],
  accessedFirst: [0, 5, 5],
  dirtyFirst: [0, 6, 6],
  large: [0, 7, 7],
  accessedSecond: [0, 8, 8],
  dirtySecond: [0, 9, 9],
  extendedAccessed: [0, 10, 10],
  snoop: [0, 11, 11],
  address: [0, 51, 12, true],
  high: [0, 63, 52],
} as const;

const TABLE = 0x4000;

interface Walk {
  readonly fault: number;
  readonly target: number;
  readonly write: boolean;
  readonly sizeLog2: number;
}

/** What a user's read and write find where the entry is one of the last level. */
function outcome(stage: string, run: (need: Need) => Walk): string {
  const [read, write] = (["read", "write"] as const).map((need) => {
    const walk = run(need);
    return walk.fault === 0
      ? `reaches ${hex(walk.target * 4096)}`
      : `is refused: ${hex(walk.fault)} ${faultReason(walk.fault).condition}, ${faultReason(walk.fault).meaning}`;
  });
  return `In the last level of the ${stage} stage a read ${read}; a write ${write}.`;
}

function secondStage(words: Words): string {
  return outcome("second", (need) => {
    const root = new HeldContext();
    root.secondStageTable = TABLE;
    root.secondStageLevels = 1;
    root.endPage = 512;
    const walk = new SecondStageWalk(contextOver(TABLE, words), new PagingCache("none"));
    walk.run(SCALABLE_CODES, root, 0, need, false);
    return walk;
  });
}

function firstStage(words: Words): string {
  return outcome("first", (need) => {
    const entry = new HeldPasid();
    entry.firstStageTable = TABLE;
    entry.firstStageLevels = 1;
    entry.walkSnooped = true;
    const context = contextOver(TABLE, words);
    const cache = new PagingCache("none");
    const walk = new FirstStageWalk(context, cache, new SecondStageWalk(context, cache));
    walk.run(entry, 0, 0, need, false, need === "write");
    return walk;
  });
}

/** Entries of page tables. Eight bytes do not say of which stage: the meaning is told for both. */
export const pteCodec: LayoutCodec = wordCodec({
  kind: "vtd-pte",
  title: "Page table entry (first or second stage)",
  source: "VT-d 5.10 §9.7, §9.8",
  words: [1],
  example: "0350341200000000",
  decode: (words) => decodeFields(PTE, words),
  encode: (fields, count) =>
    encodeFields(
      PTE,
      count,
      Object.fromEntries(
        Object.entries(fields).flatMap(([name, value]) => (name in PTE ? [[name, Number(value)] as const] : [])),
      ),
    ),
  meaning: (words) => [secondStage(words), firstStage(words)],
});
