import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import { ANY_CLEAN, ATTR, NEEDS_UPDATE, STAGE1_ALL, STAGE2_ALL, combine, grantedByStage1 } from "./attributes.ts";
import type { ContextEntry } from "./context-entry.ts";
import type { FaultSite } from "./fault-site.ts";
import { type IoTlb, sizeLog2Of } from "./io-tlb.ts";
import { Stage1Walk, canonical, kindOfContext, rangeOf } from "./stage1-walk.ts";
import type { Stage2 } from "./stage2.ts";
import type { StreamEntry } from "./stream-entry.ts";

/**
 * The translation of one page, by stage 1, stage 2 or both: the TLB, else the walks, and the updates of descriptors that
 * hardware makes. One object per SMMU, reused.
 *
 * Source: SMMUv3 §3.4, §3.13, §3.17.
 */
export class Translator {
  /** Host page. */
  target = 0;
  /** Intermediate page, with two stages. */
  middle = 0;
  /** log2 of the size of the translation in bytes. */
  sizeLog2 = 0;
  /** `ATTR` bits. */
  attributes = 0;
  readonly #tlb: IoTlb;
  readonly #walk: Stage1Walk;
  readonly #stage2: Stage2;
  readonly #site: FaultSite;
  #page = 0;
  #level = 0;
  #originLog2 = 0;
  /** The leaf of stage 1; 0 = the TLB answered. */
  #leaf = 0;
  #leafIntermediate = 0;

  constructor(memory: PhysicalMemory, tlb: IoTlb, stage2: Stage2, site: FaultSite) {
    this.#tlb = tlb;
    this.#walk = new Stage1Walk(memory, tlb, stage2, site);
    this.#stage2 = stage2;
    this.#site = site;
  }

  /**
   * Finds the translation of a page through a context descriptor, and stage 2 if it is on.
   *
   * @param need `PERMIT_` bits without which stage 2 is not asked: all of them for an access, any of them for ATS
   * @param all the access needs all of `need`
   * @param writes it may have to make a clean page dirty, so a clean one in the TLB does not serve
   * @returns 0 or the event; F_PERMISSION of stage 1 only where stage 2 would be next
   */
  find(
    stream: StreamEntry,
    context: ContextEntry,
    page: number,
    privileged: boolean,
    need: number,
    all: boolean,
    writes: boolean,
  ): number {
    const range = rangeOf(stream, context, page);
    const canon = canonical(range, page);
    this.#page = canon;
    if (range.privilegedOnly && !privileged) {
      return EVENT.F_TRANSLATION;
    }
    const entry = this.#tlb.lookup(stream.regime, kindOfContext(stream, context), context.aset, canon);
    if (entry >= 0 && this.#fromTlb(entry, canon, writes)) {
      return 0;
    }
    const walk = this.#walk;
    const event = walk.walk(stream, context, range, canon);
    if (event !== 0) {
      return event;
    }
    this.target = walk.target;
    this.middle = walk.target;
    this.sizeLog2 = walk.sizeLog2;
    this.#level = walk.level;
    this.#originLog2 = walk.sizeLog2;
    this.#leaf = walk.descriptor;
    this.#leafIntermediate = walk.intermediate;
    this.attributes = walk.attributes | STAGE2_ALL;
    return stream.stage2 ? this.#through(stream, privileged, need, all, writes) : 0;
  }

  /** Finds the translation of an intermediate page: stage 1 is off. @returns 0 or the event */
  findStage2(stream: StreamEntry, page: number, writes: boolean): number {
    const event = this.#stage2.translate(stream, page, EVENT_CLASS.in, writes);
    this.#page = page;
    this.target = this.#stage2.target;
    this.middle = page;
    this.sizeLog2 = this.#stage2.sizeLog2;
    this.attributes = this.#stage2.attributes | STAGE1_ALL;
    return event;
  }

  /**
   * Uses what was found: sets AF and makes clean pages dirty where that is the SMMU's work, then keeps it.
   *
   * @param context undefined when stage 1 is off
   * @param dirty the access writes, or a Translation Request is granted write permission
   * @returns 0, or an event of stage 2 about the table that stage 1 has to update
   */
  use(stream: StreamEntry, context: ContextEntry | undefined, dirty: boolean): number {
    if (context === undefined) {
      this.#stage2.use(stream, this.#page, dirty);
      this.attributes = this.#stage2.attributes | STAGE1_ALL;
      return 0;
    }
    if (this.#leaf === 0) {
      return 0;
    }
    if (stream.stage2) {
      this.#stage2.use(stream, this.middle, dirty);
    }
    if ((this.attributes & NEEDS_UPDATE) !== 0 || (dirty && (this.attributes & ANY_CLEAN) !== 0)) {
      const event = this.#update(stream, context, dirty);
      if (event !== 0) {
        return event;
      }
    }
    if (this.#tlb.leaves.keeps) {
      this.#keep(stream, context);
    }
    return 0;
  }

  /** @returns false when the entry does not serve: it is clean, and the access may have to make it dirty */
  #fromTlb(entry: number, page: number, writes: boolean): boolean {
    const { leaves } = this.#tlb;
    const attributes = leaves.attributes[entry] ?? 0;
    if (writes && (attributes & ANY_CLEAN) !== 0) {
      return false;
    }
    const into = page - (leaves.page[entry] ?? 0);
    this.target = (leaves.target[entry] ?? 0) + into;
    this.middle = (leaves.middle[entry] ?? 0) + into;
    this.attributes = attributes;
    this.sizeLog2 = sizeLog2Of(leaves.key[entry] ?? 0);
    this.#leaf = 0;
    return true;
  }

  #keep(stream: StreamEntry, context: ContextEntry): void {
    this.#tlb.keep(
      stream.regime,
      kindOfContext(stream, context),
      context.aset,
      this.#page,
      this.target,
      this.middle,
      this.sizeLog2,
      this.attributes,
      this.#level,
      this.#originLog2,
    );
  }

  /** Stage 2 of the page that stage 1 found; not asked when stage 1 grants nothing of what is needed. */
  #through(stream: StreamEntry, privileged: boolean, need: number, all: boolean, writes: boolean): number {
    const granted = grantedByStage1(this.attributes, privileged) & need;
    if (granted === 0 || (all && granted !== need)) {
      return EVENT.F_PERMISSION;
    }
    const stage2 = this.#stage2;
    const event = stage2.translate(stream, this.middle, EVENT_CLASS.in, writes);
    if (event !== 0) {
      return event;
    }
    this.target = stage2.target;
    this.sizeLog2 = Math.min(this.sizeLog2, stage2.sizeLog2);
    this.attributes = combine(this.attributes & ~STAGE2_ALL, stage2.attributes);
    return 0;
  }

  #update(stream: StreamEntry, context: ContextEntry, dirty: boolean): number {
    const dirties = dirty && (this.attributes & ATTR.clean) !== 0;
    if (dirties || (this.attributes & ATTR.needsAccessFlag) !== 0) {
      if (stream.stage2) {
        const event = this.#stage2.fetch(stream, this.#leafIntermediate, EVENT_CLASS.tt, true);
        if (event !== 0) {
          return event;
        }
      }
      this.#walk.update(context, this.#leaf, dirties);
    }
    this.attributes &= ~(NEEDS_UPDATE | (dirty ? ANY_CLEAN : 0));
    this.#site.reset();
    return 0;
  }
}
