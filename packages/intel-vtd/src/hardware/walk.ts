import type { PhysicalMemory } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";

/** What a walk needs to know of the unit it belongs to. */
export interface WalkContext {
  readonly memory: PhysicalMemory;
  readonly caps: Capabilities;
  /** Host address width in bits. */
  readonly hostWidth: number;
}

/** Where a page walk ended. One object per unit, reused. */
export class Walk {
  /** Fault code, 0 = the walk reached a page. */
  fault = 0;
  /** Host page of the first page of the translation. */
  target = 0;
  /** 12, 21 or 30. */
  sizeLog2 = 12;
  read = false;
  write = false;
  /** SNP of a second-stage leaf. */
  snoop = false;
  /** A write needs no dirty bit set any more. */
  dirty = false;
  /** Address of the entry read last. */
  line = 0;

  /** Before a walk. */
  start(): void {
    this.fault = 0;
    this.target = 0;
    this.sizeLog2 = 12;
    this.read = true;
    this.write = true;
    this.snoop = false;
    this.dirty = true;
    this.line = 0;
  }

  /** Ends the walk with a fault. @returns false */
  fail(code: number): false {
    this.fault = code;
    this.read = false;
    this.write = false;
    return false;
  }
}

/** Whether bits 51:hostWidth of an entry's address are set. */
export function beyondHost(hi: number, hostWidth: number): boolean {
  return hostWidth < 52 && (hi & 0xfffff) >>> (hostWidth - 32) !== 0;
}

/** Whether a page table's pointer has bits 63:hostWidth set. */
export function pointerBeyondHost(hi: number, hostWidth: number): boolean {
  return (hi >>> 0) / 2 ** (hostWidth - 32) >= 1;
}

/** Address of the entry for `page` in a table of this level. */
export function entryAddress(table: number, page: number, level: number): number {
  return table + (Math.floor(page / 2 ** (9 * (level - 1))) % 512) * 8;
}
