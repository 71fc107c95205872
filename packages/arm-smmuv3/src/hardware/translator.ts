import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT } from "../layout/event-record.ts";
import { PTE } from "../layout/vmsav8-64.ts";
import type { ContextEntry } from "./context-entry.ts";
import type { IoTlb } from "./io-tlb.ts";
import { Stage1Walk } from "./stage1-walk.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { WORLD } from "./stream-entry.ts";
import type { Translation } from "./translation.ts";

/**
 * Stage 1 from a context descriptor: the TLB, else the walk, and the updates of descriptors that hardware makes. One
 * object per SMMU, reused.
 *
 * Source: SMMUv3 §3.4, §3.13, §3.17.
 */
export class Translator {
  /** The translation, after {@link Translator.find} gave 0. */
  found: Translation | undefined;
  readonly #memory: PhysicalMemory;
  readonly #tlb: IoTlb;
  readonly #walk: Stage1Walk;

  constructor(memory: PhysicalMemory, tlb: IoTlb) {
    this.#memory = memory;
    this.#tlb = tlb;
    this.#walk = new Stage1Walk(memory);
  }

  /** The descriptor at fault. */
  get descriptor(): number {
    return this.#walk.descriptor;
  }

  /**
   * Finds the translation of a page.
   *
   * @param writes the access may have to make a clean page dirty, so a clean one in the TLB does not serve
   * @returns 0 or the event
   */
  find(stream: StreamEntry, context: ContextEntry, page: number, writes: boolean): number {
    const { world } = stream;
    const hit = this.#tlb.lookup(world, vmidOf(stream), context.asid, context.aset, page);
    if (hit !== undefined && !(writes && hit.clean)) {
      this.found = hit;
      return 0;
    }
    const event = this.#walk.walk(context, page);
    this.found = this.#walk.found;
    return event;
  }

  /**
   * Uses what was found: sets AF and makes a clean page dirty where that is the SMMU's work, then keeps it.
   *
   * @param dirty the access writes, or a Translation Request asks for write permission
   */
  use(stream: StreamEntry, context: ContextEntry, dirty: boolean): Translation {
    const { found } = this;
    if (found === undefined) {
      throw new Error("nothing was found");
    }
    const cleans = dirty && found.clean;
    let used = found;
    if (found.needsAccessFlag || cleans) {
      this.#memory.load64(found.leafAddress);
      const { lo, hi } = this.#memory;
      this.#memory.store64(found.leafAddress, ((lo | PTE.af) & (cleans ? ~PTE.readOnly : -1)) >>> 0, hi);
      used = {
        ...found,
        needsAccessFlag: false,
        clean: found.clean && !cleans,
        readOnly: found.readOnly && !cleans,
      };
      this.found = used;
    }
    this.#tlb.keep(stream.world, vmidOf(stream), context.asid, context.aset, used);
    return used;
  }
}

/** VMIDs tag NS-EL1 alone. */
function vmidOf(stream: StreamEntry): number {
  return stream.world === WORLD.nsEl1 ? stream.vmid : 0;
}

/** Faults of the translation itself, which CD.A and CD.R are about. Source: SMMUv3 §5.5. */
export function isTranslationFault(event: number): boolean {
  return event >= EVENT.F_TRANSLATION && event <= EVENT.F_PERMISSION;
}
