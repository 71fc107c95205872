import type { Clock, Digest, Engine, Trace } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import { readRegister } from "../config-space/register-layout.ts";
import { AcsControl } from "../fabric/acs-control.ts";
import { AER_ERROR, ErrorLog } from "../fabric/error-log.ts";
import type { Fabric } from "../fabric/fabric.ts";
import type { Delivery } from "../fabric/iommu-hardware.ts";
import type { MemoryTarget } from "../fabric/memory-target.ts";
import type { DmaResult, TranslationResult } from "../fabric/outcome.ts";
import type { PciFunction } from "../fabric/pci-function.ts";
import type { Port } from "../fabric/port.ts";
import {
  AT_MASK,
  AT_TRANSLATED,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_NO_WRITE,
  REQUEST_WRITE,
  type Rid,
} from "../fabric/request.ts";
import { type TlpHeader, memoryRequestHeader } from "../fabric/tlp-header.ts";
import { RESET_EFFECTS, RESET_TIMES, type ResetKind } from "../reset/reset-kind.ts";
import { retryStatus } from "../reset/retry-status.ts";
import { Atc } from "./atc.ts";
import { BaseAddresses } from "./base-addresses.ts";
import { type Choices, type CompletionFaults, noFaults, usualChoices } from "./choices.ts";
import { Dma } from "./dma.ts";
import { FunctionRegisters } from "./function-registers.ts";
import { Gate } from "./gate.ts";
import { InFlight } from "./in-flight.ts";
import { type InterruptResult, Interrupts } from "./interrupts.ts";
import { type InvalidateRequest, InvalidationQueue } from "./invalidation-queue.ts";
import { type Obeys, honest } from "./obeys.ts";
import { type PageRequestOptions, type PageRequestResult, PageRequests, type PageResponse } from "./page-requests.ts";
import { QueuedRequests } from "./queued-requests.ts";
import { ResetTimer } from "./reset-timer.ts";
import { Sender } from "./sender.ts";
import { type PastTranslation, type TranslationOptions, requestFlags } from "./translations.ts";
import { Translator } from "./translator.ts";
import { VirtualFunctions } from "./virtual-functions.ts";

/** Request and completion redirect, egress control, Direct Translated P2P: what only a device with internal paths has. */
const INTERNAL_ACS = 0x6c;

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
  /** A VF: whether it is there from the start, because firmware enabled VFs. Default true. */
  readonly vfEnabled?: boolean;
  /** How long it does not answer after an FLR starts, in ns of virtual time. Default 100 ms. */
  readonly flrNs?: number;
}

/**
 * One endpoint function: it sends requests as its registers and {@link Endpoint.obeys} allow, caches translations, answers
 * Invalidate Requests in its own steps, has memory of its own, and can be reset.
 *
 * Source: PCIe 6.0 §6.6, §10.2-§10.5.
 */
export class Endpoint implements Engine, PciFunction, MemoryTarget {
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
  /** What the specification leaves to it. */
  readonly choices: Choices = usualChoices();
  /** What goes wrong with its Invalidate Completions. */
  readonly completionFaults: CompletionFaults = noFaults();
  /** Requests that it has begun and not finished. */
  readonly inFlight: InFlight;
  /** Begins such requests. */
  readonly queue: QueuedRequests;
  /** Its interrupts. */
  readonly interrupts: Interrupts;
  /** The memory behind its base addresses. */
  readonly memory: BaseAddresses;
  readonly acs: AcsControl;
  /** Where it notes errors. */
  readonly errors: ErrorLog;
  /** Requester ID to put into requests instead of its own; answers then go to the function of that ID. */
  spoofRid: Rid | undefined = undefined;
  /** T bit of its memory requests (a trusted device interface). */
  t = false;
  /** XT bit of its memory requests. */
  xt = false;

  readonly #fabric: Fabric;
  readonly #trace: Trace;
  readonly #flrNs: number;
  readonly #registers: FunctionRegisters;
  readonly #pageRequests: PageRequests;
  readonly #invalidates: InvalidationQueue;
  readonly #timer: ResetTimer;
  readonly #gate: Gate;
  readonly #sender: Sender;
  readonly #translator: Translator;
  readonly #dma: Dma;

  constructor(init: EndpointInit) {
    const { clock, config, fabric, name, trace } = init;
    this.rid = init.rid;
    this.name = name;
    this.config = config;
    this.port = init.port;
    this.physfn = init.physfn;
    this.acs = new AcsControl(config);
    this.errors = new ErrorLog(config);
    this.#fabric = fabric;
    this.#trace = trace;
    this.#flrNs = init.flrNs ?? RESET_TIMES.flrNs;
    const registers = new FunctionRegisters(config);
    const shared = init.physfn === undefined ? registers : init.physfn.#registers;
    this.#registers = registers;
    this.virtualFunctions = new VirtualFunctions(registers);
    this.#pageRequests = new PageRequests(registers);
    this.#timer = new ResetTimer(name, clock, trace, registers);
    const siblings = init.physfn?.virtualFunctions;
    const index = siblings?.adopt(this, init.vfEnabled ?? true) ?? -1;
    this.#gate = new Gate(this.obeys, registers, shared, this.#timer, siblings, index);
    this.#sender = new Sender(this, fabric, this.#gate);
    this.#translator = new Translator(name, this.#sender, this.#gate, this.atc, shared, this.choices, clock, trace);
    this.#dma = new Dma(this.#sender, this.#translator, this.atc, this.#gate, this, (page, pasid, options) => {
      this.pageRequest(page, pasid, options);
    });
    this.inFlight = new InFlight(clock);
    this.queue = new QueuedRequests(this.inFlight, this.#sender, this.#dma, this.#translator, this.atc);
    this.interrupts = new Interrupts(name, config, trace, ({ page, offset, data }, translated) =>
      translated
        ? this.#dma.access(page, offset, REQUEST_WRITE, data, NO_PASID)
        : this.#dma.send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, data, NO_PASID),
    );
    this.memory = new BaseAddresses(config);
    for (const region of this.interrupts.msix.regions()) {
      this.memory.addRegion(region);
    }
    this.#invalidates = new InvalidationQueue({
      device: name,
      trace,
      atc: this.atc,
      registers,
      shared,
      obeys: this.obeys,
      choices: this.choices,
      faults: this.completionFaults,
      inFlight: this.inFlight,
      complete: (to, itags, count, cause) => {
        fabric.invalidateCompletion(this, to, itags, count, cause);
      },
    });
    config.onWrite((offset, size, before, after, started) => {
      this.#written(offset, size, before, after, started);
    });
  }

  /** ATS Enable as its register says. */
  get atsEnabled(): boolean {
    return this.#registers.atsEnabled;
  }

  /** Why it may not use ATS now, by the rules it {@link Endpoint.obeys}; `""` = it may. */
  get atsRefusal(): string {
    return this.#gate.silence() || this.#gate.ats();
  }

  /** Whether a reset is under way: it does not answer and sends nothing. */
  get resetting(): boolean {
    return this.#timer.resetting;
  }

  /** Every translation it ever got, oldest first. No invalidation and no reset takes any away. */
  get history(): readonly PastTranslation[] {
    return this.#translator.history;
  }

  get routesInternally(): boolean {
    return this.choices.routesInternally ?? (this.acs.capability & INTERNAL_ACS) !== 0;
  }

  /** Sends an Untranslated read of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedRead(page: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.send(page, offset, AT_UNTRANSLATED, 0, pasid);
  }

  /** Sends an Untranslated write of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /**
   * Sends a Translated read of 4 bytes, whether or not it ever got such a translation.
   *
   * @param hostPage host page number
   * @param offset multiple of 4 below 4096
   */
  translatedRead(hostPage: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.send(hostPage, offset, AT_TRANSLATED, 0, pasid);
  }

  /** Sends a Translated write of 4 bytes, whether or not it ever got such a translation. */
  translatedWrite(hostPage: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.send(hostPage, offset, AT_TRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /**
   * Sends a memory request with any Address Type and any bits, also those that no function may send.
   *
   * @param flags AT and the `REQUEST_` bits
   */
  request(page: number, offset: number, flags: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.send(page, offset, flags, value, pasid);
  }

  /** Sends a Translation Request; a Success with a permission goes into the ATC. */
  translationRequest(page: number, pasid: number = NO_PASID, options: TranslationOptions = {}): TranslationResult {
    return this.#translator.request(page, pasid, requestFlags(options));
  }

  /**
   * Reads 4 bytes as an honest function does: from the ATC with a Translated request, else with a Translation Request
   * before it, else Untranslated.
   */
  dmaRead(page: number, offset: number, pasid: number = NO_PASID, options: TranslationOptions = {}): DmaResult {
    return this.#dma.access(page, offset, requestFlags(options) & ~REQUEST_NO_WRITE, 0, pasid);
  }

  /** Writes 4 bytes in the same way. */
  dmaWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#dma.access(page, offset, REQUEST_WRITE, value, pasid);
  }

  /** Writes an interrupt message: an Untranslated write of 4 bytes. */
  writeMsi(page: number, offset: number, data: number): DmaResult {
    return this.interrupts.told(page, this.untranslatedWrite(page, offset, data));
  }

  /** Signals an interrupt by MSI-X or MSI, whichever is enabled. @throws InputError for a vector it does not have */
  interrupt(vector: number): InterruptResult {
    return this.interrupts.signal(vector);
  }

  /** Says how large a base address is, so that peers reach the memory behind it. @throws InputError */
  declareMemory(bar: number, size: number): void {
    this.memory.declare(bar, size);
    this.#fabric.memoryDeclared(this);
  }

  /** Sends a Page Request. */
  pageRequest(page: number, pasid: number, options: PageRequestOptions): PageRequestResult {
    const owner = this.physfn ?? this;
    const reason =
      this.#gate.silence() ||
      this.#gate.pasid(pasid, requestFlags(options)) ||
      owner.#pageRequests.refusal(pasid, options, this.obeys.priEnable);
    if (reason !== "") {
      return { sent: false, reason, delivery: "lost", event: 0 };
    }
    owner.#pageRequests.sent(pasid, options);
    return this.#fabric.pageRequest(this, { rid: this.#sender.rid, pasid, page, ...options });
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
    this.#gate.plugged = false;
    this.#invalidates.dropAll("unplugged");
    this.inFlight.dropAll("unplugged");
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
    if (this.#gate.plugged && !this.#gate.vfDisabled) {
      this.#timer.end(retryNs);
    }
  }

  /** An Invalidate Request arrives. Called by the fabric. Accepting never depends on sending. */
  receiveInvalidate(request: InvalidateRequest): Delivery {
    if (!this.#registers.hasAts) {
      return "UR";
    }
    const silence = this.#gate.silence();
    if (silence !== "") {
      this.#invalidates.drop(request, silence);
      return "lost";
    }
    return this.#invalidates.accept(request);
  }

  /** A PRG Response arrives. Called by the fabric. */
  receivePageResponse(pasid: number, groupIndex: number, code: number): Delivery {
    const owner = this.physfn ?? this;
    if (!owner.#registers.hasPri) {
      return "UR";
    }
    if (this.#gate.silence() !== "") {
      return "lost";
    }
    owner.#pageRequests.answered(pasid, groupIndex, code);
    return "delivered";
  }

  claims(page: number): boolean {
    return this.memory.covers(page);
  }

  /** Source: PCIe 6.0 §2.3.1; a function in reset or one that is gone answers nothing. */
  receiveMemory(page: number, offset: number, flags: number, value: number, into: DmaResult): void {
    if (this.#gate.silence() !== "") {
      into.status = "lost";
      into.fault = this.#gate.silence();
      return;
    }
    const place = this.memory.find(page, offset);
    const type = flags & AT_MASK;
    if (place === undefined || (type !== AT_UNTRANSLATED && type !== AT_TRANSLATED)) {
      into.status = "UR";
      into.fault = place === undefined ? "no base address" : "Address Type";
      this.errors.note(AER_ERROR.unsupportedRequest, memoryRequestHeader(0, page, offset, flags), 0);
    } else if ((flags & REQUEST_WRITE) === 0) {
      into.value = this.memory.read(place.bar, place.offset);
    } else {
      this.memory.write(place.bar, place.offset, value);
    }
  }

  receiveUnexpectedCompletion(): void {
    if (this.#gate.silence() === "") {
      this.errors.note(AER_ERROR.unexpectedCompletion, [0x4a000001, 0, 0, 0], 0);
    }
  }

  noteViolation(header: TlpHeader, prefix: number): void {
    this.errors.note(AER_ERROR.acsViolation, header, prefix);
  }

  ready(): boolean {
    return this.#invalidates.length > 0 || this.#timer.due() || this.inFlight.ready();
  }

  /** One thing at a time: an end of a reset, else the oldest Invalidate Request, else a request in flight. */
  step(): void {
    if (this.#timer.settle()) {
      return;
    }
    if (this.#invalidates.length > 0) {
      this.#invalidates.step();
    } else {
      this.inFlight.step();
    }
  }

  deadline(): number {
    return Math.min(this.#timer.deadline(), this.inFlight.deadline());
  }

  present(): boolean {
    return this.#gate.plugged;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    this.#timer.settle();
    // Vendor and Device ID of a VF read as all ones (PCIe 6.0 §9.3.4.1), so that a scan does not find it.
    if (this.#gate.silence() !== "" || (this.physfn !== undefined && offset < 4)) {
      const retry = this.#timer.retrying ? retryStatus(this.port, offset, size) : undefined;
      return retry ?? 2 ** (8 * size) - 1;
    }
    return readRegister(this.config, offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#timer.settle();
    if (this.#gate.silence() === "") {
      this.config.write(offset, size, value);
    }
  }

  /** Writes everything that decides its future behaviour; `history` counts by its length. */
  digest(into: Digest): void {
    this.config.digest(into);
    this.atc.digest(into);
    into.number(this.history.length);
    const { stopped, plugged } = this.#gate;
    into.number((stopped ? 1 : 0) | (plugged ? 2 : 0) | (this.t ? 4 : 0) | (this.xt ? 8 : 0));
    into.number(this.spoofRid ?? -1);
    for (const rule of Object.values(this.obeys)) {
      into.number(rule === true ? 1 : 0);
    }
    for (const choice of Object.values(this.choices)) {
      into.text(String(choice));
    }
    for (const part of [
      this.#invalidates,
      this.#timer,
      this.#pageRequests,
      this.inFlight,
      this.interrupts,
      this.memory,
    ]) {
      part.digest(into);
    }
  }

  #written(offset: number, size: number, before: number, after: number, started: number): void {
    const registers = this.#registers;
    if (registers.atsTurnedOn(offset, size, before, after)) {
      this.#gate.stopped = false;
      this.#clearAtc("ATS Enable 0 to 1");
    }
    if (this.choices.clearOnDisable && registers.atsTurnedOff(offset, size, before, after)) {
      this.#clearAtc("ATS Enable 1 to 0");
    }
    const pri = registers.priChange(offset, size, before, after);
    if (pri > 0) {
      this.#pageRequests.enabled();
    } else if (pri < 0) {
      this.#pageRequests.disabled();
    }
    if (registers.startsPriReset(offset, size, started) && !registers.priEnabled) {
      this.#pageRequests.reset();
    }
    const reset = registers.startsReset(offset, size, before, after, started);
    if (reset === "") {
      this.interrupts.registersChanged();
    } else {
      this.#beginReset(reset, reset === "d3hot-d0" ? RESET_TIMES.d3hotNs : this.#flrNs);
    }
    this.virtualFunctions.written(offset, size, before, after);
  }

  /** Source: PCIe 6.0 §6.6.1, §6.6.2: registers, ATC and outstanding requests are lost; FLR leaves the rest alone. */
  #beginReset(kind: ResetKind, ns: number): void {
    this.#timer.begin(kind, ns);
    this.config.reset(RESET_EFFECTS[kind].registers);
    this.virtualFunctions.lost();
    this.#gate.stopped = false;
    this.#pageRequests.reset();
    this.interrupts.reset();
    this.#clearAtc("reset");
    this.#invalidates.dropAll("reset");
    this.inFlight.dropAll("reset");
  }

  #clearAtc(reason: string): void {
    const entries = this.atc.clear();
    if (entries > 0 && this.#trace.active) {
      this.#trace.emit("atc", { device: this.name, what: "clear", entries, reason });
    }
  }
}
