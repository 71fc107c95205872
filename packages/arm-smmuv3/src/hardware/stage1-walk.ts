import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import { ATTR } from "./attributes.ts";
import type { ContextEntry, TableRange } from "./context-entry.ts";
import {
  IS_LEAF,
  LEADS_NOWHERE,
  isContiguous,
  isShareable,
  kindOfDescriptor,
  outputAddress,
  pageIn,
} from "./descriptor.ts";
import type { FaultSite } from "./fault-site.ts";
import { type IoTlb, NO_ASID } from "./io-tlb.ts";
import { LIMIT, LIMITS, limitsOf, stage1Permissions } from "./stage1-permissions.ts";
import type { Stage2 } from "./stage2.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { TableAccess } from "./table-access.ts";
import { LAST_LEVEL, contiguousLog2, indexAbove, levelShift, power, shiftDown } from "./table-geometry.ts";
import { WORLD } from "./world.ts";

/** VA[55] and the bits below it, in pages. */
const PAGES_TO_BIT_55 = 2 ** 44;
const PAGE_LOG2 = 12;
const WRITE_BACK = 0xc;
/** The first table has one index for all the bits above it; the input range bounds them. */
const WHOLE_INDEX = 0x7fffffff;

/** What tags TLB entries of a context: its ASID, where the regime has ASIDs. */
export function kindOfContext(stream: StreamEntry, context: ContextEntry): number {
  return stream.world === WORLD.el2 ? NO_ASID : context.asid;
}

/** The half that translates a page. EL2 alone has no upper one. Source: Arm ARM D8.2. */
export function rangeOf(stream: StreamEntry, context: ContextEntry, page: number): TableRange {
  return stream.world !== WORLD.el2 && (shiftDown(page, 43) & 1) !== 0 ? context.high : context.low;
}

/** The page as the TLB knows it: with TBI, bits 63:56 are those of VA[55]. */
export function canonical(range: TableRange, page: number): number {
  if (!range.topByteIgnored) {
    return page;
  }
  return (page % PAGES_TO_BIT_55) + (range.high ? 2 ** 52 - PAGES_TO_BIT_55 : 0);
}

/**
 * The stage-1 walk of an SMMU, read from its specification: VMSAv8-64 with 4, 16 and 64 KiB granules. With stage 2 on,
 * the tables are at intermediate addresses. One object per SMMU, reused.
 *
 * Source: Arm ARM D8.2 to D8.7; SMMUv3 §3.4, §7.3.
 */
export class Stage1Walk {
  /** The descriptor read last: the one at fault, or the leaf. */
  descriptor = 0;
  /** The same, before stage 2. */
  intermediate = 0;
  /** Output page of the page asked for. */
  target = 0;
  /** log2 of the size of the translation in bytes. */
  sizeLog2 = 0;
  /** Level of the leaf. */
  level = 0;
  /** `ATTR` bits of stage 1, and the memory type. */
  attributes = 0;
  readonly #access: TableAccess;
  readonly #tlb: IoTlb;
  readonly #stage2: Stage2;
  readonly #site: FaultSite;
  /** Where the walk goes on from, and what was taken away above. */
  #table = 0;
  #limits = 0;

  constructor(memory: PhysicalMemory, tlb: IoTlb, stage2: Stage2, site: FaultSite) {
    this.#access = new TableAccess(memory);
    this.#tlb = tlb;
    this.#stage2 = stage2;
    this.#site = site;
  }

  /**
   * Walks from the first table, or the last one that is cached, to a leaf.
   *
   * @param page input address / 4096, as {@link canonical} gives it
   * @returns 0, or an event
   */
  walk(stream: StreamEntry, context: ContextEntry, range: TableRange, page: number): number {
    this.descriptor = 0;
    this.#site.address = 0;
    if (!range.enabled || !inRange(range, page)) {
      return EVENT.F_TRANSLATION;
    }
    const { granule, startLevel, large } = range;
    const width = granule - 3;
    const input = range.high ? page - (2 ** 52 - power(52 - range.tSz)) : page;
    let level = this.#cachedLevel(stream, context, range, page);
    let table = this.#table;
    let limits = this.#limits;
    let mask = level === startLevel ? WHOLE_INDEX : (1 << width) - 1;
    for (let shift = levelShift(granule, level); ; shift -= width) {
      const event = this.#read(stream, context, table + 8 * (indexAbove(input, shift - PAGE_LOG2) & mask));
      if (event !== 0) {
        return event;
      }
      const { lo, hi } = this.#access;
      const kind = kindOfDescriptor(lo, level, range.firstBlock);
      if (kind === LEADS_NOWHERE) {
        return EVENT.F_TRANSLATION;
      }
      const address = outputAddress(lo, hi, granule, large);
      if (address >= power(context.outputBits)) {
        return EVENT.F_ADDR_SIZE;
      }
      if (kind === IS_LEAF) {
        return this.#leaf(stream, context, range, page, level, address, limits);
      }
      limits |= range.hierarchicalOff ? 0 : limitsOf(hi);
      table = address;
      level += 1;
      mask = (1 << width) - 1;
      if (this.#tlb.tables.keeps || context.setsTableAccessFlag) {
        this.#descended(stream, context, page, level, shift, table, limits);
      }
    }
  }

  /** Sets AF of the leaf, or makes it dirty. @param address physical, as {@link Stage1Walk.descriptor} had it */
  update(context: ContextEntry, address: number, dirty: boolean): void {
    this.#access.update(address, context.bigEndian, PTE.af, dirty ? PTE.readOnly : 0);
  }

  /** A table was found: its descriptor gets AF with HAFT, and is kept. */
  #descended(
    stream: StreamEntry,
    context: ContextEntry,
    page: number,
    level: number,
    sizeLog2: number,
    table: number,
    limits: number,
  ): void {
    if (context.setsTableAccessFlag && !stream.stage2 && (this.#access.lo & PTE.af) === 0) {
      this.#access.update(this.descriptor, context.bigEndian, PTE.af, 0);
    }
    const kind = kindOfContext(stream, context);
    this.#tlb.keepTable(stream.regime, kind, page, level, sizeLog2, table, limits, context.aset);
  }

  /** Reads a descriptor, through stage 2 where it is on. */
  #read(stream: StreamEntry, context: ContextEntry, address: number): number {
    this.intermediate = address;
    this.descriptor = address;
    if (stream.stage2) {
      const event = this.#stage2.fetch(stream, address, EVENT_CLASS.tt, false);
      if (event !== 0) {
        return event;
      }
      this.descriptor = this.#stage2.address;
    }
    this.#site.address = this.descriptor;
    if (this.#access.read(this.descriptor, context.bigEndian)) {
      return 0;
    }
    this.#site.class = EVENT_CLASS.tt;
    return EVENT.F_WALK_EABT;
  }

  /** The level to go on from; its table is noted. */
  #cachedLevel(stream: StreamEntry, context: ContextEntry, range: TableRange, page: number): number {
    const { granule, startLevel } = range;
    const { tables } = this.#tlb;
    if (tables.count > 0) {
      const kind = kindOfContext(stream, context);
      for (let level = LAST_LEVEL; level > startLevel; level -= 1) {
        const entry = this.#tlb.lookupTable(stream.regime, kind, page, level, levelShift(granule, level - 1));
        if (entry >= 0) {
          this.#table = tables.target[entry] ?? 0;
          this.#limits = (tables.attributes[entry] ?? 0) & LIMITS;
          return level;
        }
      }
    }
    this.#table = range.table;
    this.#limits = 0;
    return startLevel;
  }

  #leaf(
    stream: StreamEntry,
    context: ContextEntry,
    range: TableRange,
    page: number,
    level: number,
    address: number,
    limits: number,
  ): number {
    const { lo, hi } = this.#access;
    const { granule } = range;
    const accessed = (lo & PTE.af) !== 0;
    if (!accessed && !context.setsAccessFlag && !context.accessFlagOff) {
      return EVENT.F_ACCESS;
    }
    const shift = levelShift(granule, level);
    this.level = level;
    this.target = pageIn(address, page, shift);
    this.sizeLog2 = shift + (isContiguous(hi) ? contiguousLog2(granule, level) : 0);
    const clean =
      (lo & PTE.readOnly) !== 0 && (limits & LIMIT.readOnly) === 0 && context.setsDirty && (hi & PTE_HIGH.dbm) !== 0;
    this.attributes =
      stage1Permissions(lo, hi, limits, clean, stream.world, context) |
      (clean ? ATTR.clean : 0) |
      (accessed || !context.setsAccessFlag ? 0 : ATTR.needsAccessFlag) |
      ((lo & PTE.notGlobal) === 0 ? ATTR.global : 0) |
      (isWriteBack(context, lo) ? ATTR.writeBack : 0) |
      (isShareable(lo, granule, range.large) ? ATTR.shareable : 0);
    return 0;
  }
}

/** Bits above the input range must equal VA[55]. */
function inRange(range: TableRange, page: number): boolean {
  const pages = power(52 - range.tSz);
  return range.high ? page >= 2 ** 52 - pages : page < pages;
}

/** Inner and outer write-back. */
function isWriteBack(context: ContextEntry, lo: number): boolean {
  const index = (lo >>> PTE.attrIndxShift) & 7;
  const attribute = ((index < 4 ? context.mair0 : context.mair1) >>> ((index & 3) * 8)) & 0xff;
  return (attribute & WRITE_BACK) === WRITE_BACK && ((attribute >>> 4) & WRITE_BACK) === WRITE_BACK;
}
