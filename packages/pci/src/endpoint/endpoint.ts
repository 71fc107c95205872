import type { Clock, Digest, Engine, Trace } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import { readRegister } from "../config-space/register-layout.ts";
import type { Fabric } from "../fabric/fabric.ts";
import type { Delivery } from "../fabric/iommu-hardware.ts";
import { DmaResult, TranslationResult } from "../fabric/outcome.ts";
import type { PciFunction } from "../fabric/pci-function.ts";
import type { Port } from "../fabric/port.ts";
import {
  AT_TRANSLATED,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_SOURCE_CXL,
  REQUEST_T,
  REQUEST_WRITE,
  REQUEST_XT,
  type Rid,
} from "../fabric/request.ts";
import { RESET_EFFECTS, RESET_TIMES, type ResetKind } from "../reset/reset-kind.ts";
import { retryStatus } from "../reset/retry-status.ts";
import { Atc } from "./atc.ts";
import { FunctionRegisters } from "./function-registers.ts";
import { type InvalidateRequest, InvalidationQueue, pasidField } from "./invalidation-queue.ts";
import { type Obeys, honest } from "./obeys.ts";
import { type PageRequestOptions, type PageRequestResult, PageRequests, type PageResponse } from "./page-requests.ts";
import { ResetTimer } from "./reset-timer.ts";
import { VirtualFunctions } from "./virtual-functions.ts";
import type { PastTranslation, TranslationOptions } from "./translations.ts";

const PAGE = 4096;

/** What an endpoint is made of. */
export interface EndpointInit {
  /** Requester ID. */
  readonly rid: Rid;
  /** Such as `0000:01:00.0`. */
  readonly name: string;
  /** Its registers. */
  readonly config: ConfigSpace;
  /** Where its requests go. */
  readonly fabric: Fabric;
  /** The platform's clock. */
  readonly clock: Clock;
  /** The platform's trace. */
  readonly trace: Trace;
  /** The port above it; absent for an endpoint integrated into the root complex. */
  readonly port?: Port;
  /** The PF of a VF: PASID, PRI and STU are its. */
  readonly physfn?: Endpoint;
  /** How long it does not answer after an FLR starts, in ns of virtual time. Default 100 ms. */
  readonly flrNs?: number;
}

/**
 * One endpoint function: it sends requests as its registers and {@link Endpoint.obeys} allow, caches translations, answers
 * Invalidate Requests in its own steps, and can be reset.
 *
 * Source: PCIe 6.0 §6.6, §10.2-§10.5.
 */
export class Endpoint implements Engine, PciFunction {
  readonly rid: Rid;
  readonly name: string;
  readonly config: ConfigSpace;
  /** The port above it; undefined for an endpoint integrated into the root complex. */
  readonly port: Port | undefined;
  /** The PF of a VF. */
  readonly physfn: Endpoint | undefined;
  /** Its Address Translation Cache. */
  readonly atc: Atc = new Atc();
  /** Its VFs. */
  readonly virtualFunctions: VirtualFunctions;
  /** The rules it keeps; change them to make it hostile. */
  readonly obeys: Obeys = honest();
  /** Every translation it ever got, oldest first. No invalidation and no reset takes any away. */
  readonly history: PastTranslation[] = [];
  /** Requester ID to put into requests instead of its own; answers then go to the function of that ID. */
  spoofRid: Rid | undefined = undefined;
  /** T bit of its memory requests (a trusted device interface). */
  t = false;
  /** XT bit of its memory requests. */
  xt = false;

  readonly #fabric: Fabric;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #flrNs: number;
  readonly #registers: FunctionRegisters;
  readonly #pageRequests: PageRequests;
  readonly #dma = new DmaResult();
  readonly #translation = new TranslationResult();
  readonly #invalidates: InvalidationQueue;
  readonly #timer: ResetTimer;
  /** A Translation Request got UR: no more ATS until Enable goes from 0 to 1. */
  #stopped = false;
  #plugged = true;

  constructor(init: EndpointInit) {
    this.rid = init.rid;
    this.name = init.name;
    this.config = init.config;
    this.port = init.port;
    this.physfn = init.physfn;
    this.#fabric = init.fabric;
    this.#clock = init.clock;
    this.#trace = init.trace;
    this.#flrNs = init.flrNs ?? RESET_TIMES.flrNs;
    this.#registers = new FunctionRegisters(init.config);
    this.virtualFunctions = new VirtualFunctions(this.#registers);
    this.#pageRequests = new PageRequests(this.#registers);
    this.#timer = new ResetTimer(init.name, init.clock, init.trace, this.#registers);
    this.#invalidates = new InvalidationQueue(
      init.name,
      init.trace,
      this.atc,
      this.#registers,
      this.obeys,
      (to, itags, count, cause) => {
        init.fabric.invalidateCompletion(this, to, itags, count, cause);
      },
    );
    init.physfn?.virtualFunctions.adopt(this);
    init.config.onWrite((offset, size, before, after, started) => {
      this.#written(offset, size, before, after, started);
    });
  }

  /** ATS Enable as its register says. */
  get atsEnabled(): boolean {
    return this.#registers.atsEnabled;
  }

  /** Why it may not use ATS now, by the rules it {@link Endpoint.obeys}; `""` = it may. */
  get atsRefusal(): string {
    return this.#silence() || this.#atsRefusal();
  }

  /** Whether a reset is under way: it does not answer and sends nothing. */
  get resetting(): boolean {
    return this.#timer.resetting;
  }

  /** Sends an Untranslated read of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedRead(page: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#send(page, offset, AT_UNTRANSLATED, 0, pasid);
  }

  /** Sends an Untranslated write of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /**
   * Sends a Translated read of 4 bytes, whether or not it ever got such a translation.
   *
   * @param hostPage host page number
   * @param offset multiple of 4 below 4096
   */
  translatedRead(hostPage: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#send(hostPage, offset, AT_TRANSLATED, 0, pasid);
  }

  /** Sends a Translated write of 4 bytes, whether or not it ever got such a translation. */
  translatedWrite(hostPage: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#send(hostPage, offset, AT_TRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /** Sends a Translation Request; a Success with a permission goes into the ATC. */
  translationRequest(page: number, pasid: number = NO_PASID, options: TranslationOptions = {}): TranslationResult {
    const flags =
      (options.noWrite === true ? REQUEST_NO_WRITE : 0) |
      (options.sourceCxl === true ? REQUEST_SOURCE_CXL : 0) |
      (options.execute === true ? REQUEST_EXECUTE : 0) |
      (options.privileged === true ? REQUEST_PRIVILEGED : 0);
    return this.#translate(page, pasid, flags);
  }

  /**
   * Reads 4 bytes as an honest function does: from the ATC with a Translated request, else with a Translation Request
   * before it, else Untranslated. A translation without the permission is followed by an Untranslated request, which
   * the rules leave to the function's choice.
   */
  dmaRead(page: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#access(page, offset, 0, 0, pasid);
  }

  /** Writes 4 bytes in the same way. */
  dmaWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#access(page, offset, REQUEST_WRITE, value, pasid);
  }

  /** Writes an interrupt message: an Untranslated write of 4 bytes. */
  writeMsi(page: number, offset: number, data: number): DmaResult {
    const result = this.#send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, data, NO_PASID);
    if (this.#trace.active) {
      const outcome = result.sent ? result.status : "not-sent";
      this.#trace.emit("msi", { device: this.name, page, result: outcome }, result.event);
    }
    return result;
  }

  /** Sends a Page Request. */
  pageRequest(page: number, pasid: number, options: PageRequestOptions): PageRequestResult {
    const owner = this.physfn ?? this;
    const reason = this.#silence() || this.#pasidRefusal(pasid) || owner.#pageRequests.refusal(this.obeys.priEnable);
    if (reason !== "") {
      return { sent: false, reason, delivery: "lost", event: 0 };
    }
    const rid = this.spoofRid ?? this.rid;
    owner.#pageRequests.sent(options.groupIndex);
    return this.#fabric.pageRequest(this, { rid, pasid, page, ...options });
  }

  /** Answers to its page requests so far, oldest first: group index and code. */
  get pageResponses(): readonly PageResponse[] {
    return (this.physfn ?? this).#pageRequests.responses;
  }

  /** Holds non-posted requests open: Transactions Pending is set for `ns` of virtual time. */
  holdTransactions(ns: number): void {
    this.#timer.hold(ns);
  }

  /** Pulls it out: it answers nothing any more. */
  unplug(): void {
    this.#plugged = false;
    this.#invalidates.dropAll("unplugged");
  }

  /** Resets it in no time. */
  reset(kind: ResetKind): void {
    this.#beginReset(kind, 0);
    this.#timer.settle();
  }

  /** Something outside holds it in reset until {@link Endpoint.resetEnd}. */
  resetBegin(kind: ResetKind): void {
    this.#beginReset(kind, Infinity);
  }

  /** What held it in reset is over. @param retryNs how long it then answers Request Retry Status, in ns */
  resetEnd(retryNs: number = 0): void {
    if (this.#plugged && this.#vfRefusal() === "") {
      this.#timer.end(retryNs);
    }
  }

  /** An Invalidate Request arrives. Called by the fabric. Accepting never depends on sending. */
  receiveInvalidate(request: InvalidateRequest): Delivery {
    if (!this.#registers.hasAts) {
      return "UR";
    }
    if (this.#silence() !== "") {
      this.#invalidates.drop(request, this.#silence());
      return "lost";
    }
    this.#invalidates.push(request);
    return "delivered";
  }

  /** A PRG Response arrives. Called by the fabric. */
  receivePageResponse(pasid: number, groupIndex: number, code: number): Delivery {
    const owner = this.physfn ?? this;
    if (!owner.#registers.hasPri) {
      return "UR";
    }
    if (this.#silence() !== "") {
      return "lost";
    }
    owner.#pageRequests.answered(pasid, groupIndex, code);
    return "delivered";
  }

  ready(): boolean {
    return this.#invalidates.length > 0 || this.#timer.due();
  }

  step(): void {
    if (!this.#timer.settle()) {
      this.#invalidates.step();
    }
  }

  deadline(): number {
    return this.#timer.deadline();
  }

  present(): boolean {
    return this.#plugged;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    this.#timer.settle();
    // Vendor and Device ID of a VF read as all ones (PCIe 6.0 §9.3.4.1), so that a scan does not find it.
    if (this.#silence() !== "" || (this.physfn !== undefined && offset < 4)) {
      const retry = this.#timer.retrying ? retryStatus(this.port, offset, size) : undefined;
      return retry ?? 2 ** (8 * size) - 1;
    }
    return readRegister(this.config, offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#timer.settle();
    if (this.#silence() === "") {
      this.config.write(offset, size, value);
    }
  }

  /** Writes everything that decides its future behaviour; `history` counts by its length. */
  digest(into: Digest): void {
    this.config.digest(into);
    this.atc.digest(into);
    into.number(this.history.length);
    into.number((this.#stopped ? 1 : 0) | (this.#plugged ? 2 : 0) | (this.t ? 4 : 0) | (this.xt ? 8 : 0));
    into.number(this.spoofRid ?? -1);
    for (const rule of Object.values(this.obeys)) {
      into.number(rule === true ? 1 : 0);
    }
    this.#invalidates.digest(into);
    this.#timer.digest(into);
    this.#pageRequests.digest(into);
  }

  #access(page: number, offset: number, write: number, value: number, pasid: number): DmaResult {
    if (this.#atsRefusal() !== "") {
      return this.#send(page, offset, AT_UNTRANSLATED | write, value, pasid);
    }
    let hit = this.atc.lookup(page, pasid);
    if (hit === undefined || !(write === 0 ? hit.read : hit.write)) {
      const answer = this.#translate(page, pasid, write === 0 ? REQUEST_NO_WRITE : 0);
      if (!answer.sent) {
        return this.#dma.withhold(answer.reason);
      }
      if (answer.status !== "success" && answer.status !== "UR") {
        return this.#failed(answer);
      }
      hit = answer.cached ? this.atc.lookup(page, pasid) : undefined;
    }
    if (
      hit === undefined ||
      !(write === 0 ? hit.read : hit.write) ||
      this.#mustStayUntranslated(hit.untranslatedOnly)
    ) {
      return this.#send(page, offset, AT_UNTRANSLATED | write, value, pasid);
    }
    return this.#send(hit.host, offset, AT_TRANSLATED | write, value, NO_PASID);
  }

  #mustStayUntranslated(untranslatedOnly: boolean): boolean {
    return untranslatedOnly && this.obeys.untranslatedOnly;
  }

  #failed(answer: TranslationResult): DmaResult {
    const result = this.#dma.reset();
    result.status = answer.status;
    result.fault = answer.fault;
    result.recorded = answer.recorded;
    result.event = answer.event;
    return result;
  }

  #send(page: number, offset: number, flags: number, value: number, pasid: number): DmaResult {
    if (offset % 4 !== 0 || offset < 0 || offset >= PAGE) {
      throw new InputError(`offset ${offset} is no multiple of 4 below ${PAGE}`);
    }
    const reason =
      this.#silence() ||
      this.#masterRefusal() ||
      this.#pasidRefusal(pasid) ||
      ((flags & AT_TRANSLATED) === 0 ? "" : this.#atsRefusal());
    if (reason !== "") {
      return this.#dma.withhold(reason);
    }
    const rid = this.spoofRid ?? this.rid;
    this.#fabric.access(this, rid, pasid, page, offset, flags | this.#trustBits(), value, this.#dma);
    return this.#dma;
  }

  #translate(page: number, pasid: number, flags: number): TranslationResult {
    const result = this.#translation;
    const reason = this.#silence() || this.#masterRefusal() || this.#pasidRefusal(pasid) || this.#atsRefusal();
    if (reason !== "") {
      return result.withhold(page, reason);
    }
    const { stu } = (this.physfn ?? this).#registers;
    const base = page - (page % 2 ** stu);
    this.#fabric.translation(this, this.spoofRid ?? this.rid, pasid, base, flags | this.#trustBits(), result);
    result.page = page;
    if (result.status === "success" && (result.read || result.write)) {
      result.host += page - base;
      this.#take(result, pasid, stu);
    }
    if (result.status === "UR") {
      this.#stopped = true;
    }
    return result;
  }

  /** Caches a Success; a range below the STU counts as UR. Source: PCIe 6.0 §10.2.3. */
  #take(result: TranslationResult, pasid: number, stu: number): void {
    if (result.sizeLog2 < 12 + stu) {
      result.status = "UR";
      result.fault = "translation smaller than the STU";
      return;
    }
    if (pasid === NO_PASID) {
      result.execute = false;
      result.privileged = false;
      result.global = false;
    }
    const time = this.#clock.now;
    this.atc.insert(result, pasid, time);
    result.cached = true;
    const { page, host, sizeLog2, read, write, event } = result;
    this.history.push({ page, pasid, host, sizeLog2, read, write, event, time });
    if (this.#trace.active) {
      const entries = this.atc.size;
      this.#trace.emit("atc", { device: this.name, what: "fill", page, ...pasidField(pasid), entries }, event);
    }
  }

  /** Why it cannot say anything at all; `""` = it can. */
  #silence(): string {
    if (!this.#plugged) {
      return "unplugged";
    }
    if (this.resetting) {
      return "in reset";
    }
    return this.#timer.retrying ? "not ready" : this.#vfRefusal();
  }

  #vfRefusal(): string {
    return this.physfn?.virtualFunctions.disabled === true ? "VF Enable is 0" : "";
  }

  #masterRefusal(): string {
    return this.obeys.busMaster ? this.#registers.masterRefusal : "";
  }

  #pasidRefusal(pasid: number): string {
    if (pasid === NO_PASID || !this.obeys.pasidEnable) {
      return "";
    }
    const registers = (this.physfn ?? this).#registers;
    if (!registers.pasidEnabled) {
      return "PASID Enable is 0";
    }
    return pasid < registers.pasidLimit ? "" : "the PASID is wider than the capability";
  }

  #atsRefusal(): string {
    if (!this.obeys.enable) {
      return "";
    }
    if (!this.#registers.atsEnabled) {
      return "ATS Enable is 0";
    }
    return this.#stopped ? "ATS stopped by a UR" : "";
  }

  #trustBits(): number {
    return (this.t ? REQUEST_T : 0) | (this.xt ? REQUEST_XT : 0);
  }

  #written(offset: number, size: number, before: number, after: number, started: number): void {
    if (this.#registers.atsTurnedOn(offset, size, before, after)) {
      this.#stopped = false;
      this.#clearAtc("ATS Enable 0 to 1");
    }
    const pri = this.#registers.priChange(offset, size, before, after);
    if (pri !== 0) {
      this.#registers.setPriStopped(pri < 0);
    }
    if (this.#registers.startsPriReset(offset, size, started)) {
      this.#pageRequests.reset();
    }
    const reset = this.#registers.startsReset(offset, size, before, after, started);
    if (reset !== "") {
      this.#beginReset(reset, reset === "d3hot-d0" ? RESET_TIMES.d3hotNs : this.#flrNs);
    }
    this.virtualFunctions.written(offset, size, before, after);
  }

  /** Source: PCIe 6.0 §6.6.1, §6.6.2: registers, ATC and outstanding requests are lost; FLR leaves the rest alone. */
  #beginReset(kind: ResetKind, ns: number): void {
    this.#timer.begin(kind, ns);
    this.config.reset(RESET_EFFECTS[kind].registers);
    this.virtualFunctions.lost();
    this.#stopped = false;
    this.#pageRequests.reset();
    this.#clearAtc("reset");
    this.#invalidates.dropAll("reset");
  }

  #clearAtc(reason: string): void {
    const entries = this.atc.clear();
    if (entries > 0 && this.#trace.active) {
      this.#trace.emit("atc", { device: this.name, what: "clear", entries, reason });
    }
  }
}
