import type { Clock, Digest, Digestible, Engine, MmioRegion, PhysicalMemory, Trace } from "@iommu-lab/core";
import {
  type CachePolicy,
  type IommuHardware,
  type PageRequest,
  type Rid,
  type RootComplex,
  type TranslateResult,
  cachePolicies,
} from "@iommu-lab/pci";
import type { InterruptLines } from "../interrupt-line.ts";
import { EVENT_BYTES } from "../layout/event-record.ts";
import type { IdRegisters, Identification } from "../layout/id-registers.ts";
import { decodeIdRegisters } from "../layout/id-registers.ts";
import { PAGE_REQUEST_BYTES } from "../layout/page-request-record.ts";
import { GERROR, IRQ_CTRL } from "../layout/registers.ts";
import { AtcInvalidations } from "./atc-invalidations.ts";
import { CommandExecutor } from "./command-executor.ts";
import { CommandQueue } from "./command-queue.ts";
import { CACHES, type CachePolicies } from "./cache-policy.ts";
import { AtsRequests } from "./ats-requests.ts";
import { Answers } from "./answers.ts";
import { ConfigCache } from "./config-cache.ts";
import { ConfigLookup } from "./config-lookup.ts";
import { Control } from "./control.ts";
import { FaultReporter } from "./fault-reporter.ts";
import { FaultSite } from "./fault-site.ts";
import { GlobalErrors } from "./global-errors.ts";
import { IoTlb } from "./io-tlb.ts";
import { PageRequestPort } from "./page-request-port.ts";
import { RecordQueue } from "./record-queue.ts";
import { RegisterWindow } from "./register-window.ts";
import { RequestPort } from "./request-port.ts";
import type { Request } from "./request.ts";
import { Stage2 } from "./stage2.ts";
import { type StallEnd, Stalls } from "./stalls.ts";
import { StreamJudge } from "./stream-judge.ts";
import { TlbMaintenance } from "./tlb-maintenance.ts";
import { Translator } from "./translator.ts";
import { UntranslatedRequests } from "./untranslated-requests.ts";

/** What an SMMU is. */
export interface SmmuOptions {
  /** Such as `smmu0`. */
  readonly name: string;
  /** The ID registers as software reads them. */
  readonly id: IdRegisters;
  /** ns after which an Invalidate Request is given up. */
  readonly atcTimeout: number;
  /** How long configuration and translations are kept. */
  readonly caches: CachePolicy | CachePolicies;
  /** StreamID of a requester ID. */
  readonly streamIdOf: (rid: Rid) => number;
  /** Requester ID of a StreamID; undefined = no function behind it. */
  readonly ridOf: (sid: number) => Rid | undefined;
}

/** What an SMMU is connected to. */
export interface SmmuPorts {
  /** Where tables and queues are. */
  readonly memory: PhysicalMemory;
  /** Time, for invalidations that are never answered. */
  readonly clock: Clock;
  /** Where it tells of faults and commands. */
  readonly trace: Trace;
  /** The way to the functions. */
  readonly root: RootComplex;
  /** The way to the CPUs. */
  readonly interrupts: InterruptLines;
  /** Told when a stalled transaction goes on: its tag, and the answer, which may be `pending` with another tag. */
  readonly resumed?: (tag: number, answer: TranslateResult) => void;
}

/**
 * One SMMUv3: registers, queues, caches, and the judging of requests from bytes in memory.
 *
 * Source: Arm IHI 0070 G.b.
 */
export class Smmu implements IommuHardware, MmioRegion, Digestible {
  readonly name: string;
  /** The ID registers, taken apart. */
  readonly id: Identification;
  /** The parts that make progress by themselves, in a fixed order. */
  readonly engines: readonly Engine[];
  readonly #atc: AtcInvalidations;
  readonly #parts: readonly Digestible[];
  readonly #requests: RequestPort;
  readonly #pageRequestPort: PageRequestPort;
  readonly #registers: RegisterWindow;
  readonly #maintenance: TlbMaintenance;
  readonly #control: Control;

  constructor(options: SmmuOptions, ports: SmmuPorts) {
    const { name, streamIdOf, ridOf } = options;
    const { memory, clock, trace, root, interrupts } = ports;
    const id = decodeIdRegisters(options.id);
    this.name = name;
    this.id = id;
    const caches = cachePolicies(CACHES, options.caches);
    const configs = new ConfigCache(caches.config);
    const tlb = new IoTlb(caches.translations, caches.walks);
    const site = new FaultSite();
    const stage2 = new Stage2(memory, tlb, site, id);
    const control = new Control(name, id, () => {
      stalls.retryRecords();
    });
    const errors = new GlobalErrors(control, interrupts.gerror);
    const events = new RecordQueue({
      memory,
      limit: id.eventQueueBits,
      recordBytes: EVENT_BYTES,
      enabled: () => control.eventQueueEnabled,
      errors,
      abortError: GERROR.eventqAbtErr,
      mask: control,
      interrupt: IRQ_CTRL.eventq,
      line: interrupts.eventq,
      overflowBlocks: false,
    });
    const pageRequests = new RecordQueue({
      memory,
      limit: id.pageRequestQueueBits,
      recordBytes: PAGE_REQUEST_BYTES,
      enabled: () => control.pageRequestQueueEnabled,
      errors,
      abortError: GERROR.priqAbtErr,
      mask: control,
      interrupt: IRQ_CTRL.priq,
      line: interrupts.priq,
      overflowBlocks: true,
    });
    const lookup = new ConfigLookup({ memory, id, control, configs, stage2, site });
    const faults = new FaultReporter(name, memory, trace, events);
    const stalls = new Stalls(faults, id.stallMax);
    const answers = new Answers(faults, site);
    const judge = new StreamJudge(lookup, id);
    const translator = new Translator(memory, tlb, stage2, site);
    const untranslated = new UntranslatedRequests({ id, control, judge, translator, answers, site, stalls });
    const ats = new AtsRequests({ id, control, judge, translator, answers, site });
    const maintenance = new TlbMaintenance(tlb, id);
    const resume = (tag: number, request: Request, end: StallEnd): void => {
      site.reset();
      ports.resumed?.(tag, untranslated.resume(request, end));
    };
    const atc = new AtcInvalidations(name, clock, trace, options.atcTimeout, (submit, result) => {
      if (trace.active) {
        trace.emit("command:complete", { iommu: name, opcode: "ATC_INV", submit, result }, submit);
      }
      commands.wake();
    });
    const executor = new CommandExecutor({
      smmu: this,
      control,
      configs,
      lookup,
      tlb: maintenance,
      stalls,
      resume,
      atc,
      root,
      ridOf,
    });
    const commands = new CommandQueue({ name, memory, trace, id, control, errors, atc, executor });
    this.#requests = new RequestPort({ untranslated, ats, site, streamIdOf });
    this.#maintenance = maintenance;
    this.#control = control;
    this.#pageRequestPort = new PageRequestPort({ smmu: this, id, lookup, root, queue: pageRequests, streamIdOf });
    this.#registers = new RegisterWindow({
      id: options.id,
      control,
      errors,
      commands,
      events: events.registers,
      eventsTaken: () => {
        stalls.retryRecords();
      },
      pageRequests: pageRequests.registers,
    });
    this.#atc = atc;
    this.engines = [control, commands, atc];
    this.#parts = [control, errors, commands, events, pageRequests, atc, configs, tlb, stalls];
  }

  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    return this.#requests.translate(rid, pasid, page, offset, flags);
  }

  /**
   * A TLB maintenance broadcast of a CPU, in the form of the TLBI command that does the same. It reaches an SMMU that takes
   * part in broadcasts (IDR0.BTM = 1, CR2.PTM = 0), and there no context with ASET = 1.
   *
   * Source: SMMUv3 §3.17.
   */
  broadcast(command: ArrayLike<number>): void {
    if (this.id.broadcast && this.#control.takesBroadcasts) {
      this.#maintenance.broadcast(command);
    }
  }

  pageRequest(request: PageRequest): void {
    this.#pageRequestPort.receive(request);
  }

  invalidateCompletion(rid: Rid, itags: number, count: number): void {
    this.#atc.complete(rid, itags, count);
  }

  read32(offset: number): number {
    return this.#registers.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#registers.write32(offset, value);
  }

  digest(into: Digest): void {
    for (const part of this.#parts) {
      part.digest(into);
    }
  }
}
