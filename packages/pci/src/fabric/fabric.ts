import type { PhysicalMemory, Trace } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { Endpoint } from "../endpoint/endpoint.ts";
import type { PageRequestResult } from "../endpoint/page-requests.ts";
import type { Delivery, IommuHardware, PageRequest, RootComplex, TranslateResult } from "./iommu-hardware.ts";
import type { DmaResult, RequestStatus, TranslationResult } from "./outcome.ts";
import type { Port } from "./port.ts";
import { AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_WRITE, type Rid, formatRid } from "./request.ts";
import { tlpKind } from "./tlp-kind.ts";

const PAGE = 4096;

/** Told about a write to a doorbell page: who wrote which 4 bytes where in the page. */
export type DoorbellListener = (rid: Rid, offset: number, data: number) => void;

interface ServedBy {
  readonly hardware: IommuHardware;
  readonly serves: (rid: Rid) => boolean;
}

/**
 * The way from endpoints to memory and back: ports with their ACS checks, the root complex, the IOMMU that serves a
 * requester ID, then RAM or an interrupt doorbell. A request that passes changes bytes, whoever forged it.
 */
export class Fabric implements RootComplex {
  readonly #memory: PhysicalMemory;
  readonly #trace: Trace;
  readonly #endpoints = new Map<Rid, Endpoint>();
  readonly #iommus: ServedBy[] = [];
  readonly #doorbells = new Map<number, DoorbellListener>();

  constructor(memory: PhysicalMemory, trace: Trace) {
    this.#memory = memory;
    this.#trace = trace;
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
    this.#doorbells.set(page, onWrite);
  }

  /** Plugs an endpoint in. @throws InputError when the requester ID is taken */
  addEndpoint(endpoint: Endpoint): void {
    if (this.#endpoints.has(endpoint.rid)) {
      throw new InputError(`two functions at ${formatRid(endpoint.rid)}`);
    }
    this.#endpoints.set(endpoint.rid, endpoint);
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
    from: Endpoint,
    rid: Rid,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    into.reset();
    const tlp = this.#sent(from.name, rid, pasid, page, offset, flags);
    into.event = tlp;
    into.fault = violation(from.port, rid, flags);
    if (into.fault === "") {
      this.#judge(rid, pasid, page, offset, flags, value, into);
      if (rid !== from.rid) {
        into.value = undefined;
      }
    } else {
      into.status = "acs";
    }
    if (tlp !== 0) {
      this.#trace.emit("tlp:result", { tlp, status: into.status }, tlp);
    }
  }

  #judge(rid: Rid, pasid: number, page: number, offset: number, flags: number, value: number, into: DmaResult): void {
    let host = page;
    const iommu = this.iommuOf(rid);
    if (iommu !== undefined) {
      const answer = this.#ask(iommu, rid, pasid, page, offset, flags, into.event);
      into.status = statusOf(answer);
      into.fault = answer.fault;
      into.recorded = answer.recorded;
      if (answer.status !== "success") {
        return;
      }
      host = answer.page;
    }
    const address = host * PAGE + offset;
    const isWrite = (flags & REQUEST_WRITE) !== 0;
    const doorbell = this.#doorbells.get(host);
    if (doorbell !== undefined) {
      if (isWrite) {
        doorbell(rid, offset, value >>> 0);
      } else {
        into.value = 0;
      }
    } else if (!this.#memory.exists(address)) {
      into.status = "master-abort";
    } else if (isWrite) {
      this.#memory.store32(address, value);
      this.#memory.noteWriter(address, into.event);
    } else {
      into.value = this.#memory.load32(address);
    }
  }

  /**
   * Carries a Translation Request. Without an IOMMU there is no translation agent and the answer is UR.
   *
   * @param flags the `REQUEST_` bits; AT is set here
   * @param into gets the completion; it goes to the function that `rid` names
   */
  translation(from: Endpoint, rid: Rid, pasid: number, page: number, flags: number, into: TranslationResult): void {
    const all = flags | AT_TRANSLATION_REQUEST;
    into.reset(page);
    const tlp = this.#sent(from.name, rid, pasid, page, 0, all);
    into.event = tlp;
    into.fault = violation(from.port, rid, all);
    const iommu = this.iommuOf(rid);
    if (into.fault !== "") {
      into.status = "acs";
    } else if (iommu === undefined) {
      into.status = "UR";
    } else {
      const answer = this.#ask(iommu, rid, pasid, page, 0, all, tlp);
      into.status = statusOf(answer);
      into.fault = answer.fault;
      into.recorded = answer.recorded;
      if (answer.status === "success" && rid === from.rid) {
        copyTranslation(answer, into);
      }
    }
    if (tlp !== 0) {
      const { status, host, read, write } = into;
      this.#trace.emit("tlp:result", { tlp, status, page: host, read, write }, tlp);
    }
  }

  /** Carries a Page Request to the IOMMU that serves the requester ID. */
  pageRequest(from: Endpoint, request: PageRequest): PageRequestResult {
    const { rid, pasid, page } = request;
    const event = this.#message("page-request", from.name, rid, pasid, page, undefined);
    const iommu = this.iommuOf(rid);
    const blocked = violation(from.port, rid, 0) !== "";
    const delivery: Delivery = blocked ? "lost" : iommu === undefined ? "UR" : "delivered";
    if (delivery === "delivered" && iommu !== undefined) {
      this.#within(event, () => {
        iommu.pageRequest(request);
      });
    }
    this.#result(event, delivery);
    return { sent: true, reason: "", delivery, event };
  }

  /** Carries an Invalidate Completion back to the IOMMU that asked. */
  invalidateCompletion(from: Endpoint, to: IommuHardware, itags: number, count: number, cause: number): void {
    const event = this.#message("invalidate-completion", from.name, from.rid, NO_PASID, 0, cause);
    this.#within(event, () => {
      to.invalidateCompletion(from.rid, itags, count);
    });
    this.#result(event, "delivered");
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
    const event = this.#message("invalidate-request", from.name, rid, pasid, page, cause);
    const target = this.#endpoints.get(rid);
    const delivery = target?.receiveInvalidate({ from, itag, pasid, page, sizeLog2, global, event }) ?? "UR";
    this.#result(event, delivery);
    return delivery;
  }

  sendPageResponse(from: IommuHardware, rid: Rid, pasid: number, groupIndex: number, code: number): Delivery {
    const event = this.#message("page-response", from.name, rid, pasid, 0, undefined);
    const delivery = this.#endpoints.get(rid)?.receivePageResponse(pasid, groupIndex, code) ?? "UR";
    this.#result(event, delivery);
    return delivery;
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

  #within(event: number, body: () => void): void {
    if (event === 0) {
      body();
      return;
    }
    this.#trace.enter(event);
    try {
      body();
    } finally {
      this.#trace.leave();
    }
  }

  #sent(from: string, rid: Rid, pasid: number, page: number, offset: number, flags: number): number {
    if (!this.#trace.active) {
      return 0;
    }
    const kind = tlpKind(flags);
    return this.#trace.emit("tlp", { kind, rid, ...(pasid === NO_PASID ? {} : { pasid }), page, offset, from });
  }

  #message(kind: string, from: string, rid: Rid, pasid: number, page: number, cause: number | undefined): number {
    if (!this.#trace.active) {
      return 0;
    }
    const fields = { kind, rid, ...(pasid === NO_PASID ? {} : { pasid }), page, offset: 0, from };
    return this.#trace.emit("tlp", fields, cause);
  }

  #result(tlp: number, status: string): void {
    if (tlp !== 0) {
      this.#trace.emit("tlp:result", { tlp, status }, tlp);
    }
  }
}

/** The first ACS check on the way up that stops the request; `""` = none. */
function violation(first: Port | undefined, rid: Rid, flags: number): string {
  for (let port = first; port !== undefined; port = port.upstream) {
    const check = port.blocks(rid, flags);
    if (check !== "") {
      return check;
    }
  }
  return "";
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
