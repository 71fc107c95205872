import type { PhysicalMemory } from "@iommu-lab/core";
import { address52 } from "@iommu-lab/core";
import { GCR3_VALID, gcr3Capacity, gcr3Index } from "../layout/gcr3-entry.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { HostTranslation } from "./host-translation.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import { KEPT_HOST } from "./translation-caches.ts";
import { Walk } from "./walk.ts";

/** PASIDs of a table by GLX. */
const CAPACITY: readonly number[] = [0, 1, 2].map((glx) => gcr3Capacity(glx));

/**
 * Walks the GCR3 table of a DTE to the top table of a PASID's guest. The tables stand at guest physical addresses when there
 * is a host table; the first one only with GCR3TRPMode.
 *
 * Source: AMD IOMMU specification §2.2.6.3.
 */
export class Gcr3Walk {
  /** How the walk ended; the walk of the guest's table goes on with it. */
  readonly found: Walk = new Walk();
  readonly #memory: PhysicalMemory;
  readonly #caches: TranslationCaches;
  readonly #host: HostTranslation;
  readonly #maxPasids: number;
  readonly #rootIsGuest: () => boolean;

  /**
   * @param pasMax PASMax of the EFR
   * @param rootIsGuest GCR3TRPMode of Control
   */
  constructor(
    memory: PhysicalMemory,
    caches: TranslationCaches,
    host: HostTranslation,
    pasMax: number,
    rootIsGuest: () => boolean,
  ) {
    this.#memory = memory;
    this.#caches = caches;
    this.#host = host;
    this.#maxPasids = 2 ** (pasMax + 1);
    this.#rootIsGuest = rootIsGuest;
  }

  /** @returns the address of the top table; -1 = {@link Gcr3Walk.found} says why there is none */
  run(dte: FetchedDte, pasid: number): number {
    const { found } = this;
    if (pasid >= this.#maxPasids || pasid >= (CAPACITY[dte.glx] ?? 0)) {
      found.fault(0);
      return -1;
    }
    const { gcr3 } = this.#caches;
    const kept = gcr3.find(dte.domainId, pasid, 0, 0);
    if (kept >= 0) {
      found.line = gcr3.line(kept);
      return gcr3.value(kept);
    }
    const root = this.#walk(dte, pasid);
    if (root >= 0) {
      gcr3.keep(dte.domainId, pasid, 0, 0, root, dte.mode === 0 ? 0 : KEPT_HOST, found.line);
    }
    return root;
  }

  #walk(dte: FetchedDte, pasid: number): number {
    const { found } = this;
    const memory = this.#memory;
    let table = dte.gcr3Root;
    for (let level = dte.glx; level >= 0; level -= 1) {
      if (dte.mode !== 0 && (level < dte.glx || this.#rootIsGuest())) {
        if (!this.#host.run(dte, table / 4096, "read", false)) {
          return this.#hostFailed();
        }
        table = this.#host.found.page * 4096;
      }
      const slot = table + gcr3Index(pasid, level) * 8;
      found.line = slot;
      if (!memory.load64(slot)) {
        found.hardware();
        return -1;
      }
      if ((memory.lo & GCR3_VALID) === 0) {
        found.fault(0);
        return -1;
      }
      table = address52(memory.lo, memory.hi);
    }
    return table;
  }

  #hostFailed(): -1 {
    const { found } = this.#host;
    this.found.line = found.line;
    if (found.end === "hardware") {
      this.found.hardware();
    } else {
      this.found.fault(found.flags);
    }
    return -1;
  }
}
