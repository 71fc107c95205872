import type { PhysicalMemory } from "@iommu-lab/core";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { EVENT_NX, EVENT_PE, EVENT_PR } from "../layout/event.ts";
import type { Features } from "../layout/features.ts";
import { GuestWalk } from "./guest-walk.ts";
import { HostWalk } from "./host-walk.ts";
import type { IoTlb, IoTlbEntry } from "./io-tlb.ts";
import { HOST } from "./io-tlb.ts";
import type { Request } from "./request.ts";
import type { WalkEnd } from "./walk.ts";
import { lacks } from "./walk.ts";

/** A request's translation. One object per unit, reused. Permissions include the DTE's. */
export class Resolution {
  end: WalkEnd = "found";
  /** Host page number. */
  page = 0;
  sizeLog2 = 12;
  read = false;
  write = false;
  forceCoherent = false;
  untranslatedOnly = false;
  /** Flags of the event when `end` is `fault`. */
  flags = 0;
  /** Address of the entry that decided. */
  line = 0;
}

/**
 * Finds a request's translation: in the IOTLB, or by a walk whose result is then kept.
 *
 * Source: AMD IOMMU specification §2.2.3, §2.2.6.
 */
export class Resolver {
  /** What the last request got. */
  readonly result: Resolution = new Resolution();
  readonly #iotlb: IoTlb;
  readonly #host: HostWalk;
  readonly #guest: GuestWalk;
  readonly #keepAbsent: boolean;
  readonly #rootIsGuest: () => boolean;

  /**
   * @param keepAbsent NpCache: entries that are not present are kept too
   * @param rootIsGuest GCR3TRPMode of the Control register
   */
  constructor(
    memory: PhysicalMemory,
    features: Features,
    iotlb: IoTlb,
    keepAbsent: boolean,
    rootIsGuest: () => boolean,
  ) {
    this.#iotlb = iotlb;
    this.#host = new HostWalk(memory);
    this.#guest = new GuestWalk(memory, features.pasMax);
    this.#keepAbsent = keepAbsent;
    this.#rootIsGuest = rootIsGuest;
  }

  /** Mode 0 without guest translation: the address stays. */
  identity(dte: DeviceTableEntry, page: number): void {
    const { result } = this;
    result.end = "found";
    result.page = page;
    result.sizeLog2 = 12;
    result.read = dte.read;
    result.write = dte.write;
    result.forceCoherent = dte.attributeValid && dte.mode0ForceCoherent;
    result.untranslatedOnly = false;
    result.flags = 0;
    result.line = 0;
  }

  /** Translates by the host table, or by the guest table of the request's PASID. */
  translate(dte: DeviceTableEntry, request: Request, guest: boolean): void {
    const pasid = guest ? request.pasid : HOST;
    const known = this.#iotlb.lookup(dte.domainId, pasid, request.privileged, request.page);
    if (known === undefined) {
      this.#walk(dte, request, guest, pasid);
    } else {
      this.#use(known, dte, request);
    }
  }

  #walk(dte: DeviceTableEntry, request: Request, guest: boolean, pasid: number): void {
    const { result } = this;
    const { page, need, privileged } = request;
    const ok = guest
      ? this.#guest.run(dte, page, request, this.#rootIsGuest())
      : this.#host.run(dte.hostRoot, dte.mode, page, need, dte.read, dte.write);
    const { found } = guest ? this.#guest : this.#host;
    const absent = found.end === "fault" && found.flags === 0;
    if (ok || (absent && this.#keepAbsent)) {
      this.#iotlb.keep(dte.domainId, pasid, privileged, page, found, !guest || dte.mode !== 0, ok);
    }
    result.end = found.end;
    result.page = found.page;
    result.sizeLog2 = found.sizeLog2;
    result.read = ok && found.read && dte.read;
    result.write = ok && found.write && dte.write;
    result.forceCoherent = found.forceCoherent;
    result.untranslatedOnly = found.untranslatedOnly;
    result.flags = found.flags;
    result.line = found.line;
  }

  #use(known: IoTlbEntry, dte: DeviceTableEntry, request: Request): void {
    const { result } = this;
    result.read = known.read && dte.read && known.present;
    result.write = known.write && dte.write && known.present;
    const flags = missing(known, request, result.read, result.write);
    result.flags = known.present ? flags : 0;
    result.end = known.present && flags === 0 ? "found" : "fault";
    result.page = known.target;
    result.sizeLog2 = known.sizeLog2;
    result.forceCoherent = known.forceCoherent;
    result.untranslatedOnly = known.untranslatedOnly;
    result.line = known.line;
  }
}

/** Flags of the fault that a kept translation gives; 0 = it serves the request. */
function missing(known: IoTlbEntry, request: Request, read: boolean, write: boolean): number {
  if (lacks(request.need, read, write)) {
    return EVENT_PR | EVENT_PE;
  }
  return request.execute && !known.execute ? EVENT_PR | EVENT_PE | EVENT_NX : 0;
}
