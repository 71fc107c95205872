import {
  type TraceEvent,
  type Words,
  Clock,
  PhysicalMemory,
  Recorder,
  Scheduler,
  Trace,
  hexWords,
} from "@iommu-lab/core";
import {
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  type CachePolicy,
  type Delivery,
  type IommuHardware,
  NO_PASID,
  REQUEST_WRITE,
  type RootComplex,
  type TranslateResult,
} from "@iommu-lab/pci";
import type { CachePolicies } from "../../src/hardware/cache-policy.ts";
import { Smmu } from "../../src/hardware/smmu.ts";
import { interruptLines } from "../../src/interrupt-line.ts";
import { cmdSync } from "../../src/layout/command.ts";
import { type CdField, encodeCd } from "../../src/layout/context-descriptor.ts";
import type { IdRegisters } from "../../src/layout/id-registers.ts";
import { advance } from "../../src/layout/queue-index.ts";
import { CR0, REG, encodeQueueBase, encodeStrtabBase, encodeStrtabBaseCfg } from "../../src/layout/registers.ts";
import { STE_CONFIG, type SteField, encodeSte } from "../../src/layout/stream-table-entry.ts";
import { LINUX_MAIR } from "../../src/layout/vmsav8-64.ts";

/** A message the SMMU sent down. */
export interface Sent {
  readonly kind: "invalidate" | "response";
  readonly rid: number;
  readonly pasid: number;
  /** ITag or PRG index. */
  readonly tag: number;
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
    this.sent.push({ kind: "invalidate", rid, pasid, tag: itag, page, sizeLog2, global, code: 0 });
    return this.delivery;
  }

  sendPageResponse(_from: IommuHardware, rid: number, pasid: number, groupIndex: number, code: number): Delivery {
    this.sent.push({ kind: "response", rid, pasid, tag: groupIndex, page: 0, sizeLog2: 0, global: false, code });
    return this.delivery;
  }
}

/** Both stages, AArch64, coherent, HTTU 2, ATS, PRI, 16-bit tags, CD2L, little-endian, ATSRECERR, terminate only, two-level. */
const FULL: IdRegisters = { idr0: 0x0dcd149b, idr1: 0x0a108510, idr3: 0x1414, idr5: 0x75 };

export const SID = 0x100;
export const CMDQ = 0x40100000;
const EVENTQ = 0x40110000;
export const PRIQ = 0x40120000;
export const STREAMS = 0x40400000;
export const CONTEXTS = 0x40900000;
/** Tables of the walk: one 4 KiB page for each level. */
export const TABLES = 0x40a00000;
const LOG2_QUEUE = 6;

export interface MachineOptions {
  readonly id?: Partial<IdRegisters>;
  readonly caches?: CachePolicy | CachePolicies;
  readonly atcTimeout?: number;
  /** Told when a stalled transaction goes on. */
  readonly resumed?: (tag: number, answer: TranslateResult) => void;
}

/** An SMMU with tables at fixed places, driven through its registers. */
export class Machine {
  readonly memory = new PhysicalMemory();
  readonly clock = new Clock();
  readonly trace = new Trace(this.clock);
  readonly scheduler = new Scheduler(this.clock, this.trace);
  readonly root = new FakeRoot();
  readonly recorder = new Recorder(this.trace);
  readonly interrupts = interruptLines("smmu0");
  readonly smmu: Smmu;
  #prod = 0;
  #cons = 0;

  constructor(options: MachineOptions = {}) {
    this.smmu = new Smmu(
      {
        name: "smmu0",
        id: { ...FULL, ...options.id },
        atcTimeout: options.atcTimeout ?? 1000,
        caches: options.caches ?? "keep-all",
        streamIdOf: (rid) => rid,
        ridOf: (sid) => sid,
      },
      {
        memory: this.memory,
        clock: this.clock,
        trace: this.trace,
        root: this.root,
        interrupts: this.interrupts,
        ...(options.resumed === undefined ? {} : { resumed: options.resumed }),
      },
    );
    for (const engine of this.smmu.engines) {
      this.scheduler.addEngine(engine);
    }
  }

  get events(): readonly TraceEvent[] {
    return this.recorder.events;
  }

  write32(offset: number, value: number): void {
    this.smmu.write32(offset, value >>> 0);
    this.scheduler.settle();
  }

  write64(offset: number, [lo, hi]: readonly [number, number]): void {
    this.smmu.write32(offset, lo);
    this.smmu.write32(offset + 4, hi);
  }

  read32(offset: number): number {
    return this.smmu.read32(offset);
  }

  /** Queues and a linear stream table; `more` = CR0 bits besides those of the queues. */
  enable(more: number = CR0.smmuen | CR0.atschk, cr2: number = 2): void {
    this.write64(REG.strtabBase, encodeStrtabBase(STREAMS));
    this.write32(REG.strtabBaseCfg, encodeStrtabBaseCfg({ log2Size: 16, split: 0, twoLevels: false }));
    this.enableQueues(more, cr2);
  }

  enableQueues(more: number, cr2: number = 2): void {
    this.write32(REG.cr2, cr2);
    this.write64(REG.cmdqBase, encodeQueueBase(CMDQ, LOG2_QUEUE));
    this.write64(REG.eventqBase, encodeQueueBase(EVENTQ, LOG2_QUEUE));
    this.write64(REG.priqBase, encodeQueueBase(PRIQ, LOG2_QUEUE));
    this.write32(REG.irqCtrl, 7);
    this.write32(REG.cr0, CR0.cmdqen | CR0.eventqen | CR0.priqen | more);
  }

  store(address: number, words: ArrayLike<number>): void {
    for (let index = 0; index < words.length; index += 1) {
      this.memory.store32(address + index * 4, words[index] ?? 0);
    }
  }

  /** Writes an STE into the linear table; caches are not told. */
  ste(fields: Readonly<Partial<Record<SteField, number>>> | Words, sid: number = SID): void {
    this.store(STREAMS + sid * 64, fields instanceof Uint32Array ? fields : encodeSte({ v: 1, ...fields }));
  }

  /** A stream with a table of context descriptors. */
  stage1(fields: Readonly<Partial<Record<SteField, number>>> = {}, sid: number = SID): void {
    this.ste({ config: STE_CONFIG.stage1, s1ContextPtr: CONTEXTS, s1Dss: 2, eats: 1, ...fields }, sid);
  }

  /** A context descriptor as Linux writes it, over the tables at {@link TABLES}. */
  cd(ssid: number, fields: Readonly<Partial<Record<CdField, number>>> = {}): void {
    this.store(
      CONTEXTS + ssid * 64,
      encodeCd({
        t0Sz: 16,
        epd1: 1,
        v: 1,
        ips: 5,
        aa64: 1,
        r: 1,
        a: 1,
        aset: 1,
        asid: 5 + ssid,
        ttb0: TABLES,
        mair0: LINUX_MAIR[0],
        mair1: LINUX_MAIR[1],
        ...fields,
      }),
    );
  }

  /** Maps the pages of the first 2 MiB of the input range: tables, and descriptors by page number. */
  map(leaves: Readonly<Record<number, bigint>>, root: number = TABLES): void {
    for (let level = 0; level < 3; level += 1) {
      this.qword(root + level * 4096, BigInt(root + (level + 1) * 4096) | 3n);
    }
    for (const [page, value] of Object.entries(leaves)) {
      this.qword(root + 3 * 4096 + Number(page) * 8, value);
    }
  }

  qword(address: number, value: bigint): void {
    this.memory.store64(address, Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
  }

  readQword(address: number): bigint {
    this.memory.load64(address);
    return (BigInt(this.memory.hi >>> 0) << 32n) | BigInt(this.memory.lo >>> 0);
  }

  /** Puts commands into the queue without ringing. */
  put(...commands: readonly Words[]): void {
    for (const words of commands) {
      this.store(CMDQ + (this.#prod % 2 ** LOG2_QUEUE) * 16, words);
      this.#prod = advance(this.#prod, 1, LOG2_QUEUE);
    }
  }

  ring(): void {
    this.write32(REG.cmdqProd, this.#prod);
  }

  /** Commands, then a SYNC, and lets the hardware work. */
  issue(...commands: readonly Words[]): void {
    this.put(...commands, cmdSync(0));
    this.ring();
  }

  get consumed(): boolean {
    return this.read32(REG.cmdqCons) === this.#prod;
  }

  /** Event records not yet taken, as 64-bit words with trailing zeros left out. */
  takeEvents(): string[][] {
    const prod = this.read32(REG.eventqProd);
    const taken: string[][] = [];
    while (this.#cons !== (prod & 0x7fffffff)) {
      const at = EVENTQ + (this.#cons % 2 ** LOG2_QUEUE) * 32;
      const texts = hexWords(Array.from({ length: 8 }, (_, index) => this.memory.load32(at + index * 4)));
      taken.push(texts.slice(0, texts.findLastIndex((text) => !/^0x0+$/.test(text)) + 1));
      this.#cons = advance(this.#cons, 1, LOG2_QUEUE);
    }
    this.smmu.write32(REG.eventqCons, (this.#cons | (prod & 0x80000000)) >>> 0);
    return taken;
  }

  read(page: number, pasid: number = NO_PASID, offset: number = 0): TranslateResult {
    return this.smmu.translate(SID, pasid, page, offset, AT_UNTRANSLATED);
  }

  write(page: number, pasid: number = NO_PASID, offset: number = 0): TranslateResult {
    return this.smmu.translate(SID, pasid, page, offset, AT_UNTRANSLATED | REQUEST_WRITE);
  }

  translationRequest(page: number, pasid: number = NO_PASID, flags: number = 0): TranslateResult {
    return this.smmu.translate(SID, pasid, page, 0, AT_TRANSLATION_REQUEST | flags);
  }

  translated(page: number, pasid: number = NO_PASID): TranslateResult {
    return this.smmu.translate(SID, pasid, page, 0, AT_TRANSLATED | REQUEST_WRITE);
  }
}
