import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT } from "../layout/event-record.ts";
import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import type { ContextEntry, TableRange } from "./context-entry.ts";
import type { Translation } from "./translation.ts";

/** VA[55] and the bits below it, in pages. */
const PAGES_TO_BIT_55 = 2 ** 44;
const LAST_LEVEL = 3;
const WRITE_BACK = 0xc;

/** Smallest level at which a granule has blocks (48-bit output addresses). Source: Arm ARM D8.3.1. */
function firstBlockLevel(granule: number): number {
  return granule === 12 ? 1 : 2;
}

/**
 * The stage-1 walk of an SMMU, read from its specification: VMSAv8-64 with 4, 16 and 64 KiB granules and 48-bit output
 * addresses. One object per SMMU, reused.
 *
 * Source: Arm ARM D8.2 to D8.7; SMMUv3 §3.4, §7.3.
 */
export class Stage1Walk {
  /** The descriptor read last: the one at fault, or the leaf. */
  descriptor = 0;
  /** What was found by a walk that gave 0. */
  found: Translation | undefined;
  readonly #memory: PhysicalMemory;
  #table = 0;
  #readOnly = false;
  #privilegedOnly = false;
  #pxn = false;
  #uxn = false;

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  /**
   * Walks from the top table to a leaf.
   *
   * @param page input address / 4096
   * @returns 0, or the event: F_TRANSLATION, F_ADDR_SIZE, F_ACCESS, F_WALK_EABT
   */
  walk(context: ContextEntry, page: number): number {
    this.descriptor = 0;
    this.found = undefined;
    const range = page % PAGES_TO_BIT_55 >= PAGES_TO_BIT_55 / 2 ? context.high : context.low;
    if (!range.enabled || !inRange(range, page, range === context.high)) {
      return EVENT.F_TRANSLATION;
    }
    const { granule, tSz } = range;
    const width = granule - 3;
    const input = page % 2 ** (52 - tSz);
    let level = LAST_LEVEL + 1 - Math.ceil((64 - tSz - granule) / width);
    this.#start(range, level);
    for (;;) {
      const shift = granule - 12 + (LAST_LEVEL - level) * width;
      this.descriptor = this.#table + (Math.floor(input / 2 ** shift) % 2 ** width) * 8;
      if (!this.#memory.load64(this.descriptor)) {
        return EVENT.F_WALK_EABT;
      }
      const { lo, hi } = this.#memory;
      if ((lo & PTE.valid) === 0) {
        return EVENT.F_TRANSLATION;
      }
      const last = level === LAST_LEVEL;
      const more = (lo & PTE.tableOrPage) !== 0;
      if (!last && more) {
        this.#table = addressOf(lo, hi, granule);
        if (this.#table >= 2 ** context.outputBits) {
          return EVENT.F_ADDR_SIZE;
        }
        this.#descend(range, hi);
        level += 1;
      } else if (last === more && (last || level >= firstBlockLevel(granule))) {
        return this.#leaf(context, range, page, level, shift);
      } else {
        return EVENT.F_TRANSLATION;
      }
    }
  }

  #start(range: TableRange, level: number): void {
    const shift = range.granule + (LAST_LEVEL - level) * (range.granule - 3);
    const bytes = Math.max(64, 8 * 2 ** (64 - range.tSz - shift));
    this.#table = range.table - (range.table % bytes);
    this.#readOnly = false;
    this.#privilegedOnly = false;
    this.#pxn = false;
    this.#uxn = false;
  }

  /** Takes the limits that a table descriptor puts on all below it. */
  #descend(range: TableRange, hi: number): void {
    if (range.hierarchicalOff) {
      return;
    }
    this.#readOnly ||= (hi & PTE_HIGH.apTableReadOnly) !== 0;
    this.#privilegedOnly ||= (hi & PTE_HIGH.apTableUnprivileged) !== 0;
    this.#pxn ||= (hi & PTE_HIGH.pxnTable) !== 0;
    this.#uxn ||= (hi & PTE_HIGH.uxnTable) !== 0;
  }

  /** @param shift log2 of the pages that the leaf maps */
  #leaf(context: ContextEntry, range: TableRange, page: number, level: number, shift: number): number {
    const { lo, hi } = this.#memory;
    const pages = 2 ** shift;
    const address = addressOf(lo, hi, range.granule);
    const target = Math.floor(address / 4096 / pages) * pages;
    if (target * 4096 >= 2 ** context.outputBits) {
      return EVENT.F_ADDR_SIZE;
    }
    const accessed = (lo & PTE.af) !== 0;
    if (!accessed && !context.setsAccessFlag && !context.accessFlagOff) {
      return EVENT.F_ACCESS;
    }
    const readOnly = (lo & PTE.readOnly) !== 0;
    this.found = {
      page: page - (page % pages),
      target,
      sizeLog2: 12 + shift,
      level,
      unprivileged: (lo & PTE.unprivileged) !== 0 && !this.#privilegedOnly,
      readOnly: readOnly || this.#readOnly,
      pxn: (hi & PTE_HIGH.pxn) !== 0 || this.#pxn,
      uxn: (hi & PTE_HIGH.uxn) !== 0 || this.#uxn,
      global: (lo & PTE.notGlobal) === 0,
      coherent: isCoherent(context, lo),
      needsAccessFlag: !accessed && context.setsAccessFlag,
      clean: readOnly && !this.#readOnly && context.setsDirty && (hi & PTE_HIGH.dbm) !== 0,
      leafAddress: this.descriptor,
    };
    return 0;
  }
}

/** Bits above the input range must equal VA[55]; with TBI bits 63:56 do not count. */
function inRange(range: TableRange, page: number, high: boolean): boolean {
  const space = range.topByteIgnored ? PAGES_TO_BIT_55 : 2 ** 52;
  const pages = 2 ** (52 - range.tSz);
  return high ? page % space >= space - pages : page % space < pages;
}

/** Bits 47:granule of a descriptor. */
function addressOf(lo: number, hi: number, granule: number): number {
  const mask = (0xffffffff << granule) >>> 0;
  return (hi & 0xffff) * 2 ** 32 + ((lo & mask) >>> 0);
}

/** Normal write-back memory, and shareable. */
function isCoherent(context: ContextEntry, lo: number): boolean {
  const index = (lo >>> PTE.attrIndxShift) & 7;
  const attribute = ((index < 4 ? context.mair0 : context.mair1) >>> ((index & 3) * 8)) & 0xff;
  const inner = (attribute & WRITE_BACK) === WRITE_BACK;
  const outer = ((attribute >>> 4) & WRITE_BACK) === WRITE_BACK;
  return inner && outer && ((lo >>> PTE.shShift) & 3) >= 2;
}
