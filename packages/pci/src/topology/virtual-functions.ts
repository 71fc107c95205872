import type { ConfigSpace } from "../config-space/config-space.ts";
import { EXT_CAP_ID_SRIOV } from "../config-space/extended-layouts.ts";
import type { Rid } from "../fabric/request.ts";

const CONTROL = 0x08;
const VF_ENABLE = 1;
const NUM_VFS = 0x10;
const FIRST_OFFSET = 0x14;
const STRIDE = 0x16;

/**
 * Requester IDs of the VFs that a PF has now: none unless VF Enable is 1. They may lie on buses above its own.
 *
 * Source: PCIe 6.0 §9.2.1.2: VF number n has the ID PF + First VF Offset + (n - 1) * VF Stride.
 */
export function virtualFunctionsOf(config: ConfigSpace, rid: Rid): readonly Rid[] {
  const at = config.findExtendedCapability(EXT_CAP_ID_SRIOV);
  if (at === 0 || (config.read16(at + CONTROL) & VF_ENABLE) === 0) {
    return [];
  }
  return virtualFunctionIds(config, at, rid, config.read16(at + NUM_VFS));
}

/** The IDs of the first `count` VFs, whether or not they are enabled; those beyond the last bus are left out. */
export function virtualFunctionIds(config: ConfigSpace, at: number, rid: Rid, count: number): readonly Rid[] {
  const first = rid + config.read16(at + FIRST_OFFSET);
  const stride = config.read16(at + STRIDE);
  const ids: Rid[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = first + index * stride;
    if (id > 0xffff || (index > 0 && stride === 0)) {
      break;
    }
    ids.push(id);
  }
  return ids;
}
