import { getBits, hex } from "@iommu-lab/core";
import { OPCODE, PAGES_GN, PAGES_PDE, WAIT_FLUSH, WAIT_INTERRUPT, WAIT_STORE } from "./command.ts";
import { decodePageRange, describePageRange } from "./page-range.ts";

const names: ReadonlyMap<number, string> = new Map(Object.entries(OPCODE).map(([name, code]) => [code, name]));

/** Opcode of a command. */
export function commandOpcode(words: ArrayLike<number>): number {
  return (words[1] ?? 0) >>> 28;
}

/** The specification's name of a command; `opcode 12` for one that does not exist. */
export function commandName(words: ArrayLike<number>): string {
  const opcode = commandOpcode(words);
  return names.get(opcode) ?? `opcode ${opcode}`;
}

/** The PASID of an INVALIDATE_IOTLB_PAGES: bits 15:8 in word 0, 7:0 and 19:16 in word 1. */
export function iotlbPasid(words: ArrayLike<number>): number {
  return getBits(words, 59, 56) * 0x10000 + getBits(words, 23, 16) * 0x100 + getBits(words, 55, 48);
}

function describeWait(words: ArrayLike<number>): string {
  const flags = words[0] ?? 0;
  const parts: string[] = [];
  if ((flags & WAIT_STORE) !== 0) {
    const data = (BigInt(words[3] ?? 0) << 32n) | BigInt(words[2] ?? 0);
    parts.push(`store 0x${data.toString(16)} at ${hex(getBits(words, 51, 3) * 8)}`);
  }
  if ((flags & WAIT_INTERRUPT) !== 0) {
    parts.push("interrupt");
  }
  if ((flags & WAIT_FLUSH) !== 0) {
    parts.push("flush");
  }
  return parts.join(", ");
}

function describePages(words: ArrayLike<number>): string {
  const flags = words[2] ?? 0;
  const range = describePageRange(decodePageRange(flags, words[3] ?? 0));
  const pasid = (flags & PAGES_GN) === 0 ? "" : `, PASID ${getBits(words, 19, 0)}`;
  return `domain ${hex(getBits(words, 47, 32))}${pasid}, ${range}${(flags & PAGES_PDE) === 0 ? "" : ", directories too"}`;
}

function describeIotlb(words: ArrayLike<number>): string {
  const flags = words[2] ?? 0;
  const range = describePageRange(decodePageRange(flags, words[3] ?? 0));
  const pasid = (flags & PAGES_GN) === 0 ? "" : `, PASID ${iotlbPasid(words)}`;
  return `device ${hex(getBits(words, 15, 0))}${pasid}, ${range}, at most ${getBits(words, 31, 24) || 32} pending`;
}

function describeResponse(words: ArrayLike<number>): string {
  const pasid = ((words[2] ?? 0) & PAGES_GN) === 0 ? "" : `, PASID ${getBits(words, 51, 32)}`;
  const code = getBits(words, 111, 108);
  return `device ${hex(getBits(words, 15, 0))}${pasid}, group ${getBits(words, 104, 96)}, code ${code}`;
}

/** A command in words, without its name. */
export function describeCommand(words: ArrayLike<number>): string {
  switch (commandOpcode(words)) {
    case OPCODE.COMPLETION_WAIT:
      return describeWait(words);
    case OPCODE.INVALIDATE_IOMMU_PAGES:
      return describePages(words);
    case OPCODE.INVALIDATE_IOTLB_PAGES:
      return describeIotlb(words);
    case OPCODE.COMPLETE_PPR_REQUEST:
      return describeResponse(words);
    case OPCODE.INVALIDATE_IOMMU_ALL:
      return "everything";
    default:
      return `device ${hex(getBits(words, 15, 0))}`;
  }
}
