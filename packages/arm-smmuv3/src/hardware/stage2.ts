import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { ATTR } from "./attributes.ts";
import type { FaultSite } from "./fault-site.ts";
import { type IoTlb, NO_ASID, levelOf, sizeLog2Of } from "./io-tlb.ts";
import { Stage2Walk } from "./stage2-walk.ts";
import type { StreamEntry } from "./stream-entry.ts";

/**
 * Stage 2 of a stream: the TLB, else the walk, and the updates of descriptors that hardware makes. One object per SMMU,
 * reused.
 *
 * Source: SMMUv3 §3.4, §3.13, §3.17.
 */
export class Stage2 {
  /** Host page of the page translated. */
  target = 0;
  /** log2 of the size of the translation in bytes. */
  sizeLog2 = 0;
  /** Level of the leaf. */
  level = 0;
  /** `ATTR` bits of stage 2, and the memory type. */
  attributes = 0;
  /** What {@link Stage2.fetch} found, in bytes. */
  address = 0;
  readonly #tlb: IoTlb;
  readonly #walk: Stage2Walk;
  readonly #site: FaultSite;
  /** The leaf's descriptor; 0 = the TLB answered. */
  #leaf = 0;

  constructor(memory: PhysicalMemory, tlb: IoTlb, site: FaultSite, id: Identification) {
    this.#tlb = tlb;
    this.#site = site;
    this.#walk = new Stage2Walk(memory, tlb, id);
  }

  /**
   * Translates an intermediate page. Descriptors stay as they are: see {@link Stage2.use}.
   *
   * @param kind one of `EVENT_CLASS`, for the record of a fault
   * @param writes a page that is clean in the TLB does not serve
   * @returns 0 or an event
   */
  translate(stream: StreamEntry, page: number, kind: number, writes: boolean): number {
    const entry = this.#tlb.lookup(stream.s2Regime, NO_ASID, 0, page);
    const { leaves } = this.#tlb;
    if (entry >= 0 && !(writes && ((leaves.attributes[entry] ?? 0) & ATTR.s2Clean) !== 0)) {
      this.target = (leaves.target[entry] ?? 0) + (page - (leaves.page[entry] ?? 0));
      this.attributes = leaves.attributes[entry] ?? 0;
      this.sizeLog2 = sizeLog2Of(leaves.key[entry] ?? 0);
      this.level = levelOf(leaves.origin[entry] ?? 0);
      this.#leaf = 0;
      return 0;
    }
    const walk = this.#walk;
    const event = walk.walk(stream, page);
    this.#leaf = walk.descriptor;
    if (event !== 0) {
      this.#site.inStage2(kind, page * 4096, false);
      this.#site.address = walk.descriptor;
      return event;
    }
    this.target = walk.target;
    this.attributes = walk.attributes;
    this.sizeLog2 = walk.sizeLog2;
    this.level = walk.level;
    return 0;
  }

  /** The translation found last is used: sets AF, makes a clean page dirty, and keeps it. @param dirty it is written */
  use(stream: StreamEntry, page: number, dirty: boolean): void {
    if (this.#leaf === 0) {
      return;
    }
    const dirties = dirty && (this.attributes & ATTR.s2Clean) !== 0;
    if (dirties || (this.attributes & ATTR.s2NeedsAccessFlag) !== 0) {
      this.#walk.update(stream, this.#leaf, dirties);
      this.attributes &= ~(ATTR.s2NeedsAccessFlag | (dirties ? ATTR.s2Clean : 0));
    }
    if (!this.#tlb.leaves.keeps) {
      return;
    }
    const { target, sizeLog2, attributes, level } = this;
    this.#tlb.keep(stream.s2Regime, NO_ASID, 0, page, target, 0, sizeLog2, attributes, level, sizeLog2);
  }

  /**
   * Finds where a structure of stage 1 is, for reading it or (HTTU) writing it.
   *
   * @param address intermediate address in bytes
   * @returns 0 or an event
   */
  fetch(stream: StreamEntry, address: number, kind: number, write: boolean): number {
    const page = Math.floor(address * 2 ** -12);
    const event = this.translate(stream, page, kind, write);
    if (event !== 0) {
      this.#site.ipa = address;
      return event;
    }
    const need = write ? ATTR.s2Write : ATTR.s2Read;
    const device = stream.s2ProtectsWalk && (this.attributes & ATTR.s2Device) !== 0;
    if (device || (this.attributes & need) === 0) {
      this.#site.inStage2(kind, address, kind === EVENT_CLASS.tt && !write);
      this.#site.address = this.#leaf;
      return EVENT.F_PERMISSION;
    }
    this.use(stream, page, write);
    this.address = this.target * 4096 + (address - page * 4096);
    return 0;
  }
}
