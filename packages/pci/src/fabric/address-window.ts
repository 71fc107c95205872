import type { ConfigSpace } from "../config-space/config-space.ts";

const COMMAND = 4;
const MEMORY_SPACE = 2;
const MEMORY_BASE = 0x20;
const PREFETCHABLE_BASE = 0x24;
const PREFETCHABLE_BASE_UPPER = 0x28;
const PREFETCHABLE_LIMIT_UPPER = 0x2c;
/** Pages of the 1 MiB that the low 16 bits of a window count in. */
const MEGABYTE_PAGES = 256;

/**
 * Whether a bridge passes this page down: it lies in the memory window or in the prefetchable one, and Memory Space is
 * on. A window whose registers are all 0 was never programmed and counts as closed.
 *
 * Source: PCIe 6.0 §7.5.1.3.
 */
export function windowsHold(config: ConfigSpace, page: number): boolean {
  if ((config.read8(COMMAND) & MEMORY_SPACE) === 0) {
    return false;
  }
  return (
    holds(config, MEMORY_BASE, 0, 0, page) ||
    holds(
      config,
      PREFETCHABLE_BASE,
      config.read32(PREFETCHABLE_BASE_UPPER),
      config.read32(PREFETCHABLE_LIMIT_UPPER),
      page,
    )
  );
}

function holds(config: ConfigSpace, at: number, baseUpper: number, limitUpper: number, page: number): boolean {
  const base = config.read16(at) >>> 4;
  const limit = config.read16(at + 2) >>> 4;
  if (base === 0 && limit === 0 && baseUpper === 0 && limitUpper === 0) {
    return false;
  }
  const first = baseUpper * 2 ** 20 + base * MEGABYTE_PAGES;
  const end = limitUpper * 2 ** 20 + (limit + 1) * MEGABYTE_PAGES;
  return page >= first && page < end;
}
