import { commandName, commandOpcode } from "../layout/command-text.ts";
import { OPCODE, PAGES_GN } from "../layout/command.ts";
import type { Features } from "../layout/features.ts";

const DEVICE = 0xffff;
const PASID = 0xfffff;
const ALL = 0xffffffff;
const ADDRESS = 0xfffff000;
const S = 1;
const PDE = 2;
const TYPE = 0x30;

/** Bits that may be set, by opcode; the opcode itself aside. */
const allowed: ReadonlyMap<number, readonly [number, number, number, number]> = new Map([
  [OPCODE.COMPLETION_WAIT, [ALL, 0xfffff, ALL, ALL]],
  [OPCODE.INVALIDATE_DEVTAB_ENTRY, [DEVICE, 0, 0, 0]],
  [OPCODE.INVALIDATE_IOMMU_PAGES, [PASID, 0xffff, ADDRESS | PAGES_GN | PDE | S, ALL]],
  [OPCODE.INVALIDATE_IOTLB_PAGES, [ALL, 0x0fffffff, ADDRESS | TYPE | PAGES_GN | S, ALL]],
  [OPCODE.INVALIDATE_INTERRUPT_TABLE, [DEVICE, 0, 0, 0]],
  [OPCODE.PREFETCH_IOMMU_PAGES, [0xff00ffff, PASID, ADDRESS | 0x10 | PAGES_GN | S, ALL]],
  [OPCODE.COMPLETE_PPR_REQUEST, [DEVICE, PASID, PAGES_GN, 0xf1ff]],
  [OPCODE.INVALIDATE_IOMMU_ALL, [0, 0, 0, 0]],
]);

/** What decides whether a unit knows a command. */
export interface CommandCapabilities {
  readonly features: Features;
  /** IotlbSup of the capability header. */
  readonly iotlbSup: boolean;
}

/** The feature that a flag of an invalidation needs and the unit lacks. */
function missingForFlags(flags: number, { features }: CommandCapabilities): string {
  if ((flags & PAGES_GN) !== 0 && !features.gt) {
    return "GTSup";
  }
  return (flags & TYPE) !== 0 && !features.iotlbType ? "InvIotlbTypeSup" : "";
}

/** The feature that a command needs and the unit lacks; `""` = none. */
function missing(opcode: number, words: ArrayLike<number>, capabilities: CommandCapabilities): string {
  const { features, iotlbSup } = capabilities;
  const flags = words[2] ?? 0;
  switch (opcode) {
    case OPCODE.INVALIDATE_IOMMU_PAGES:
      return missingForFlags(flags, capabilities);
    case OPCODE.INVALIDATE_IOTLB_PAGES:
      return iotlbSup ? missingForFlags(flags, capabilities) : "IotlbSup";
    case OPCODE.PREFETCH_IOMMU_PAGES:
      return features.prefetch ? missingForFlags(flags & PAGES_GN, capabilities) : "PreFSup";
    case OPCODE.COMPLETE_PPR_REQUEST:
      return features.ppr ? "" : "PPRSup";
    case OPCODE.INVALIDATE_IOMMU_ALL:
      return features.invalidateAll ? "" : "IASup";
    default:
      return "";
  }
}

/**
 * Why a unit does not execute a command, which is ILLEGAL_COMMAND_ERROR: an unknown opcode, a feature it lacks, a reserved bit
 * that is set. `""` = it does.
 *
 * Source: AMD IOMMU specification §2.4, §2.5.6.
 */
export function commandProblem(words: ArrayLike<number>, capabilities: CommandCapabilities): string {
  const opcode = commandOpcode(words);
  const masks = allowed.get(opcode);
  if (masks === undefined) {
    return `${commandName(words)} does not exist`;
  }
  for (let index = 0; index < masks.length; index += 1) {
    const value = index === 1 ? (words[1] ?? 0) & 0x0fffffff : (words[index] ?? 0);
    const reserved = (value & ~(masks[index] ?? 0)) >>> 0;
    if (reserved !== 0) {
      return `bit ${index * 32 + 31 - Math.clz32(reserved)} is reserved`;
    }
  }
  const feature = missing(opcode, words, capabilities);
  return feature === "" ? "" : `it needs ${feature}`;
}
