import type { Field, Layout, LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { InputError, decodeFields, encodeFields, newWords, setBits, wordCodec } from "@iommu-lab/core";
import { checkDescriptor } from "../hardware/descriptor-check.ts";
import { describeDescriptor, descriptorName, descriptorType } from "../layout/descriptor-text.ts";
import {
  CC_INV,
  DEV_TLB_INV,
  HPT_INV,
  IEC_INV,
  INV_WAIT,
  IOTLB_INV,
  PAGE_GRP_RESP,
  PC_INV,
  P_DEV_TLB_INV,
  P_IOTLB_INV,
} from "../layout/descriptor.ts";
import { QUEUE_ERROR, TTM_LEGACY, TTM_SCALABLE } from "../layout/registers.ts";
import { FULL_CAPABILITIES } from "./judged-tables.ts";

const granularity: Field = [0, 5, 4];
const domainId: Field = [0, 31, 16];
const pasid: Field = [0, 51, 32];
const pages: Layout<"order" | "leafOnly" | "address"> = {
  order: [1, 5, 0],
  leafOnly: [1, 6, 6],
  address: [1, 63, 12, true],
};

/** The fields of each type. Source: VT-d 5.10 §6.5.2. */
const LAYOUTS: Readonly<Record<number, Layout<string>>> = {
  [CC_INV]: { granularity, domainId, sourceId: [0, 47, 32], functionMask: [0, 49, 48] },
  [IOTLB_INV]: { granularity, drainWrites: [0, 6, 6], drainReads: [0, 7, 7], domainId, ...pages },
  [DEV_TLB_INV]: {
    maxPending: [0, 20, 16],
    sourceId: [0, 47, 32],
    physicalFunctionLow: [0, 15, 12],
    physicalFunctionHigh: [0, 63, 52],
    size: [1, 0, 0],
    address: [1, 63, 12, true],
  },
  [IEC_INV]: { granularity: [0, 4, 4], indexMask: [0, 31, 27], index: [0, 47, 32] },
  [INV_WAIT]: {
    interrupt: [0, 4, 4],
    statusWrite: [0, 5, 5],
    fence: [0, 6, 6],
    drain: [0, 7, 7],
    statusData: [0, 63, 32],
    statusAddress: [1, 51, 2, true],
  },
  [P_IOTLB_INV]: { granularity, domainId, pasid, ...pages },
  [PC_INV]: { granularity, domainId, pasid },
  [P_DEV_TLB_INV]: {
    maxPending: [0, 8, 4],
    sourceId: [0, 31, 16],
    pasid,
    physicalFunctionLow: [0, 15, 12],
    physicalFunctionHigh: [0, 63, 52],
    global: [1, 0, 0],
    size: [1, 11, 11],
    address: [1, 63, 12, true],
  },
  [PAGE_GRP_RESP]: {
    pasidPresent: [0, 4, 4],
    code: [0, 15, 12],
    sourceId: [0, 31, 16],
    pasid,
    groupIndex: [1, 11, 3],
  },
  [HPT_INV]: {
    granularity,
    permissionDomainId: domainId,
    order: [1, 5, 0],
    levels: [1, 7, 6],
    address: [1, 63, 12, true],
  },
};

const typeNames: Readonly<Record<string, number>> = Object.fromEntries(
  Object.keys(LAYOUTS).map((type) => [descriptorName(Number(type)), Number(type)]),
);

/** Invalidation queue descriptors of 16 or 32 bytes. */
export const descriptorCodec: LayoutCodec = wordCodec({
  kind: "vtd-qi",
  title: "Invalidation queue descriptor (16 or 32 bytes)",
  source: "VT-d 5.10 §6.5.2",
  words: [2, 4],
  example: "25000000020000000030000000000000",
  decode(words) {
    const type = descriptorType(words);
    const layout = LAYOUTS[type];
    return layout === undefined ? { type } : { type: descriptorName(type), ...decodeFields(layout, words) };
  },
  encode(fields, count) {
    const type = typeOf(fields);
    const layout = LAYOUTS[type] ?? {};
    const own = Object.fromEntries(
      Object.entries(fields).flatMap(([name, value]) => (name in layout ? [[name, Number(value)] as const] : [])),
    );
    const words = encodeFields(layout, count, own);
    setBits(words, 3, 0, type % 16);
    setBits(words, 11, 9, type >= 16 ? Math.floor(type / 16) : 0);
    return words;
  },
  meaning: describe,
});

function typeOf({ type }: WordFields): number {
  const known = typeof type === "string" ? typeNames[type] : type;
  if (typeof known !== "number") {
    throw new InputError(
      `vtd-qi: type is ${JSON.stringify(type)}, expected one of ${Object.keys(typeNames).join(", ")} or a number`,
    );
  }
  return known;
}

const errorNames = new Map<number, string>(Object.entries(QUEUE_ERROR).map(([name, code]) => [code, name]));

function describe(words: Words): readonly string[] {
  const wide = words.length === 8;
  const judgements = [verdict(words, TTM_LEGACY, "legacy mode")];
  if (wide) {
    judgements.push(verdict(words, TTM_SCALABLE, "scalable mode"));
  } else {
    const padded = newWords(4);
    padded.set(words);
    judgements.push(`${verdict(padded, TTM_SCALABLE, "scalable mode")} It needs 32 bytes there.`);
  }
  return [`${describeDescriptor(words)}.`, ...judgements];
}

function verdict(words: Words, mode: number, name: string): string {
  const error = checkDescriptor(FULL_CAPABILITIES, words, mode);
  return error === 0
    ? `A unit with every feature executes it in ${name}.`
    : `In ${name} the queue stops at it: IQE, IQEI ${error} (${errorNames.get(error)}).`;
}
