import type { PhysicalMemory, Trace } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { Endpoint } from "../endpoint/endpoint.ts";
import type { PageRequestResult } from "../endpoint/page-requests.ts";
import { TlpCounters } from "./counters.ts";
import { Destinations, type DoorbellListener } from "./destinations.ts";
import { Hierarchy } from "./hierarchy.ts";
import type { Delivery, IommuHardware, PageRequest, RootComplex, TranslateResult } from "./iommu-hardware.ts";
import type { MemoryTarget } from "./memory-target.ts";
import { type DmaResult, type RequestStatus, type TranslationResult, completionOf } from "./outcome.ts";
import { AT_MASK, AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_WRITE, type Rid, formatRid } from "./request.ts";
import { type RootPeerToPeer, Router } from "./router.ts";
import { TlpTrace } from "./tlp-trace.ts";

interface ServedBy {
  readonly hardware: IommuHardware;
  readonly serves: (rid: Rid) => boolean;
}

/**
 * The way from endpoints to memory and back: ports with their ACS checks, the root complex, the IOMMU that serves a
 * requester ID, then RAM or an interrupt doorbell. A request that passes changes bytes, whoever forged it.
 */
export class Fabric implements RootComplex {
  /** What it carried so far. */
  readonly counters: TlpCounters = new TlpCounters();
  readonly #trace: Trace;
  readonly #tlps: TlpTrace;
  readonly #hierarchy = new Hierarchy();
  readonly #router: Router;
  readonly #endpoints = new Map<Rid, Endpoint>();
  readonly #iommus: ServedBy[] = [];
  readonly #destinations: Destinations;

  constructor(memory: PhysicalMemory, trace: Trace) {
    this.#trace = trace;
    this.#tlps = new TlpTrace(trace);
    this.#router = new Router(this.#hierarchy, trace);
    this.#destinations = new Destinations(memory, this.#hierarchy, this.#router);
  }

  /** What the root complex does with requests between its ports; `translated` at first. */
  get rootPeerToPeer(): RootPeerToPeer {
    return this.#router.rootPeerToPeer;
  }

  /** Changes it at any time. */
  set rootPeerToPeer(rule: RootPeerToPeer) {
    this.#router.rootPeerToPeer = rule;
  }

  /** Puts an IOMMU between the root complex and memory, for the requester IDs it serves. The first that serves counts. */
  attachIommu(hardware: IommuHardware, serves: (rid: Rid) => boolean): void {
    this.#iommus.push({ hardware, serves });
  }

  /**
   * Makes a page an interrupt doorbell. A write reaches it as it would reach RAM: through the IOMMU where there is one.
   *
   * @param page host page number
   */
  addDoorbell(page: number, onWrite: DoorbellListener): void {
    this.#destinations.addDoorbell(page, onWrite);
  }

  /** Plugs an endpoint in. @throws InputError when the requester ID is taken */
  addEndpoint(endpoint: Endpoint): void {
    if (this.#endpoints.has(endpoint.rid)) {
      throw new InputError(`two functions at ${formatRid(endpoint.rid)}`);
    }
    this.#endpoints.set(endpoint.rid, endpoint);
    this.#hierarchy.add(endpoint);
  }

  /** Takes an endpoint out: nothing reaches it any more. */
  removeEndpoint(endpoint: Endpoint): void {
    if (this.#endpoints.get(endpoint.rid) === endpoint) {
      this.#endpoints.delete(endpoint.rid);
      this.#hierarchy.remove(endpoint);
    }
  }

  /** Base addresses of a function have sizes now: peers can reach its memory. */
  memoryDeclared(endpoint: MemoryTarget): void {
    this.#hierarchy.memoryDeclared(endpoint);
  }

  /** The endpoint with this requester ID. @throws InputError when there is none */
  endpoint(rid: Rid): Endpoint {
    const found = this.#endpoints.get(rid);
    if (found === undefined) {
      throw new InputError(`no endpoint at ${formatRid(rid)}`);
    }
    return found;
  }

  /** The IOMMU that serves a requester ID. */
  iommuOf(rid: Rid): IommuHardware | undefined {
    for (const one of this.#iommus) {
      if (one.serves(rid)) {
        return one.hardware;
      }
    }
    return undefined;
  }

  /**
   * Carries an Untranslated or Translated request. Requests that no IOMMU serves pass as they are.
   *
   * @param from the sender, whose ports are passed
   * @param rid the requester ID in the request; a read's data go to that function
   * @param value the 4 bytes of a write
   * @param into gets what became of it
   */
  access(
    from: MemoryTarget,
    rid: Rid,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    into.reset();
    const tlp = this.#tlps.request(from.name, rid, pasid, page, offset, flags);
    into.event = tlp;
    const route = this.#router.up(from, rid, pasid, page, offset, flags, tlp);
    const isWrite = (flags & REQUEST_WRITE) !== 0;
    if (route.end === "root") {
      this.#judge(from, route.rid, pasid, page, offset, flags, value, into);
    } else if (route.end === "peer") {
      this.#destinations.turned(from, route.down, pasid, page, offset, flags, value, into);
    } else {
      into.status = route.end;
      into.fault = route.rule;
    }
    if (isWrite) {
      this.counters.countPosted(into.status);
    } else {
      this.counters.countNonPosted(into.status);
      if (rid !== from.rid) {
        this.#completeElsewhere(rid, into);
      }
    }
    this.#tlps.result(tlp, into.status);
  }

  /** A completion follows the requester ID in the request, whoever that is. */
  #completeElsewhere(rid: Rid, into: DmaResult): void {
    into.value = undefined;
    if (completionOf(into.status) !== "none") {
      this.#endpoints.get(rid)?.receiveUnexpectedCompletion();
    }
  }

  #judge(
    from: MemoryTarget,
    rid: Rid,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    if (isReserved(flags)) {
      into.status = "UR";
      into.fault = "Address Type";
      return;
    }
    let host = page;
    const iommu = this.iommuOf(rid);
    if (iommu !== undefined) {
      const answer = this.#ask(iommu, rid, pasid, page, offset, flags, into.event);
      into.status = statusOf(answer);
      into.fault = answer.fault;
      into.recorded = answer.recorded;
      if (answer.ignored) {
        into.status = "success";
        into.value = (flags & REQUEST_WRITE) === 0 ? 0 : undefined;
        return;
      }
      if (answer.status !== "success") {
        return;
      }
      host = answer.page;
    }
    this.#destinations.fromRoot(from, rid, host, offset, flags, value, into);
  }

  /**
   * Carries a Translation Request. Without an IOMMU there is no translation agent and the answer is UR.
   *
   * @param flags the `REQUEST_` bits; AT is set here
   * @param into gets the completion; it goes to the function that `rid` names
   */
  translation(from: MemoryTarget, rid: Rid, pasid: number, page: number, flags: number, into: TranslationResult): void {
    const all = flags | AT_TRANSLATION_REQUEST;
    into.reset(page);
    const tlp = this.#tlps.request(from.name, rid, pasid, page, 0, all);
    into.event = tlp;
    const route = this.#router.up(from, rid, pasid, page, 0, all, tlp);
    const seen = route.end === "root" ? route.rid : rid;
    const iommu = this.iommuOf(seen);
    if (route.end === "acs" || route.end === "malformed") {
      into.status = route.end;
      into.fault = route.rule;
    } else if (iommu === undefined) {
      into.status = "UR";
    } else {
      const answer = this.#ask(iommu, seen, pasid, page, 0, all, tlp);
      into.status = statusOf(answer);
      into.fault = answer.fault;
      into.recorded = answer.recorded;
      if (answer.status === "success" && rid === from.rid) {
        copyTranslation(answer, into);
      }
    }
    this.counters.countNonPosted(into.status);
    if (rid !== from.rid && completionOf(into.status) !== "none") {
      this.#endpoints.get(rid)?.receiveUnexpectedCompletion();
    }
    this.#tlps.translated(tlp, into);
  }

  /** Carries a Page Request to the IOMMU that serves the requester ID. */
  pageRequest(from: MemoryTarget, request: PageRequest): PageRequestResult {
    const { rid, pasid, page } = request;
    const event = this.#tlps.message("page-request", from.name, rid, pasid, page, undefined);
    const iommu = this.iommuOf(rid);
    const blocked = this.#router.stopsMessage(from, rid, pasid) !== "";
    const delivery: Delivery = blocked ? "lost" : iommu === undefined ? "UR" : "delivered";
    if (delivery === "delivered" && iommu !== undefined) {
      this.#tlps.within(event, () => {
        iommu.pageRequest(request);
      });
    }
    this.#delivered(event, delivery);
    return { sent: true, reason: "", delivery, event };
  }

  /** Carries an Invalidate Completion back to the IOMMU that asked. */
  invalidateCompletion(from: MemoryTarget, to: IommuHardware, itags: number, count: number, cause: number): void {
    const event = this.#tlps.message("invalidate-completion", from.name, from.rid, NO_PASID, 0, cause);
    this.#tlps.within(event, () => {
      to.invalidateCompletion(from.rid, itags, count);
    });
    this.#delivered(event, "delivered");
  }

  sendInvalidate(
    from: IommuHardware,
    rid: Rid,
    itag: number,
    pasid: number,
    page: number,
    sizeLog2: number,
    global: boolean,
    cause: number,
  ): Delivery {
    const event = this.#tlps.message("invalidate-request", from.name, rid, pasid, page, cause);
    const target = this.#endpoints.get(rid);
    const delivery = target?.receiveInvalidate({ from, itag, pasid, page, sizeLog2, global, event }) ?? "UR";
    this.#delivered(event, delivery);
    return delivery;
  }

  sendPageResponse(from: IommuHardware, rid: Rid, pasid: number, groupIndex: number, code: number): Delivery {
    const event = this.#tlps.message("page-response", from.name, rid, pasid, 0, undefined);
    const delivery = this.#endpoints.get(rid)?.receivePageResponse(pasid, groupIndex, code) ?? "UR";
    this.#delivered(event, delivery);
    return delivery;
  }

  #delivered(event: number, delivery: Delivery): void {
    this.counters.countMessage(delivery);
    this.#tlps.result(event, delivery);
  }

  #ask(
    iommu: IommuHardware,
    rid: Rid,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    tlp: number,
  ): TranslateResult {
    if (tlp === 0) {
      return iommu.translate(rid, pasid, page, offset, flags);
    }
    this.#trace.enter(tlp);
    try {
      return iommu.translate(rid, pasid, page, offset, flags);
    } finally {
      this.#trace.leave();
    }
  }
}

/** AT=11 is reserved, and a Translation Request is always a read. Source: PCIe 6.0 §10.2.1. */
function isReserved(flags: number): boolean {
  const type = flags & AT_MASK;
  return type === AT_MASK || type === AT_TRANSLATION_REQUEST;
}

function statusOf(answer: TranslateResult): RequestStatus {
  if (answer.status === "pending") {
    throw new Error("an IOMMU stalled a PCIe request, which it must not");
  }
  return answer.status;
}

function copyTranslation(answer: TranslateResult, into: TranslationResult): void {
  into.host = answer.page;
  into.sizeLog2 = answer.sizeLog2;
  into.read = answer.read;
  into.write = answer.write;
  into.execute = answer.execute;
  into.privileged = answer.privileged;
  into.global = answer.global;
  into.untranslatedOnly = answer.untranslatedOnly;
  into.noSnoop = answer.noSnoop;
  into.cxlIo = answer.cxlIo;
}
