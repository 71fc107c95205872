import { commandOpcode } from "../layout/command-text.ts";
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
  /** PreFSup of the EFR, bit 0. */
  readonly prefetch: boolean;
}

function supported(
  opcode: number,
  words: ArrayLike<number>,
  { features, iotlbSup, prefetch }: CommandCapabilities,
): boolean {
  const guest = ((words[2] ?? 0) & PAGES_GN) !== 0;
  switch (opcode) {
    case OPCODE.INVALIDATE_IOMMU_PAGES:
      return !guest || features.gt;
    case OPCODE.INVALIDATE_IOTLB_PAGES:
      return iotlbSup && (!guest || features.gt) && (((words[2] ?? 0) & TYPE) === 0 || features.iotlbType);
    case OPCODE.PREFETCH_IOMMU_PAGES:
      return prefetch;
    case OPCODE.COMPLETE_PPR_REQUEST:
      return features.ppr;
    case OPCODE.INVALIDATE_IOMMU_ALL:
      return features.invalidateAll;
    default:
      return true;
  }
}

/**
 * Whether a command is one the unit executes: a known opcode, a feature it has, no reserved bit set. Otherwise
 * ILLEGAL_COMMAND_ERROR.
 *
 * Source: AMD IOMMU specification §2.4, §2.5.6.
 */
export function isLegalCommand(words: ArrayLike<number>, capabilities: CommandCapabilities): boolean {
  const opcode = commandOpcode(words);
  const masks = allowed.get(opcode);
  if (masks === undefined || !supported(opcode, words, capabilities)) {
    return false;
  }
  const values = [words[0] ?? 0, (words[1] ?? 0) & 0x0fffffff, words[2] ?? 0, words[3] ?? 0];
  return values.every((value, index) => (value & ~(masks[index] ?? 0)) === 0);
}
