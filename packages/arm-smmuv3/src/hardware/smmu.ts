import type { Clock, Digest, Digestible, Engine, MmioRegion, PhysicalMemory, Trace } from "@iommu-lab/core";
import type { IommuHardware, PageRequest, Rid, RootComplex, TranslateResult } from "@iommu-lab/pci";
import type { InterruptLines } from "../interrupt-line.ts";
import { EVENT_BYTES } from "../layout/event-record.ts";
import type { IdRegisters, Identification } from "../layout/id-registers.ts";
import { decodeIdRegisters } from "../layout/id-registers.ts";
import { PAGE_REQUEST_BYTES } from "../layout/page-request-record.ts";
import { GERROR, IRQ_CTRL } from "../layout/registers.ts";
import { AtcInvalidations } from "./atc-invalidations.ts";
import { CommandExecutor } from "./command-executor.ts";
import { CommandQueue } from "./command-queue.ts";
import type { CachePolicy } from "./config-cache.ts";
import { ConfigCache } from "./config-cache.ts";
import { ConfigLookup } from "./config-lookup.ts";
import { Control } from "./control.ts";
import { GlobalErrors } from "./global-errors.ts";
import { IoTlb } from "./io-tlb.ts";
import { PageRequestPort } from "./page-request-port.ts";
import { RecordQueue } from "./record-queue.ts";
import { RegisterWindow } from "./register-window.ts";
import { RequestPort } from "./request-port.ts";

/** What an SMMU is. */
export interface SmmuOptions {
  /** Such as `smmu0`. */
  readonly name: string;
  readonly id: IdRegisters;
  /** ns after which an Invalidate Request is given up. */
  readonly atcTimeout: number;
  readonly caches: CachePolicy;
  /** StreamID of a requester ID. */
  readonly streamIdOf: (rid: Rid) => number;
  /** Requester ID of a StreamID; undefined = no function behind it. */
  readonly ridOf: (sid: number) => Rid | undefined;
}

/** What an SMMU is connected to. */
export interface SmmuPorts {
  readonly memory: PhysicalMemory;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly root: RootComplex;
  readonly interrupts: InterruptLines;
}

/**
 * One SMMUv3: registers, queues, caches, and the judging of requests from bytes in memory. It translates by stage 1.
 *
 * Source: Arm IHI 0070 G.b.
 */
export class Smmu implements IommuHardware, MmioRegion, Digestible {
  readonly name: string;
  /** The ID registers, taken apart. */
  readonly id: Identification;
  /** Configuration structures it keeps. */
  readonly configs: ConfigCache;
  /** Translations it keeps. */
  readonly tlb: IoTlb;
  /** Control registers. */
  readonly control: Control;
  /** GERROR. */
  readonly errors: GlobalErrors;
  /** Commands. */
  readonly commands: CommandQueue;
  /** Event records. */
  readonly events: RecordQueue;
  /** Page requests. */
  readonly pageRequests: RecordQueue;
  /** Invalidate Requests on their way. */
  readonly atc: AtcInvalidations;
  readonly #requests: RequestPort;
  readonly #pageRequestPort: PageRequestPort;
  readonly #registers: RegisterWindow;

  constructor(options: SmmuOptions, ports: SmmuPorts) {
    const { name, streamIdOf, ridOf } = options;
    const { memory, clock, trace, root, interrupts } = ports;
    const id = decodeIdRegisters(options.id);
    this.name = name;
    this.id = id;
    this.configs = new ConfigCache(options.caches);
    this.tlb = new IoTlb(options.caches);
    this.control = new Control(name, id);
    const { control, configs, tlb } = this;
    this.errors = new GlobalErrors(control, interrupts.gerror);
    const { errors } = this;
    this.events = new RecordQueue({
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
    this.pageRequests = new RecordQueue({
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
    const lookup = new ConfigLookup(memory, id, control, configs);
    this.atc = new AtcInvalidations(name, clock, trace, options.atcTimeout, (submit, result) => {
      if (trace.active) {
        trace.emit("command:complete", { iommu: name, opcode: "ATC_INV", submit, result }, submit);
      }
      this.commands.wake();
    });
    const { atc } = this;
    const executor = new CommandExecutor({ smmu: this, id, control, configs, lookup, tlb, atc, root, ridOf });
    this.commands = new CommandQueue({ name, memory, trace, id, control, errors, atc, executor });
    this.#requests = new RequestPort({
      name,
      memory,
      trace,
      id,
      control,
      configs,
      tlb,
      events: this.events,
      streamIdOf,
    });
    this.#pageRequestPort = new PageRequestPort({ smmu: this, id, lookup, root, queue: this.pageRequests, streamIdOf });
    this.#registers = new RegisterWindow({
      id: options.id,
      control,
      errors,
      commands: this.commands,
      events: this.events.registers,
      pageRequests: this.pageRequests.registers,
    });
  }

  /** The parts that make progress by themselves, in a fixed order. */
  get engines(): readonly Engine[] {
    return [this.control, this.commands, this.atc];
  }

  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    return this.#requests.translate(rid, pasid, page, offset, flags);
  }

  pageRequest(request: PageRequest): void {
    this.#pageRequestPort.receive(request);
  }

  invalidateCompletion(rid: Rid, itags: number, count: number): void {
    this.atc.complete(rid, itags, count);
  }

  read32(offset: number): number {
    return this.#registers.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#registers.write32(offset, value);
  }

  digest(into: Digest): void {
    for (const part of [
      this.control,
      this.errors,
      this.commands,
      this.events,
      this.pageRequests,
      this.atc,
      this.configs,
      this.tlb,
    ]) {
      part.digest(into);
    }
  }
}
