import { type Field, type LayoutCodec, type Words, hex, wordCodec } from "@iommu-lab/core";
import { PERMIT_EXECUTE, PERMIT_READ, PERMIT_WRITE, grantedByStage1, grantedByStage2 } from "../hardware/attributes.ts";
import { ContextEntry } from "../hardware/context-entry.ts";
import { IS_LEAF, LEADS_NOWHERE, LEADS_ON, kindOfDescriptor, outputAddress } from "../hardware/descriptor.ts";
import { LIMIT, limitsOf, stage1Permissions } from "../hardware/stage1-permissions.ts";
import { dataAccess, executeOf } from "../hardware/stage2-permissions.ts";
import { LAST_LEVEL } from "../hardware/table-geometry.ts";
import { WORLD } from "../hardware/world.ts";
import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import { decodeNamed, encodeNamed } from "./known-fields.ts";

/** Fields of a descriptor, by the names of stage 1; stage 2 has other meanings for bits 11:2 and 54:53. */
const FIELDS: Readonly<Record<string, Field>> = {
  valid: [0, 0, 0],
  tableOrPage: [0, 1, 1],
  attrIndx: [0, 4, 2],
  ns: [0, 5, 5],
  ap: [0, 7, 6],
  sh: [0, 9, 8],
  af: [0, 10, 10],
  nG: [0, 11, 11],
  address: [0, 47, 12, true],
  addressHigh: [0, 49, 48],
  dbm: [0, 51, 51],
  contiguous: [0, 52, 52],
  pxn: [0, 53, 53],
  uxn: [0, 54, 54],
  software: [0, 58, 55],
  pxnTable: [0, 59, 59],
  uxnTable: [0, 60, 60],
  apTable: [0, 62, 61],
  nsTable: [0, 63, 63],
};

const GRANULE = 12;
const FIRST_BLOCK = 1;

function shown(granted: number): string {
  const letters = [
    [PERMIT_READ, "r"],
    [PERMIT_WRITE, "w"],
    [PERMIT_EXECUTE, "x"],
  ] as const;
  return letters.map(([bit, letter]) => ((granted & bit) === 0 ? "-" : letter)).join("");
}

function leafMeaning(lo: number, hi: number): readonly string[] {
  const dirtiable = (hi & PTE_HIGH.dbm) !== 0;
  const stage1 = stage1Permissions(lo, hi, 0, false, WORLD.nsEl1, new ContextEntry());
  const stage2 = dataAccess(lo, false) | executeOf(hi, true);
  const privileges = [false, true] as const;
  const [user1, privileged1] = privileges.map((one) => shown(grantedByStage1(stage1, one)));
  const [user2, privileged2] = privileges.map((one) => shown(grantedByStage2(stage2, one)));
  return [
    `As a leaf of stage 1: unprivileged ${user1}, privileged ${privileged1}, ${(lo & PTE.notGlobal) === 0 ? "for every ASID" : "for one ASID"}.`,
    `As a leaf of stage 2: unprivileged ${user2}, privileged ${privileged2}.`,
    (lo & PTE.af) === 0
      ? "AF is 0: without updates by hardware an access is F_ACCESS, and no TLB keeps it."
      : "AF is 1: a TLB may keep it.",
    ...(dirtiable ? ["DBM: with updates by hardware (HD) a page without write permission is writable-clean."] : []),
  ];
}

function tableMeaning(hi: number): string {
  const limits = limitsOf(hi);
  const names = (Object.keys(LIMIT) as (keyof typeof LIMIT)[]).filter((name) => (limits & LIMIT[name]) !== 0);
  return names.length === 0
    ? "As a table it takes no permissions away."
    : `As a table of stage 1 it takes away from all below it: ${names.join(", ")} (unless CD.HAD).`;
}

/** The level is not in the descriptor, so both readings are given, of a 4 KiB granule with 48-bit addresses. */
function meaning(words: Words): readonly string[] {
  const [lo = 0, hi = 0] = words;
  const upper = kindOfDescriptor(lo, FIRST_BLOCK, FIRST_BLOCK);
  const last = kindOfDescriptor(lo, LAST_LEVEL, FIRST_BLOCK);
  const address = hex(outputAddress(lo, hi, GRANULE, false));
  if (upper === LEADS_NOWHERE && last === LEADS_NOWHERE) {
    return ["Invalid at every level: F_TRANSLATION."];
  }
  const above =
    upper === LEADS_ON
      ? [`At levels 0 to 2: a table at ${address}.`, tableMeaning(hi)]
      : [`At levels 1 and 2: a block at ${address}; at level 0 invalid.`];
  const below = last === IS_LEAF ? [`At level 3: a page at ${address}.`] : ["At level 3: invalid."];
  return [...above, ...below, ...leafMeaning(lo, hi)];
}

/** Page table descriptors. */
export const pteCodec: LayoutCodec = wordCodec({
  kind: "smmu-pte",
  title: "VMSAv8-64 descriptor",
  source: "Arm ARM D8.3",
  words: [1],
  example: "476f452301000000",
  decode: (words) => decodeNamed(FIELDS, Object.keys(FIELDS), words),
  encode: (fields) => encodeNamed(FIELDS, 1, fields),
  meaning,
});
