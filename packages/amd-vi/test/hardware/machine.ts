import type { AmdIommuOptions, DeviceTableEntry } from "@iommu-lab/amd-vi";
import {
  AmdIommu,
  EMPTY_DTE,
  defaultOpenPoints,
  encodeBufferBase,
  encodeDeviceTableBase,
  encodeDte,
  encodeFeatures,
  encodeGcr3Entry,
  invalidateDevtabEntry,
} from "@iommu-lab/amd-vi";
import {
  COMMAND_BASE,
  COMMAND_TAIL,
  CONTROL,
  CONTROL_BIT,
  DEVICE_TABLE_BASE,
  EVENT_BASE,
  EVENT_TAIL,
  PPR_BASE,
} from "../registers.ts";
import type { PageTableFormat, TraceEvent } from "@iommu-lab/core";
import { Clock, PROT_READ, PROT_WRITE, PageTable, PhysicalMemory, Recorder, Scheduler, Trace } from "@iommu-lab/core";
import type { Delivery, IommuHardware, RootComplex, TranslateResult } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { dwords } from "../layout/golden.ts";

/** A message the unit sent down. */
interface Sent {
  readonly kind: "invalidate" | "response";
  readonly rid: number;
  readonly pasid: number;
  /** ITag or PRG index. */
  readonly tag: number;
  readonly page: number;
  readonly sizeLog2: number;
  readonly code: number;
}

/** A root complex that writes down what it is asked to send. */
class FakeRoot implements RootComplex {
  readonly sent: Sent[] = [];

  sendInvalidate(
    _from: IommuHardware,
    rid: number,
    tag: number,
    pasid: number,
    page: number,
    sizeLog2: number,
  ): Delivery {
    this.sent.push({ kind: "invalidate", rid, pasid, tag, page, sizeLog2, code: 0 });
    return "delivered";
  }

  sendPageResponse(_from: IommuHardware, rid: number, pasid: number, tag: number, code: number): Delivery {
    this.sent.push({ kind: "response", rid, pasid, tag, page: 0, sizeLog2: 0, code });
    return "delivered";
  }
}

export const RID = 0x3a00;
export const RW: number = PROT_READ | PROT_WRITE;

/** V and TV with both permissions. */
export const TRANSLATED: DeviceTableEntry = {
  ...EMPTY_DTE,
  valid: true,
  translationValid: true,
  read: true,
  write: true,
  domainId: 0x12,
};

/** A unit with its device table, command buffer and logs, enabled. */
export class Machine {
  readonly memory = new PhysicalMemory({ base: 0x1000000 });
  readonly clock = new Clock();
  readonly trace = new Trace(this.clock);
  readonly scheduler = new Scheduler(this.clock, this.trace);
  readonly recorder = new Recorder(this.trace);
  readonly root = new FakeRoot();
  readonly unit: AmdIommu;
  readonly deviceTable: number;
  readonly commands: number;
  readonly events: number;
  readonly requests: number;
  interrupts = 0;
  #tail = 0;

  constructor(options: Partial<AmdIommuOptions> = {}) {
    this.unit = new AmdIommu(
      {
        name: "ivhd0",
        efr: encodeFeatures({ pasidBits: 20 }),
        efr2: 0n,
        iotlbSup: true,
        npCache: false,
        caches: "keep-all",
        open: defaultOpenPoints,
        ...options,
      },
      {
        memory: this.memory,
        clock: this.clock,
        trace: this.trace,
        root: this.root,
        interrupt: {
          raise: () => {
            this.interrupts += 1;
          },
        },
      },
    );
    for (const engine of this.unit.engines) {
      this.scheduler.addEngine(engine);
    }
    this.deviceTable = this.allocate(2 ** 21);
    this.commands = this.allocate(8192);
    this.events = this.allocate(4096);
    this.requests = this.allocate(4096);
    this.unit.write64(DEVICE_TABLE_BASE, ...encodeDeviceTableBase(this.deviceTable, 2 ** 21));
    this.unit.write64(COMMAND_BASE, ...encodeBufferBase(this.commands, 9));
    this.unit.write64(EVENT_BASE, ...encodeBufferBase(this.events, 8));
    this.unit.write64(PPR_BASE, ...encodeBufferBase(this.requests, 8));
    this.control("IommuEn", "CmdBufEn", "EventLogEn", "EventIntEn", "PPREn", "PPRLogEn", "GTEn");
  }

  /** Sets Control bits. */
  control(...bits: readonly (keyof typeof CONTROL_BIT)[]): void {
    const [lo, hi] = [this.unit.read32(CONTROL), this.unit.read32(CONTROL + 4)];
    const added = bits.reduce((word, name) => word | (1 << CONTROL_BIT[name]), 0);
    this.unit.write64(CONTROL, (lo | added) >>> 0, hi);
  }

  /** Clears Control bits. */
  clear(...bits: readonly (keyof typeof CONTROL_BIT)[]): void {
    const [lo, hi] = [this.unit.read32(CONTROL), this.unit.read32(CONTROL + 4)];
    const removed = bits.reduce((word, name) => word | (1 << CONTROL_BIT[name]), 0);
    this.unit.write64(CONTROL, (lo & ~removed) >>> 0, hi);
  }

  /** Sets InvTimeOut. */
  invTimeOut(code: number): void {
    const [lo, hi] = [this.unit.read32(CONTROL), this.unit.read32(CONTROL + 4)];
    this.unit.write64(CONTROL, ((lo & ~0xe0) | (code << 5)) >>> 0, hi);
  }

  allocate(bytes: number): number {
    return this.memory.allocate(bytes, 4096, "test", "test");
  }

  /** Stores a DTE without telling the unit. */
  storeDte(entry: DeviceTableEntry | ArrayLike<number>, rid: number = RID): void {
    const words = "valid" in entry ? encodeDte(entry) : entry;
    for (let index = 0; index < words.length; index += 1) {
      this.memory.store32(this.deviceTable + rid * 32 + index * 4, words[index] ?? 0);
    }
  }

  /** Stores a DTE and makes the unit read it again. */
  setDte(entry: DeviceTableEntry | ArrayLike<number>, rid: number = RID): void {
    this.storeDte(entry, rid);
    this.submit(invalidateDevtabEntry(rid));
  }

  /** A table of this format with one page mapped. */
  table(format: PageTableFormat, page: number, target: number, prot: number = RW): PageTable {
    const table = new PageTable(this.memory, format, "test", "table");
    table.map(page, target, 1, prot);
    return table;
  }

  /** A GCR3 table of `glx + 1` levels in which PASIDs have these guest page tables. */
  gcr3(glx: number, roots: Readonly<Record<number, number>>): number {
    const top = this.allocate(4096);
    for (const [key, root] of Object.entries(roots)) {
      const pasid = Number(key);
      let table = top;
      for (let level = glx; level > 0; level -= 1) {
        const slot = table + ((pasid >>> (9 * level)) & 0x1ff) * 8;
        this.memory.load64(slot);
        if (this.memory.lo === 0) {
          this.memory.store64(slot, ...encodeGcr3Entry(this.allocate(4096)));
        }
        this.memory.load64(slot);
        table = this.memory.lo - 1;
      }
      this.memory.store64(table + (pasid & 0x1ff) * 8, ...encodeGcr3Entry(root));
    }
    return top;
  }

  read(page: number, pasid: number = NO_PASID): TranslateResult {
    return this.unit.translate(RID, pasid, page, 0, AT_UNTRANSLATED);
  }

  write(page: number, pasid: number = NO_PASID): TranslateResult {
    return this.unit.translate(RID, pasid, page, 0, AT_UNTRANSLATED | REQUEST_WRITE);
  }

  ask(page: number, pasid: number = NO_PASID): TranslateResult {
    return this.unit.translate(RID, pasid, page, 0, AT_TRANSLATION_REQUEST);
  }

  translated(page: number, pasid: number = NO_PASID): TranslateResult {
    return this.unit.translate(RID, pasid, page, 0, AT_TRANSLATED | REQUEST_WRITE);
  }

  /** Puts commands behind the tail, rings the doorbell, and lets the unit work. @returns their addresses */
  submit(...commands: readonly ArrayLike<number>[]): number[] {
    const slots = commands.map((words) => {
      const slot = this.commands + this.#tail;
      for (let index = 0; index < 4; index += 1) {
        this.memory.store32(slot + index * 4, words[index] ?? 0);
      }
      this.#tail = (this.#tail + 16) % 8192;
      return slot;
    });
    this.unit.write32(COMMAND_TAIL, this.#tail);
    this.scheduler.settle();
    return slots;
  }

  /** Head and tail back to 0, as after software has written them. */
  rewind(): void {
    this.#tail = 0;
  }

  /** Moves the clock and lets the unit work. */
  advance(ns: number): void {
    this.clock.advance(this.clock.now + ns);
    this.scheduler.settle();
  }

  /** The events in the log, in words. */
  get log(): string[] {
    const found: string[] = [];
    for (let at = 0; at < this.unit.read32(EVENT_TAIL); at += 16) {
      const words = [0, 4, 8, 12].map((offset) => this.memory.load32(this.events + at + offset));
      found.push(dwords(words));
    }
    return found;
  }

  /** Trace events of one type. */
  traced<K extends TraceEvent["type"]>(type: K): Extract<TraceEvent, { type: K }>[] {
    return this.recorder.events.filter((event) => event.type === type) as Extract<TraceEvent, { type: K }>[];
  }
}
