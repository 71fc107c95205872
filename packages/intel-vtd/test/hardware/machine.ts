import type { TraceEvent } from "@iommu-lab/core";
import { Clock, PhysicalMemory, Recorder, Scheduler, Trace } from "@iommu-lab/core";
import type { Register64, VtdUnitOptions } from "@iommu-lab/intel-vtd";
import {
  VtdUnit,
  encodeInvalidationQueueAddress,
  encodeRootEntry,
  encodeRootTableAddress,
  encodeScalableRootEntry,
} from "@iommu-lab/intel-vtd";
import type { Delivery, IommuHardware, RootComplex } from "@iommu-lab/pci";
import { GCMD, GLOBAL_KEEP, GLOBAL_QIE, GLOBAL_SRTP, GLOBAL_TE, GSTS, IQA, IQT, RTADDR } from "../registers.ts";

/** A message the unit sent down. */
interface Sent {
  readonly kind: "invalidate" | "response";
  readonly rid: number;
  readonly pasid: number;
  readonly itag: number;
  readonly page: number;
  readonly sizeLog2: number;
  readonly global: boolean;
  readonly code: number;
}

/** A root complex that writes down what it is asked to send. */
class FakeRoot implements RootComplex {
  readonly sent: Sent[] = [];
  delivery: Delivery = "delivered";

  sendInvalidate(
    _from: IommuHardware,
    rid: number,
    itag: number,
    pasid: number,
    page: number,
    sizeLog2: number,
    global: boolean,
  ): Delivery {
    this.sent.push({ kind: "invalidate", rid, pasid, itag, page, sizeLog2, global, code: 0 });
    return this.delivery;
  }

  sendPageResponse(_from: IommuHardware, rid: number, pasid: number, groupIndex: number, code: number): Delivery {
    this.sent.push({ kind: "response", rid, pasid, itag: groupIndex, page: 0, sizeLog2: 0, global: false, code });
    return this.delivery;
  }
}

/** The recorded legacy unit: 39 and 48 bits, device-TLB, pass-through. */
const LEGACY_CAP: Register64 = [0x222f0606, 0x80d2008c];
const LEGACY_ECAP: Register64 = [0x00f00f4e, 0];
/** A scalable unit with both stages, PASIDs (20 bits), page requests with drain. */
export const SCALABLE_CAP: Register64 = [0x222f0606, 0x81d2008c];
export const SCALABLE_ECAP: Register64 = [0x20f00f4e, 0x0001cd98];

export const SID = 0x3a00;
const BASE = 0x40000000;

/** Tables at fixed places below this unit. */
export class Machine {
  readonly memory: PhysicalMemory;
  readonly clock = new Clock();
  readonly trace = new Trace(this.clock);
  readonly scheduler = new Scheduler(this.clock, this.trace);
  readonly root = new FakeRoot();
  readonly recorder = new Recorder(this.trace);
  readonly messages: { readonly address: number; readonly data: number }[] = [];
  readonly unit: VtdUnit;
  readonly wide: boolean;
  #next: number;
  #tail = 0;
  #queue = 0;

  constructor(options: Partial<VtdUnitOptions> & { readonly memoryBase?: number } = {}) {
    const base = options.memoryBase ?? BASE;
    this.memory = new PhysicalMemory({ base });
    this.#next = base + 0x800000;
    this.unit = new VtdUnit(
      {
        name: "dmar0",
        cap: options.cap ?? LEGACY_CAP,
        ecap: options.ecap ?? LEGACY_ECAP,
        version: options.version ?? 0x10,
        hostAddressWidth: options.hostAddressWidth ?? 46,
        invalidationTimeout: options.invalidationTimeout ?? 1000,
        caches: options.caches ?? "keep-all",
      },
      {
        memory: this.memory,
        clock: this.clock,
        trace: this.trace,
        root: this.root,
        interrupts: { message: (address, data) => this.messages.push({ address, data }) },
      },
    );
    this.wide = this.unit.caps.smts;
    for (const engine of this.unit.engines) {
      this.scheduler.addEngine(engine);
    }
  }

  get events(): readonly TraceEvent[] {
    return this.recorder.events;
  }

  /** A zeroed page. */
  page(): number {
    const address = this.#next;
    this.#next += 4096;
    return address;
  }

  /** Stores a structure. */
  store(address: number, words: ArrayLike<number>): void {
    for (let index = 0; index < words.length; index += 1) {
      this.memory.store32(address + index * 4, words[index] ?? 0);
    }
  }

  /** Writes GCMD as software does and lets the unit work. */
  command(bit: number, on = true): void {
    const status = (this.unit.read32(GSTS) & GLOBAL_KEEP) >>> 0;
    this.unit.write32(GCMD, (on ? status | bit : status & ~bit) >>> 0);
    this.scheduler.settle();
  }

  /** Sets the root table and switches translation on. */
  translateWith(table: number, mode: number): void {
    const [lo, hi] = encodeRootTableAddress({ table, mode });
    this.unit.write64(RTADDR, lo, hi);
    this.command(GLOBAL_SRTP);
    this.command(GLOBAL_TE);
  }

  /** Root table whose bus of {@link SID} has this legacy context table. */
  legacyRoot(contextTable: number): number {
    const root = this.page();
    this.store(root + (SID >>> 8) * 16, encodeRootEntry({ present: true, contextTable }));
    return root;
  }

  /** Root table whose bus of {@link SID} has this lower scalable context table. */
  scalableRoot(lowTable: number): number {
    const root = this.page();
    this.store(
      root + (SID >>> 8) * 16,
      encodeScalableRootEntry({ lowPresent: true, lowTable, highPresent: false, highTable: 0 }),
    );
    return root;
  }

  /** Switches the invalidation queue on. */
  startQueue(): void {
    this.#queue = this.page();
    this.page();
    const [lo, hi] = encodeInvalidationQueueAddress({ base: this.#queue, wide: this.wide, size: this.wide ? 1 : 0 });
    this.unit.write64(IQA, lo, hi);
    this.command(GLOBAL_QIE);
  }

  /** Writes descriptors behind the tail without ringing the doorbell. @returns their slots */
  queueUp(...descriptors: ArrayLike<number>[]): number[] {
    return descriptors.map((words) => {
      const slot = this.#queue + this.#tail;
      this.memory.zero(slot, this.wide ? 32 : 16);
      this.store(slot, words);
      this.#tail = (this.#tail + (this.wide ? 32 : 16)) % (this.wide ? 8192 : 4096);
      return slot;
    });
  }

  /** Rings the doorbell and lets the unit work. */
  doorbell(): void {
    this.unit.write32(IQT, this.#tail);
    this.scheduler.settle();
  }

  /** Submits descriptors and lets the unit work. */
  submit(...descriptors: ArrayLike<number>[]): void {
    this.queueUp(...descriptors);
    this.doorbell();
  }
}
