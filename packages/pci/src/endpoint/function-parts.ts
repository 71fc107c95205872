import type { Clock, Digest, Trace } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import type { Fabric } from "../fabric/fabric.ts";
import type { MemoryTarget } from "../fabric/memory-target.ts";
import { AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "../fabric/request.ts";
import { RESET_EFFECTS, RESET_TIMES, type ResetKind } from "../reset/reset-kind.ts";
import type { Atc } from "./atc.ts";
import { BaseAddresses } from "./base-addresses.ts";
import type { Choices, CompletionFaults } from "./choices.ts";
import { type AskForPage, Dma } from "./dma.ts";
import { FunctionRegisters } from "./function-registers.ts";
import { Gate } from "./gate.ts";
import { InFlight } from "./in-flight.ts";
import { Interrupts } from "./interrupts.ts";
import { InvalidationQueue } from "./invalidation-queue.ts";
import type { Obeys } from "./obeys.ts";
import { PageRequests } from "./page-requests.ts";
import { QueuedRequests } from "./queued-requests.ts";
import { ResetTimer } from "./reset-timer.ts";
import { type RequestMarks, Sender } from "./sender.ts";
import { Translator } from "./translator.ts";
import { type VirtualFunction, VirtualFunctions } from "./virtual-functions.ts";

/** The function whose parts these are. */
export interface PartsOwner extends MemoryTarget, RequestMarks, VirtualFunction {
  /** Its registers. */
  readonly config: ConfigSpace;
  /** Its translations. */
  readonly atc: Atc;
  /** The rules it keeps. */
  readonly obeys: Obeys;
  /** What the specification leaves to it. */
  readonly choices: Choices;
  /** What goes wrong with its Invalidate Completions. */
  readonly completionFaults: CompletionFaults;
}

/** What the parts are connected to. */
export interface PartsInit {
  /** Where requests go. */
  readonly fabric: Fabric;
  /** The platform's clock. */
  readonly clock: Clock;
  /** The platform's trace. */
  readonly trace: Trace;
  /** Parts of the PF, where this is a VF. */
  readonly physfn: FunctionParts | undefined;
  /** A VF: whether it is there from the start. */
  readonly vfEnabled: boolean;
  /** How long an FLR takes, in ns of virtual time. */
  readonly flrNs: number;
  /** Sends a Page Request. */
  readonly askForPage: AskForPage;
}

/** The inner parts of a function, and what config writes and resets do to all of them. */
export class FunctionParts {
  readonly registers: FunctionRegisters;
  readonly virtualFunctions: VirtualFunctions;
  readonly pageRequests: PageRequests;
  readonly timer: ResetTimer;
  readonly gate: Gate;
  readonly sender: Sender;
  readonly translator: Translator;
  readonly dma: Dma;
  readonly inFlight: InFlight;
  readonly queue: QueuedRequests;
  readonly interrupts: Interrupts;
  readonly memory: BaseAddresses;
  readonly invalidates: InvalidationQueue;
  readonly #owner: PartsOwner;
  readonly #trace: Trace;
  readonly #flrNs: number;

  constructor(owner: PartsOwner, init: PartsInit) {
    const { atc, choices, config, name, obeys } = owner;
    const { clock, fabric, physfn, trace } = init;
    this.#owner = owner;
    this.#trace = trace;
    this.#flrNs = init.flrNs;
    const registers = new FunctionRegisters(config);
    const shared = physfn?.registers ?? registers;
    this.registers = registers;
    this.virtualFunctions = new VirtualFunctions(registers);
    this.pageRequests = new PageRequests(registers);
    this.timer = new ResetTimer(name, clock, trace, registers);
    const siblings = physfn?.virtualFunctions;
    const index = siblings?.adopt(owner, init.vfEnabled) ?? -1;
    this.gate = new Gate(obeys, registers, shared, this.timer, siblings, index);
    this.sender = new Sender(owner, fabric, this.gate);
    this.translator = new Translator(name, this.sender, this.gate, atc, shared, choices, clock, trace);
    this.dma = new Dma(this.sender, this.translator, atc, this.gate, owner, init.askForPage);
    this.inFlight = new InFlight(clock);
    this.queue = new QueuedRequests(this.inFlight, this.sender, this.dma, this.translator, atc);
    this.interrupts = new Interrupts(name, config, trace, ({ page, offset, data }, translated) =>
      translated
        ? this.dma.access(page, offset, REQUEST_WRITE, data, NO_PASID)
        : this.dma.send(page, offset, AT_UNTRANSLATED | REQUEST_WRITE, data, NO_PASID),
    );
    this.memory = new BaseAddresses(config);
    for (const region of this.interrupts.msix.regions()) {
      this.memory.addRegion(region);
    }
    this.invalidates = new InvalidationQueue({
      device: name,
      trace,
      atc,
      registers,
      shared,
      obeys,
      choices,
      faults: owner.completionFaults,
      inFlight: this.inFlight,
      complete: (to, itags, count, cause) => {
        fabric.invalidateCompletion(owner, to, itags, count, cause);
      },
    });
    config.onWrite((offset, size, before, after, started) => {
      this.#written(offset, size, before, after, started);
    });
  }

  /** Whether {@link FunctionParts.step} would do something. */
  ready(): boolean {
    return this.invalidates.length > 0 || this.timer.due() || this.inFlight.ready();
  }

  /** One thing at a time: an end of a reset, else the oldest Invalidate Request, else a request in flight. */
  step(): void {
    if (this.timer.settle()) {
      return;
    }
    if (this.invalidates.length > 0) {
      this.invalidates.step();
    } else {
      this.inFlight.step();
    }
  }

  /** Virtual time at which a step becomes possible by itself. */
  deadline(): number {
    return Math.min(this.timer.deadline(), this.inFlight.deadline());
  }

  /**
   * A reset begins: registers, ATC and outstanding requests are lost.
   *
   * Source: PCIe 6.0 §6.6.1, §6.6.2.
   *
   * @param ns how long it takes, in ns of virtual time
   */
  beginReset(kind: ResetKind, ns: number): void {
    this.timer.begin(kind, ns);
    this.#owner.config.reset(RESET_EFFECTS[kind].registers);
    this.virtualFunctions.lost();
    this.gate.stopped = false;
    this.pageRequests.reset();
    this.interrupts.reset();
    this.#clearAtc("reset");
    this.dropAll("reset");
  }

  /** Requests that wait or are in flight end here. */
  dropAll(reason: string): void {
    this.invalidates.dropAll(reason);
    this.inFlight.dropAll(reason);
  }

  /** Writes all parts. */
  digest(into: Digest): void {
    into.number((this.gate.stopped ? 1 : 0) | (this.gate.plugged ? 2 : 0));
    into.number(this.translator.history.length);
    for (const part of [this.invalidates, this.timer, this.pageRequests, this.inFlight, this.interrupts, this.memory]) {
      part.digest(into);
    }
  }

  #written(offset: number, size: number, before: number, after: number, started: number): void {
    const { registers } = this;
    if (registers.atsTurnedOn(offset, size, before, after)) {
      this.gate.stopped = false;
      this.#clearAtc("ATS Enable 0 to 1");
    }
    if (this.#owner.choices.clearOnDisable && registers.atsTurnedOff(offset, size, before, after)) {
      this.#clearAtc("ATS Enable 1 to 0");
    }
    const pri = registers.priChange(offset, size, before, after);
    if (pri > 0) {
      this.pageRequests.enabled();
    } else if (pri < 0) {
      this.pageRequests.disabled();
    }
    if (registers.startsPriReset(offset, size, started) && !registers.priEnabled) {
      this.pageRequests.reset();
    }
    const reset = registers.startsReset(offset, size, before, after, started);
    if (reset === "") {
      this.interrupts.registersChanged();
    } else {
      this.beginReset(reset, reset === "d3hot-d0" ? RESET_TIMES.d3hotNs : this.#flrNs);
    }
    this.virtualFunctions.written(offset, size, before, after);
  }

  #clearAtc(reason: string): void {
    const entries = this.#owner.atc.clear();
    if (entries > 0 && this.#trace.active) {
      this.#trace.emit("atc", { device: this.#owner.name, what: "clear", entries, reason });
    }
  }
}
