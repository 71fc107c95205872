import type { PhysicalMemory } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import type { LatchedRoot } from "./latched-root.ts";
import { shiftRight } from "./page-shift.ts";

/** What a walk needs to know of the unit it belongs to. */
export interface WalkContext {
  readonly memory: PhysicalMemory;
  readonly caps: Capabilities;
  /** Host address width in bits. */
  readonly hostWidth: number;
  /** RTADDR as it was latched. */
  readonly root: LatchedRoot;
}

/**
 * What an access needs of every level. A Translation Request needs nothing: it learns what there is.
 */
export type Need = "read" | "write" | "none";

/** Whether bits 51:hostWidth of an entry's address are set. */
export function beyondHost(hi: number, hostWidth: number): boolean {
  return hostWidth < 52 && (hi & 0xfffff) >>> (hostWidth - 32) !== 0;
}

/** Whether a page table's pointer has bits 63:hostWidth set. */
export function pointerBeyondHost(hi: number, hostWidth: number): boolean {
  return hi >>> (hostWidth - 32) !== 0;
}

/** A pointer in bits 63:12. */
export function pointerOf(lo: number, hi: number): number {
  return hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

/** Address of the entry for `page` in a table of this level. */
export function entryAddress(table: number, page: number, level: number): number {
  return table + (shiftRight(page, 9 * (level - 1)) & 511) * 8;
}
