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
import { RESET_TIMES, type ResetKind } from "../reset/reset-kind.ts";
import { retryStatus } from "../reset/retry-status.ts";
import { Atc } from "./atc.ts";
import type { BaseAddresses } from "./base-addresses.ts";
import { type Choices, type CompletionFaults, noFaults, usualChoices } from "./choices.ts";
import { FunctionParts } from "./function-parts.ts";
import type { InFlight } from "./in-flight.ts";
import type { InterruptResult, Interrupts } from "./interrupts.ts";
import type { InvalidateRequest } from "./invalidation-queue.ts";
import { type Obeys, honest } from "./obeys.ts";
import type { PageRequestOptions, PageRequestResult, PageResponse } from "./page-requests.ts";
import type { RequestQueue } from "./queued-requests.ts";
import { type PastTranslation, type TranslationOptions, requestFlags } from "./translations.ts";
import type { VirtualFunctions } from "./virtual-functions.ts";

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
  readonly queue: RequestQueue;
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
  readonly #parts: FunctionParts;

  constructor(init: EndpointInit) {
    const { clock, config, fabric, trace } = init;
    this.rid = init.rid;
    this.name = init.name;
    this.config = config;
    this.port = init.port;
    this.physfn = init.physfn;
    this.acs = new AcsControl(config);
    this.errors = new ErrorLog(config);
    this.#fabric = fabric;
    this.#parts = new FunctionParts(this, {
      fabric,
      clock,
      trace,
      physfn: init.physfn === undefined ? undefined : init.physfn.#parts,
      vfEnabled: init.vfEnabled ?? true,
      flrNs: init.flrNs ?? RESET_TIMES.flrNs,
      askForPage: (page, pasid, options) => {
        this.pageRequest(page, pasid, options);
      },
    });
    this.virtualFunctions = this.#parts.virtualFunctions;
    this.inFlight = this.#parts.inFlight;
    this.queue = this.#parts.queue;
    this.interrupts = this.#parts.interrupts;
    this.memory = this.#parts.memory;
  }

  /** ATS Enable as its register says. */
  get atsEnabled(): boolean {
    return this.#parts.registers.atsEnabled;
  }

  /** Why it may not use ATS now, by the rules it {@link Endpoint.obeys}; `""` = it may. */
  get atsRefusal(): string {
    return this.#parts.gate.silence() || this.#parts.gate.ats();
  }

  /** Whether a reset is under way: it does not answer and sends nothing. */
  get resetting(): boolean {
    return this.#parts.timer.resetting;
  }

  /** Every translation it ever got, oldest first. No invalidation and no reset takes any away. */
  get history(): readonly PastTranslation[] {
    return this.#parts.translator.history;
  }

  get routesInternally(): boolean {
    return this.choices.routesInternally ?? (this.acs.capability & INTERNAL_ACS) !== 0;
  }

  /** Sends an Untranslated read of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedRead(page: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.send(page, offset, AT_UNTRANSLATED, 0, pasid);
  }

  /** Sends an Untranslated write of 4 bytes. @param offset multiple of 4 below 4096 */
  untranslatedWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /**
   * Sends a Translated read of 4 bytes, whether or not it ever got such a translation.
   *
   * @param hostPage host page number
   * @param offset multiple of 4 below 4096
   */
  translatedRead(hostPage: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.send(hostPage, offset, AT_TRANSLATED, 0, pasid);
  }

  /** Sends a Translated write of 4 bytes, whether or not it ever got such a translation. */
  translatedWrite(hostPage: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.send(hostPage, offset, AT_TRANSLATED | REQUEST_WRITE, value, pasid);
  }

  /**
   * Sends a memory request with any Address Type and any bits, also those that no function may send.
   *
   * @param flags AT and the `REQUEST_` bits
   */
  request(page: number, offset: number, flags: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.send(page, offset, flags, value, pasid);
  }

  /** Sends a Translation Request; a Success with a permission goes into the ATC. */
  translationRequest(page: number, pasid: number = NO_PASID, options: TranslationOptions = {}): TranslationResult {
    return this.#parts.translator.request(page, pasid, requestFlags(options));
  }

  /**
   * Reads 4 bytes as an honest function does: from the ATC with a Translated request, else with a Translation Request
   * before it, else Untranslated.
   */
  dmaRead(page: number, offset: number, pasid: number = NO_PASID, options: TranslationOptions = {}): DmaResult {
    return this.#parts.dma.access(page, offset, requestFlags(options) & ~REQUEST_NO_WRITE, 0, pasid);
  }

  /** Writes 4 bytes in the same way. */
  dmaWrite(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#parts.dma.access(page, offset, REQUEST_WRITE, value, pasid);
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
      this.#parts.gate.silence() ||
      this.#parts.gate.pasid(pasid, requestFlags(options)) ||
      owner.#parts.pageRequests.refusal(pasid, options, this.obeys.priEnable);
    if (reason !== "") {
      return { sent: false, reason, delivery: "lost", event: 0 };
    }
    owner.#parts.pageRequests.sent(pasid, options);
    return this.#fabric.pageRequest(this, { rid: this.#parts.sender.rid, pasid, page, ...options });
  }

  /** Answers to its page requests so far, oldest first: group index and code. */
  get pageResponses(): readonly PageResponse[] {
    return (this.physfn ?? this).#parts.pageRequests.responses;
  }

  /** Holds non-posted requests open: Transactions Pending is set for `ns` of virtual time. */
  holdTransactions(ns: number): void {
    this.#parts.timer.hold(ns);
  }

  /** Pulls it out: it answers nothing any more. */
  unplug(): void {
    this.#parts.gate.plugged = false;
    this.#parts.dropAll("unplugged");
  }

  /** Resets it in no time. */
  reset(kind: ResetKind): void {
    this.#parts.beginReset(kind, 0);
    this.#parts.timer.settle();
  }

  /** Something outside holds it in reset until {@link Endpoint.resetEnd}. */
  resetBegin(kind: ResetKind): void {
    this.#parts.beginReset(kind, Infinity);
  }

  /** What held it in reset is over. @param retryNs how long it then answers Request Retry Status, in ns */
  resetEnd(retryNs: number = 0): void {
    if (this.#parts.gate.plugged && !this.#parts.gate.vfDisabled) {
      this.#parts.timer.end(retryNs);
    }
  }

  /** An Invalidate Request arrives. Called by the fabric. Accepting never depends on sending. */
  receiveInvalidate(request: InvalidateRequest): Delivery {
    if (!this.#parts.registers.hasAts) {
      return "UR";
    }
    const silence = this.#parts.gate.silence();
    if (silence !== "") {
      this.#parts.invalidates.drop(request, silence);
      return "lost";
    }
    return this.#parts.invalidates.accept(request);
  }

  /** A PRG Response arrives. Called by the fabric. */
  receivePageResponse(pasid: number, groupIndex: number, code: number): Delivery {
    const owner = this.physfn ?? this;
    if (!owner.#parts.registers.hasPri) {
      return "UR";
    }
    if (this.#parts.gate.silence() !== "") {
      return "lost";
    }
    owner.#parts.pageRequests.answered(pasid, groupIndex, code);
    return "delivered";
  }

  claims(page: number): boolean {
    return this.memory.covers(page);
  }

  /** Source: PCIe 6.0 §2.3.1; a function in reset or one that is gone answers nothing. */
  receiveMemory(page: number, offset: number, flags: number, value: number, into: DmaResult): void {
    if (this.#parts.gate.silence() !== "") {
      into.status = "lost";
      into.fault = this.#parts.gate.silence();
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
    if (this.#parts.gate.silence() === "") {
      this.errors.note(AER_ERROR.unexpectedCompletion, [0x4a000001, 0, 0, 0], 0);
    }
  }

  noteViolation(header: TlpHeader, prefix: number): void {
    this.errors.note(AER_ERROR.acsViolation, header, prefix);
  }

  ready(): boolean {
    return this.#parts.ready();
  }

  step(): void {
    this.#parts.step();
  }

  deadline(): number {
    return this.#parts.deadline();
  }

  present(): boolean {
    return this.#parts.gate.plugged;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    this.#parts.timer.settle();
    // Vendor and Device ID of a VF read as all ones (PCIe 6.0 §9.3.4.1), so that a scan does not find it.
    if (this.#parts.gate.silence() !== "" || (this.physfn !== undefined && offset < 4)) {
      const retry = this.#parts.timer.retrying ? retryStatus(this.port, offset, size) : undefined;
      return retry ?? 2 ** (8 * size) - 1;
    }
    return readRegister(this.config, offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#parts.timer.settle();
    if (this.#parts.gate.silence() === "") {
      this.config.write(offset, size, value);
    }
  }

  /** Writes everything that decides its future behaviour; `history` counts by its length. */
  digest(into: Digest): void {
    this.config.digest(into);
    this.atc.digest(into);
    into.number((this.t ? 1 : 0) | (this.xt ? 2 : 0));
    into.number(this.spoofRid ?? -1);
    for (const rule of Object.values(this.obeys)) {
      into.number(rule === true ? 1 : 0);
    }
    for (const choice of Object.values(this.choices)) {
      into.text(String(choice));
    }
    this.#parts.digest(into);
  }
}
