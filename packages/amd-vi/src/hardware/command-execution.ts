import { getBits } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { commandOpcode, iotlbPasid } from "../layout/command-text.ts";
import { OPCODE, PAGES_GN, PAGES_PDE } from "../layout/command.ts";
import { decodePageRange } from "../layout/page-range.ts";
import type { CommandParts } from "./command-processor.ts";
import type { DeviceIotlbs } from "./device-iotlbs.ts";
import { HOST } from "./translation-caches.ts";

/**
 * Executes any command but COMPLETION_WAIT. Interrupt tables are not modelled and a prefetch is a hint: neither does anything.
 *
 * Source: AMD IOMMU specification §2.4.
 *
 * @param command physical address of the command
 * @param submit trace event of its submission
 * @returns false while the command goes on: a device has to answer
 */
export function executeInvalidation(
  parts: CommandParts,
  devices: DeviceIotlbs,
  words: ArrayLike<number>,
  command: number,
  submit: number,
): boolean {
  const { table, caches, unit, root } = parts;
  const flags = words[2] ?? 0;
  const guest = (flags & PAGES_GN) !== 0;
  switch (commandOpcode(words)) {
    case OPCODE.INVALIDATE_DEVTAB_ENTRY:
      table.invalidate(getBits(words, 15, 0));
      break;
    case OPCODE.INVALIDATE_IOMMU_PAGES: {
      const range = decodePageRange(flags, words[3] ?? 0);
      const pasid = guest ? getBits(words, 19, 0) : HOST;
      caches.invalidate(getBits(words, 47, 32), pasid, range, (flags & PAGES_PDE) !== 0);
      break;
    }
    case OPCODE.INVALIDATE_IOTLB_PAGES:
      invalidateDevice(parts, devices, words, command, submit);
      return false;
    case OPCODE.COMPLETE_PPR_REQUEST: {
      const pasid = guest ? getBits(words, 51, 32) : NO_PASID;
      root.sendPageResponse(unit, getBits(words, 15, 0), pasid, getBits(words, 104, 96), getBits(words, 111, 108));
      break;
    }
    case OPCODE.INVALIDATE_IOMMU_ALL:
      table.clear();
      caches.clear();
      break;
    default:
      break;
  }
  return true;
}

/** The requests of a device whose DTE has GIoV are those of PASID 0; see `OpenPoints.guestIoInvalidation`. */
function invalidateDevice(
  { table, root, unit, control, open }: CommandParts,
  devices: DeviceIotlbs,
  words: ArrayLike<number>,
  command: number,
  submit: number,
): void {
  const rid = getBits(words, 15, 0);
  const { page, sizeLog2 } = decodePageRange(words[2] ?? 0, words[3] ?? 0);
  let pasid = ((words[2] ?? 0) & PAGES_GN) === 0 ? NO_PASID : iotlbPasid(words);
  if (pasid === 0 && open.guestIoInvalidation === "without-pasid" && table.fetch(rid)?.guestIo === true) {
    pasid = NO_PASID;
  }
  const one = { rid, queueId: getBits(words, 47, 32), command, submit };
  const itag = devices.start(one, control.invalidationTimeout);
  root.sendInvalidate(unit, rid, itag, pasid, page, sizeLog2, false, submit);
}
