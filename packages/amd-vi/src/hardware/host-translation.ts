import type { PhysicalMemory } from "@iommu-lab/core";
import { EVENT_PE, EVENT_PR } from "../layout/event.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import { HostWalk } from "./host-walk.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import { HOST, KEPT_DIRTY } from "./translation-caches.ts";
import { takeKept, keptFlags } from "./kept-translation.ts";
import type { Need, Walk } from "./walk.ts";
import { lacks } from "./walk.ts";

/** Host translations, kept or walked: of requests and, under guest tables, of guest physical addresses. */
export class HostTranslation {
  /** What the last translation found; permissions of the DTE are no part of it. */
  readonly found: Walk;
  readonly #walk: HostWalk;
  readonly #caches: TranslationCaches;
  readonly #keepAbsent: boolean;

  /** @param keepAbsent NpCache: that there is no page is kept too */
  constructor(memory: PhysicalMemory, caches: TranslationCaches, keepAbsent: boolean) {
    this.#walk = new HostWalk(memory, caches);
    this.found = this.#walk.found;
    this.#caches = caches;
    this.#keepAbsent = keepAbsent;
  }

  /**
   * Translates by the table of a DTE whose Mode is not 0.
   *
   * @param dirties the access makes the page dirty
   * @returns whether there is a page that the access may use
   */
  run(dte: FetchedDte, page: number, need: Need, dirties: boolean): boolean {
    const caches = this.#caches;
    const { found } = this;
    const slot = caches.find(dte.domainId, HOST, page);
    if (slot >= 0 && (!dirties || (caches.translations.flags(slot) & KEPT_DIRTY) !== 0)) {
      if (!takeKept(caches, slot, page, found)) {
        return false;
      }
      const denied = lacks(need, found.read && dte.read, found.write && dte.write);
      return denied ? found.fault(EVENT_PR | EVENT_PE) : true;
    }
    const ok = this.#walk.run(dte, page, need, dirties);
    if (ok) {
      caches.keep(dte.domainId, HOST, page, found.sizeLog2, found.page, keptFlags(found, true), found.line);
    } else if (this.#keepAbsent && found.end === "fault" && found.flags === 0) {
      caches.keep(dte.domainId, HOST, page, 12, 0, KEPT_DIRTY, found.line);
    }
    return ok;
  }
}
