import type { Clock, Digest, Digestible, Engine, MmioRegion, PhysicalMemory, Trace } from "@iommu-lab/core";
import type { CachePolicy, IommuHardware, PageRequest, Rid, RootComplex, TranslateResult } from "@iommu-lab/pci";
import type { InterruptSink } from "../interrupt.ts";
import type { Capabilities } from "../layout/capabilities.ts";
import { decodeCapabilities } from "../layout/capabilities.ts";
import { TTM_LEGACY, TTM_SCALABLE } from "../layout/registers.ts";
import type { CachePolicies } from "./cache-policy.ts";
import { Executor } from "./descriptor-executor.ts";
import { FaultRecorder } from "./fault-recorder.ts";
import { GlobalCommand } from "./global-command.ts";
import { InvalidationQueue } from "./invalidation-queue.ts";
import { LatchedRoot } from "./latched-root.ts";
import { PageRequestPort } from "./page-request-port.ts";
import { PageRequestQueue } from "./page-request-queue.ts";
import { ProtectedMemory } from "./protected-memory.ts";
import { RegisterInvalidation } from "./register-invalidation.ts";
import { RegisterWindow } from "./register-window.ts";
import { RequestPort } from "./request-port.ts";
import { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";

/** A 64-bit register as halves. */
export type Register64 = readonly [lo: number, hi: number];

/** What a unit is. */
export interface VtdUnitOptions {
  /** Such as `dmar0`. */
  readonly name: string;
  /** CAP. */
  readonly cap: Register64;
  /** ECAP. */
  readonly ecap: Register64;
  /** VER: major version in bits 7:4, minor in 3:0. */
  readonly version: number;
  /** Host address width in bits, 39 … 52. */
  readonly hostAddressWidth: number;
  /** ns after which a device-TLB invalidation is given up. */
  readonly invalidationTimeout: number;
  /** What it remembers of the tables, as a whole or by cache. */
  readonly caches: CachePolicy | CachePolicies;
}

/** What a unit is connected to. */
export interface VtdUnitPorts {
  /** Where the tables and queues are. */
  readonly memory: PhysicalMemory;
  /** Virtual time, for invalidations that are not answered. */
  readonly clock: Clock;
  /** Where faults and completions are told. */
  readonly trace: Trace;
  /** What carries its messages down to devices. */
  readonly root: RootComplex;
  /** Where its interrupts go. */
  readonly interrupts: InterruptSink;
}

/**
 * One VT-d remapping unit: registers, caches, invalidation queue, page request queue, and the judging of requests from
 * bytes in memory.
 *
 * Source: VT-d specification 5.10.
 */
export class VtdUnit implements IommuHardware, MmioRegion, Digestible {
  readonly name: string;
  /** CAP and ECAP, taken apart. */
  readonly caps: Capabilities;
  readonly #caches: TranslationCaches;
  readonly #faults: FaultRecorder;
  readonly #queue: InvalidationQueue;
  readonly #pageRequests: PageRequestQueue;
  readonly #command: GlobalCommand;
  readonly #requests: RequestPort;
  readonly #pageRequestPort: PageRequestPort;
  readonly #registers: RegisterWindow;
  readonly #state: readonly Digestible[];

  constructor(options: VtdUnitOptions, ports: VtdUnitPorts) {
    const { memory, clock, trace, root, interrupts } = ports;
    const [capLo, capHi] = options.cap;
    const [ecapLo, ecapHi] = options.ecap;
    const caps = decodeCapabilities(capLo, capHi, ecapLo, ecapHi);
    const latched = new LatchedRoot();
    const context: WalkContext = { memory, caps, hostWidth: options.hostAddressWidth, root: latched };
    const majorVersion = options.version >>> 4;
    const protectedMemory = new ProtectedMemory(caps);
    this.name = options.name;
    this.caps = caps;
    this.#caches = new TranslationCaches(options.caches);
    this.#faults = new FaultRecorder(caps.faultRecords, faultWidth(caps), interrupts);
    this.#pageRequests = new PageRequestQueue(memory, interrupts);
    const executor = new Executor({
      unit: this,
      caps,
      caches: this.#caches,
      root,
      trace,
      devices: () => this.#queue.devices,
    });
    this.#queue = new InvalidationQueue(
      {
        name: this.name,
        memory,
        clock,
        trace,
        caps,
        hostWidth: context.hostWidth,
        faults: this.#faults,
        executor,
        mode: () => this.#command.mode,
      },
      options.invalidationTimeout,
      interrupts,
    );
    this.#command = new GlobalCommand(this.name, caps, this.#caches, this.#queue, this.#faults, latched);
    const registerInvalidation = new RegisterInvalidation(
      caps,
      this.#caches,
      majorVersion,
      () => latched.mode === TTM_LEGACY && !this.#queue.enabled,
    );
    const parts = {
      name: this.name,
      context,
      caches: this.#caches,
      faults: this.#faults,
      command: this.#command,
      protectedMemory,
      majorVersion,
      trace,
    };
    this.#requests = new RequestPort(parts);
    this.#pageRequestPort = new PageRequestPort(parts, this, root, this.#pageRequests);
    this.#registers = new RegisterWindow({
      version: options.version,
      cap: options.cap,
      ecap: options.ecap,
      caps,
      command: this.#command,
      faults: this.#faults,
      queue: this.#queue,
      pageRequests: this.#pageRequests,
      protectedMemory,
      registerInvalidation,
    });
    this.#state = [protectedMemory, registerInvalidation];
  }

  /** The parts that make progress by themselves, in a fixed order. */
  get engines(): readonly Engine[] {
    return [this.#command, this.#queue, this.#queue.devices];
  }

  /** TES. */
  get translating(): boolean {
    return this.#command.translating;
  }

  /** How requests are judged now: what was latched with the root table. */
  get mode(): "legacy" | "scalable" | "abort" | "reserved" {
    switch (this.#command.mode) {
      case TTM_LEGACY:
        return "legacy";
      case TTM_SCALABLE:
        return "scalable";
      case 3:
        return "abort";
      default:
        return "reserved";
    }
  }

  /**
   * Judges one memory request.
   *
   * @param pasid the PASID, or NO_PASID of `pci`
   * @param page address / 4096
   * @param offset address % 4096
   * @param flags AT and the `REQUEST_` bits of `pci`
   * @returns one object that the next request overwrites
   */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    return this.#requests.translate(rid, pasid, page, offset, flags);
  }

  /** Takes a Page Request: into the queue, or answered at once. */
  pageRequest(request: PageRequest): void {
    this.#pageRequestPort.receive(request);
  }

  /**
   * Takes an Invalidate Completion. While translation is off it is refused as any other translated message.
   *
   * @param itags bit n = ITag n
   * @param count how many completions carry the ITag in all, 1 … 8
   */
  invalidateCompletion(rid: Rid, itags: number, count: number): void {
    if (this.translating) {
      this.#queue.complete(rid, itags, count);
    }
  }

  read32(offset: number): number {
    return this.#registers.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#registers.write32(offset, value);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.#registers.write64(offset, lo, hi);
  }

  digest(into: Digest): void {
    this.#command.digest(into);
    this.#caches.digest(into);
    this.#faults.digest(into);
    this.#queue.digest(into);
    this.#pageRequests.digest(into);
    for (const part of this.#state) {
      part.digest(into);
    }
  }
}

/** How many address bits a fault record can hold: those of the widest tables. Source: VT-d 5.10 §11.4.7.7. */
function faultWidth({ sagaw, fsts, fs5lp }: Capabilities): number {
  const second = sagaw === 0 ? 0 : 30 + 9 * (31 - Math.clz32(sagaw));
  return Math.max(second, fsts ? (fs5lp ? 57 : 48) : 0, 39);
}
