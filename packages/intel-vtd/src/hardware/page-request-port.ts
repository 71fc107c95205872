import type { IommuHardware, PageRequest, RootComplex } from "@iommu-lab/pci";
import { NO_PASID } from "@iommu-lab/pci";
import type { Capabilities } from "../layout/capabilities.ts";
import { faultReason } from "../layout/fault-reason.ts";
import { PGTT_FIRST_STAGE } from "../layout/pasid-entry.ts";
import { TTM_ABORT, TTM_LEGACY, TTM_SCALABLE } from "../layout/registers.ts";
import { FaultReporter } from "./fault-reporter.ts";
import type { HeldScalableContext } from "./held-context.ts";
import type { HeldPasid } from "./held-pasid.ts";
import type { PageRequestQueue } from "./page-request-queue.ts";
import { lookUpPasid } from "./pasid-lookup.ts";
import type { PortParts } from "./request-port.ts";
import { lookUpScalableContext, pasidFault } from "./scalable-lookup.ts";
import { Trail } from "./trail.ts";

const SUCCESS = 0;
const INVALID_REQUEST = 1;

/**
 * Takes Page Requests: into the queue when the tables allow, else answered by the unit itself.
 *
 * Source: VT-d 5.10 §7.3, §7.4, §7.5.
 */
export class PageRequestPort {
  readonly #parts: PortParts;
  readonly #unit: IommuHardware;
  readonly #root: RootComplex;
  readonly #queue: PageRequestQueue;
  readonly #reporter: FaultReporter;
  readonly #trail = new Trail();

  constructor(parts: PortParts, unit: IommuHardware, root: RootComplex, queue: PageRequestQueue) {
    this.#parts = parts;
    this.#unit = unit;
    this.#root = root;
    this.#queue = queue;
    this.#reporter = new FaultReporter(parts);
  }

  /** A Page Request arrived. While translation is off it is lost. */
  receive(request: PageRequest): void {
    if (!this.#parts.command.translating) {
      return;
    }
    const trail = this.#trail;
    trail.start();
    const code = this.#judge(request);
    if (code !== 0) {
      const { rid, pasid, page } = request;
      const reason = faultReason(code);
      this.#reporter.report(
        reason,
        { rid, pasid, page, type: 0, privileged: false, execute: false },
        "page-request",
        trail,
      );
      this.#answer(request, INVALID_REQUEST);
    } else if (this.#queue.overflowed || !this.#queue.add({ ...request, sourceId: request.rid })) {
      this.#answer(request, SUCCESS);
    }
  }

  /** A request that is not the last of its group gets no answer, nor does a stop marker. */
  #answer(request: PageRequest, code: number): void {
    if (request.last && (request.read || request.write)) {
      this.#root.sendPageResponse(this.#unit, request.rid, request.pasid, request.groupIndex, code);
    }
  }

  #judge(request: PageRequest): number {
    const { command, context, caches } = this.#parts;
    const { caps } = context;
    if (command.mode === TTM_LEGACY) {
      return 0x32;
    }
    if (command.mode === TTM_ABORT && caps.adms) {
      return 0x33;
    }
    if (command.mode !== TTM_SCALABLE || !caps.smts) {
      return 0x30;
    }
    const trail = this.#trail;
    const entry = lookUpScalableContext(context, caches, trail, request.rid);
    if (entry === undefined) {
      return trail.fault;
    }
    const refused = contextFault(caps, entry, request.pasid);
    if (refused !== 0) {
      return refused;
    }
    const pasid = request.pasid === NO_PASID ? entry.ridPasid : request.pasid;
    const found = lookUpPasid(context, caches, trail, entry, request.rid, pasid);
    if (found === undefined) {
      return trail.fault;
    }
    this.#forget(found, pasid, request.page);
    return 0;
  }

  /** The page is about to change: the unit drops what it knows of it. */
  #forget(entry: HeldPasid, pasid: number, page: number): void {
    const { caches } = this.#parts;
    if (entry.translationType === PGTT_FIRST_STAGE) {
      caches.invalidatePasidPages(entry.domainId, pasid, page, 0, false);
    } else if (entry.nested) {
      caches.invalidateDomain(entry.domainId);
    } else {
      caches.invalidatePages(entry.domainId, page, 0, false);
    }
  }
}

function contextFault(caps: Capabilities, entry: HeldScalableContext, pasid: number): number {
  if (!entry.deviceTlbEnable) {
    return 0x44;
  }
  return entry.pageRequestEnable ? pasidFault(caps, entry, pasid) : 0x47;
}
