import type { PhysicalMemory } from "@iommu-lab/core";
import { address52 } from "@iommu-lab/core";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { EVENT_NX, EVENT_PE, EVENT_PR, EVENT_RZ } from "../layout/event.ts";
import { GCR3_VALID, gcr3Capacity, gcr3Index } from "../layout/gcr3-entry.ts";
import { HostWalk } from "./host-walk.ts";
import type { Need } from "./walk.ts";
import { Walk, lacks } from "./walk.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const LARGE = 0x80;
const NO_EXECUTE_HI = 2 ** 31;

/** An access to a guest address. */
export interface GuestAccess {
  readonly pasid: number;
  readonly need: Need;
  readonly privileged: boolean;
  readonly execute: boolean;
}

/**
 * Walks the GCR3 table to a PASID's guest (v2) page table, and that to a page; with Mode other than 0 every guest physical
 * address on the way goes through the host table.
 *
 * Source: AMD IOMMU specification §2.2.6; AMD64 Architecture Programmer's Manual, volume 2 §5.3.
 */
export class GuestWalk {
  /** What the last walk found. */
  readonly found: Walk = new Walk();
  readonly #memory: PhysicalMemory;
  readonly #host: HostWalk;
  readonly #maxPasids: number;
  /** A table address after {@link GuestWalk.#hostPage}. */
  #table = 0;

  /** @param pasMax PASMax of the EFR */
  constructor(memory: PhysicalMemory, pasMax: number) {
    this.#memory = memory;
    this.#host = new HostWalk(memory);
    this.#maxPasids = 2 ** (pasMax + 1);
  }

  /**
   * @param rootIsGuest GCR3TRPMode: the address of the GCR3 table is a guest's
   * @returns whether a page was found
   */
  run(dte: DeviceTableEntry, page: number, access: GuestAccess, rootIsGuest: boolean): boolean {
    const { found } = this;
    found.start();
    if (access.pasid >= this.#maxPasids || access.pasid >= gcr3Capacity(dte.glx)) {
      return found.fault(0);
    }
    return this.#findTable(dte, access.pasid, rootIsGuest) && this.#walkTable(dte, page, access);
  }

  /** Leaves the address of the PASID's top table in `#table`. */
  #findTable(dte: DeviceTableEntry, pasid: number, rootIsGuest: boolean): boolean {
    const { found } = this;
    this.#table = dte.gcr3Root;
    for (let level = dte.glx; level >= 0; level -= 1) {
      if ((level < dte.glx || rootIsGuest) && !this.#hostPage(dte, this.#table)) {
        return false;
      }
      const slot = this.#table + gcr3Index(pasid, level) * 8;
      found.line = slot;
      if (!this.#memory.load64(slot)) {
        return found.hardware();
      }
      const { lo, hi } = this.#memory;
      if ((lo & GCR3_VALID) === 0) {
        return found.fault(0);
      }
      this.#table = address52(lo, hi);
    }
    return true;
  }

  #walkTable(dte: DeviceTableEntry, page: number, access: GuestAccess): boolean {
    const { found } = this;
    const levels = 4 + dte.guestPagingMode;
    if (!isCanonical(page, levels, access.pasid)) {
      return found.fault(0);
    }
    for (let level = levels; ; level -= 1) {
      if (!this.#hostPage(dte, this.#table)) {
        return false;
      }
      const slot = this.#table + (Math.floor(page / 2 ** (9 * (level - 1))) % 512) * 8;
      found.line = slot;
      if (!this.#memory.load64(slot)) {
        return found.hardware();
      }
      const { lo, hi } = this.#memory;
      if (!this.#permits(dte, lo, hi, access)) {
        return false;
      }
      const large = level > 1 && (lo & LARGE) !== 0;
      if (large && level > 3) {
        return found.fault(EVENT_PR | EVENT_RZ);
      }
      if (level === 1 || large) {
        return this.#leaf(dte, lo, hi, level, page, access.need);
      }
      this.#table = address52(lo, hi);
    }
  }

  #permits(dte: DeviceTableEntry, lo: number, hi: number, access: GuestAccess): boolean {
    const { found } = this;
    if ((lo & PRESENT) === 0) {
      return found.fault(0);
    }
    const user = access.privileged || (lo & USER) !== 0;
    found.read &&= user;
    found.write &&= user && (lo & WRITABLE) !== 0;
    found.execute &&= user && (hi & NO_EXECUTE_HI) === 0;
    if (lacks(access.need, found.read && dte.read, found.write && dte.write)) {
      return found.fault(EVENT_PR | EVENT_PE);
    }
    return access.execute && !found.execute ? found.fault(EVENT_PR | EVENT_PE | EVENT_NX) : true;
  }

  #leaf(dte: DeviceTableEntry, lo: number, hi: number, level: number, page: number, need: Need): boolean {
    const { found } = this;
    const pages = 2 ** (9 * (level - 1));
    const start = address52(lo, hi) / 4096;
    // PAT of a large page is bit 12; the other bits below the size are reserved.
    if (level > 1 && Math.floor((start % pages) / 2) !== 0) {
      return found.fault(EVENT_PR | EVENT_RZ);
    }
    found.sizeLog2 = 12 + 9 * (level - 1);
    found.page = Math.floor(start / pages) * pages + (page % pages);
    if (dte.mode === 0) {
      return true;
    }
    const inner = this.#host;
    if (!inner.run(dte.hostRoot, dte.mode, found.page, need, dte.read, dte.write)) {
      return this.#hostFailed();
    }
    found.page = inner.found.page;
    found.sizeLog2 = Math.min(found.sizeLog2, inner.found.sizeLog2);
    found.read &&= inner.found.read;
    found.write &&= inner.found.write;
    found.forceCoherent = inner.found.forceCoherent;
    found.untranslatedOnly = inner.found.untranslatedOnly;
    return true;
  }

  /** Turns the guest physical address of a table into a host address in `#table`. */
  #hostPage(dte: DeviceTableEntry, address: number): boolean {
    this.#table = address;
    if (dte.mode === 0) {
      return true;
    }
    if (!this.#host.run(dte.hostRoot, dte.mode, address / 4096, "read", dte.read, dte.write)) {
      return this.#hostFailed();
    }
    this.#table = this.#host.found.page * 4096;
    return true;
  }

  #hostFailed(): false {
    const { found } = this.#host;
    this.found.line = found.line;
    return found.end === "hardware" ? this.found.hardware() : this.found.fault(found.flags);
  }
}

/**
 * Whether an address is in the range of a guest table: sign-extended, but for PASID 0 zero-extended.
 *
 * Source: Linux 7.2 `amd_iommu_domain_alloc_paging_v2()` for PASID 0.
 */
function isCanonical(page: number, levels: number, pasid: number): boolean {
  const span = 2 ** (9 * levels);
  const upper = Math.floor(page / span);
  const negative = pasid !== 0 && page % span >= span / 2;
  return upper === (negative ? 2 ** (52 - 9 * levels) - 1 : 0);
}
