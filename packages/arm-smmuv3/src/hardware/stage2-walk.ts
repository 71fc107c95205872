import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import { ATTR } from "./attributes.ts";
import {
  IS_LEAF,
  LEADS_NOWHERE,
  isContiguous,
  isShareable,
  kindOfDescriptor,
  outputAddress,
  pageIn,
} from "./descriptor.ts";
import { type IoTlb, NO_ASID } from "./io-tlb.ts";
import { dataAccess, executeOf, memoryType } from "./stage2-permissions.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { TableAccess } from "./table-access.ts";
import { LAST_LEVEL, contiguousLog2, indexAbove, levelShift, power } from "./table-geometry.ts";

const PAGE_LOG2 = 12;

/** The first tables have one index for all the bits above them; the input range bounds them. */
const WHOLE_INDEX = 0x7fffffff;

/**
 * The stage-2 walk of an SMMU, read from its specification. One object per SMMU, reused.
 *
 * Source: Arm ARM D8.2 to D8.7; SMMUv3 §3.4, §5.2.
 */
export class Stage2Walk {
  /** The descriptor read last: the one at fault, or the leaf. */
  descriptor = 0;
  /** Host page of the page asked for. */
  target = 0;
  /** log2 of the size of the translation in bytes. */
  sizeLog2 = 0;
  /** Level of the leaf. */
  level = 0;
  /** `ATTR` bits of stage 2, and the memory type. */
  attributes = 0;
  readonly #access: TableAccess;
  readonly #tlb: IoTlb;
  readonly #id: Identification;
  /** The cached table that the walk goes on from. */
  #entry = -1;

  constructor(memory: PhysicalMemory, tlb: IoTlb, id: Identification) {
    this.#access = new TableAccess(memory);
    this.#tlb = tlb;
    this.#id = id;
  }

  /**
   * Walks to a leaf.
   *
   * @param page intermediate address / 4096
   * @returns 0, or the event: F_TRANSLATION, F_ADDR_SIZE, F_ACCESS, F_WALK_EABT
   */
  walk(stream: StreamEntry, page: number): number {
    const { s2Granule: granule, s2StartLevel: first, s2Large: large } = stream;
    const width = granule - 3;
    this.descriptor = 0;
    if (page >= power(64 - stream.s2T0Sz - PAGE_LOG2)) {
      return EVENT.F_TRANSLATION;
    }
    let level = this.#cachedLevel(stream, page);
    let table = level > first ? (this.#tlb.tables.target[this.#entry] ?? 0) : stream.s2Table;
    let mask = level === first ? WHOLE_INDEX : (1 << width) - 1;
    for (let shift = levelShift(granule, level); ; shift -= width) {
      this.descriptor = table + 8 * (indexAbove(page, shift - PAGE_LOG2) & mask);
      if (!this.#access.read(this.descriptor, stream.s2BigEndian)) {
        return EVENT.F_WALK_EABT;
      }
      const { lo, hi } = this.#access;
      const kind = kindOfDescriptor(lo, level, stream.s2FirstBlock);
      if (kind === LEADS_NOWHERE) {
        return EVENT.F_TRANSLATION;
      }
      const address = outputAddress(lo, hi, granule, large);
      if (address >= power(stream.s2OutputBits)) {
        return EVENT.F_ADDR_SIZE;
      }
      if (kind === IS_LEAF) {
        return this.#leaf(stream, page, level, address);
      }
      table = address;
      level += 1;
      mask = (1 << width) - 1;
      if (this.#tlb.tables.keeps) {
        this.#tlb.keepTable(stream.s2Regime, NO_ASID, page, level, shift, table, 0, 0);
      }
    }
  }

  /** Sets AF, or makes the leaf dirty. */
  update(stream: StreamEntry, address: number, dirty: boolean): void {
    this.#access.update(address, stream.s2BigEndian, PTE.af | (dirty ? PTE.s2Write : 0), 0);
  }

  #cachedLevel(stream: StreamEntry, page: number): number {
    const { s2Granule: granule, s2StartLevel: first } = stream;
    if (this.#tlb.tables.count > 0) {
      const regime = stream.s2Regime;
      for (let level = LAST_LEVEL; level > first; level -= 1) {
        this.#entry = this.#tlb.lookupTable(regime, NO_ASID, page, level, levelShift(granule, level - 1));
        if (this.#entry >= 0) {
          return level;
        }
      }
    }
    return first;
  }

  #leaf(stream: StreamEntry, page: number, level: number, address: number): number {
    const { lo, hi } = this.#access;
    const { s2Granule: granule } = stream;
    const accessed = (lo & PTE.af) !== 0;
    if (!accessed && !stream.s2SetsAccessFlag && !stream.s2AccessFlagOff) {
      return EVENT.F_ACCESS;
    }
    const shift = levelShift(granule, level);
    this.level = level;
    this.target = pageIn(address, page, shift);
    this.sizeLog2 = shift + (isContiguous(hi) ? contiguousLog2(granule, level) : 0);
    const clean =
      (lo & PTE.s2Write) === 0 && stream.s2SetsAccessFlag && stream.s2SetsDirty && (hi & PTE_HIGH.dbm) !== 0;
    this.attributes =
      dataAccess(lo, clean) |
      (accessed || !stream.s2SetsAccessFlag ? 0 : ATTR.s2NeedsAccessFlag) |
      executeOf(hi, this.#id.stage2ExecuteNever) |
      memoryType((lo >>> 2) & 0xf, stream.s2ForceWriteBack) |
      (isShareable(lo, granule, stream.s2Large) ? ATTR.shareable : 0);
    return 0;
  }
}
