import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import type { Port } from "../fabric/port.ts";

const ROOT_CONTROL = 0x1c;
const VISIBILITY_ENABLE = 0x10;

/**
 * What a read of the Vendor ID gives while the function answers Request Retry Status: the value reserved for that, where
 * the root port above shows it to software; undefined where it does not, and the read gets all ones.
 *
 * Source: PCIe 6.0 §2.3.2.
 */
export function retryStatus(above: Port | undefined, offset: number, size: 1 | 2 | 4): number | undefined {
  let root = above;
  while (root?.upstream !== undefined) {
    root = root.upstream;
  }
  const at = root?.config.findCapability(CAP_ID_EXP) ?? 0;
  const visible = root !== undefined && at !== 0 && (root.config.read16(at + ROOT_CONTROL) & VISIBILITY_ENABLE) !== 0;
  if (!visible || offset !== 0 || size === 1) {
    return undefined;
  }
  return size === 4 ? 0xffff0001 : 1;
}
