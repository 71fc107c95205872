import { EVENT_NX, EVENT_PE, EVENT_PR } from "../layout/event.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { GuestWalk } from "./guest-walk.ts";
import type { HostTranslation } from "./host-translation.ts";
import { keptFlags, takeKept } from "./kept-translation.ts";
import type { Request } from "./request.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import { KEPT_DIRTY, KEPT_HOST, spaceOf } from "./translation-caches.ts";
import type { Walk } from "./walk.ts";
import { Walk as WalkResult, lacks } from "./walk.ts";

/** What finding translations needs. */
export interface ResolverParts {
  readonly caches: TranslationCaches;
  readonly host: HostTranslation;
  readonly guest: GuestWalk;
  /** NpCache: that there is no page is kept too. */
  readonly keepAbsent: boolean;
}

/**
 * Finds a request's translation: a kept one, or by a walk whose result is then kept.
 *
 * Source: AMD IOMMU specification §2.2.3, §2.2.6.
 */
export class Resolver {
  /** What the last request got; permissions of the DTE are no part of it. */
  found: Walk;
  readonly #parts: ResolverParts;
  readonly #identity: Walk = new WalkResult();

  constructor(parts: ResolverParts) {
    this.#parts = parts;
    this.found = this.#identity;
  }

  /** Mode 0 without guest translation: the address stays. */
  identity(dte: FetchedDte, page: number): void {
    const found = this.#identity;
    found.start();
    found.page = page;
    found.forceCoherent = dte.attributeValid && dte.mode0ForceCoherent;
    found.line = dte.address;
    this.found = found;
  }

  /** Translates by the host table. @returns whether there is a page that the request may use */
  translateHost(dte: FetchedDte, request: Request): boolean {
    const { host } = this.#parts;
    this.found = host.found;
    return host.run(dte, request.page, request.need, request.dirties);
  }

  /** Translates by the guest table of the request's PASID. @returns whether there is a page that the request may use */
  translateGuest(dte: FetchedDte, request: Request): boolean {
    const { caches, guest, keepAbsent } = this.#parts;
    const { found } = guest;
    const { page, pasid } = request;
    const space = spaceOf(dte.domainId, request.privileged);
    this.found = found;
    const slot = caches.find(space, pasid, page);
    if (slot >= 0 && (!request.dirties || (caches.translations.flags(slot) & KEPT_DIRTY) !== 0)) {
      return takeKept(caches, slot, page, found) && this.#allows(dte, request);
    }
    const ok = guest.run(dte, page, request);
    const host = dte.mode !== 0;
    if (ok) {
      caches.keep(space, pasid, page, found.sizeLog2, found.page, keptFlags(found, host), found.line);
    } else if (keepAbsent && found.end === "fault" && found.flags === 0) {
      caches.keep(space, pasid, page, 12, 0, KEPT_DIRTY | (host ? KEPT_HOST : 0), found.line);
    }
    return ok;
  }

  /** Whether a kept translation serves the request. */
  #allows(dte: FetchedDte, request: Request): boolean {
    const { found } = this;
    if (lacks(request.need, found.read && dte.read, found.write && dte.write)) {
      return found.fault(EVENT_PR | EVENT_PE);
    }
    return request.execute && !found.execute ? found.fault(EVENT_PR | EVENT_PE | EVENT_NX) : true;
  }
}
