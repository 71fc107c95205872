import type { Condition, Digest, Op } from "@iommu-lab/core";
import { KernelError, preempt, waitUntil } from "@iommu-lab/core";
import { EVENT_BYTES } from "../layout/event-record.ts";
import { PAGE_REQUEST_BYTES } from "../layout/page-request-record.ts";
import type { Register64 } from "../layout/registers.ts";
import { encodeQueueBase } from "../layout/registers.ts";
import { CommandQueue, POLL_TIMEOUT } from "./command-queue.ts";
import type { SmmuFeatures, SmmuFirmware } from "./features.ts";
import { probeFeatures } from "./features.ts";
import type { Master } from "./master.ts";
import type { DriverPorts } from "./ports.ts";
import { OWNER } from "./ports.ts";
import { StreamTable } from "./stream-table.ts";
import { TableMemory } from "./table-memory.ts";

/** Where an SMMU is and what firmware says of it. */
export interface SmmuDescription extends SmmuFirmware {
  /** Such as `smmu0`. */
  readonly name: string;
  /** Its place in {@link SmmuFirmwareView.smmus}. */
  readonly index: number;
  /** Physical address of the registers. */
  readonly base: number;
  /** The root complex does ATS (IORT, device tree `ats-supported`). */
  readonly rootComplexAts: boolean;
}

/** A queue that hardware fills. */
export interface RecordQueueMemory {
  /** Physical address of its entries. */
  readonly address: number;
  readonly log2Size: number;
  /** Value of its base register. */
  readonly baseRegister: Register64;
}

/** A register has reached a value. */
class RegisterReads implements Condition {
  readonly name: string;
  readonly #read: () => number;
  readonly #accepts: (value: number) => boolean;

  constructor(name: string, read: () => number, accepts: (value: number) => boolean) {
    this.name = name;
    this.#read = read;
    this.#accepts = accepts;
  }

  holds(): boolean {
    return this.#accepts(this.#read());
  }
}

/** One SMMU as the driver keeps it (`struct arm_smmu_device`). */
export class SmmuDevice {
  readonly name: string;
  readonly description: SmmuDescription;
  readonly ports: DriverPorts;
  readonly features: SmmuFeatures;
  readonly commands: CommandQueue;
  readonly events: RecordQueueMemory;
  readonly pageRequests: RecordQueueMemory;
  readonly tables: TableMemory;
  readonly streamTable: StreamTable;
  /** StreamID → who has it (`smmu->streams`). */
  readonly streams: Map<number, Master> = new Map();

  /**
   * Reads the ID registers and allocates queues and the stream table.
   *
   * Source: Linux 7.2 `arm_smmu_device_hw_probe()`, `arm_smmu_init_structures()`.
   *
   * @throws KernelError ENXIO for an SMMU that the driver refuses
   */
  constructor(description: SmmuDescription, ports: DriverPorts) {
    const { memory, mmio, trace, filter } = ports;
    const { name, base } = description;
    this.name = name;
    this.description = description;
    this.ports = ports;
    this.features = probeFeatures((offset) => mmio.read32(base + offset), description);
    const { commandQueueBits, eventQueueBits, pageRequestQueueBits, pollsMessages } = this.features;
    this.commands = new CommandQueue({ name, base, memory, mmio, trace, filter }, commandQueueBits, pollsMessages);
    this.events = this.#recordQueue(EVENT_BYTES, eventQueueBits, "event queue");
    this.pageRequests = this.features.pri
      ? this.#recordQueue(PAGE_REQUEST_BYTES, pageRequestQueueBits, "PRI queue")
      : { address: 0, log2Size: 0, baseRegister: [0, 0] };
    this.tables = new TableMemory(name, memory, trace);
    this.streamTable = new StreamTable(name, this.features, memory, this.tables);
  }

  /** Reads a register. */
  read32(offset: number): number {
    return this.ports.mmio.read32(this.description.base + offset);
  }

  /** Writes a register from a place that cannot lose the CPU. */
  writeNow(offset: number, value: number): void {
    this.ports.mmio.write32(this.description.base + offset, value >>> 0);
  }

  /** Writes a 32-bit register. */
  *write32(offset: number, value: number): Op<void> {
    yield preempt;
    this.writeNow(offset, value);
  }

  /** Writes a 64-bit register. */
  *write64(offset: number, [lo, hi]: Register64): Op<void> {
    yield preempt;
    this.ports.mmio.write64(this.description.base + offset, lo, hi);
  }

  /**
   * Writes a register and waits for its acknowledgement.
   *
   * Source: Linux 7.2 `arm_smmu_write_reg_sync()`.
   *
   * @throws KernelError ETIMEDOUT after 1 s
   */
  *writeAndWait(offset: number, value: number, acknowledge: number): Op<void> {
    yield* this.write32(offset, value);
    yield* this.waitFor(acknowledge, (read) => read === value);
  }

  /** Waits for a register. @throws KernelError ETIMEDOUT after 1 s */
  *waitFor(offset: number, accepts: (value: number) => boolean): Op<void> {
    const name = `${this.name} register 0x${offset.toString(16)}`;
    if (!(yield* waitUntil(new RegisterReads(name, () => this.read32(offset), accepts), POLL_TIMEOUT))) {
      throw new KernelError("ETIMEDOUT", `${name} does not answer`);
    }
  }

  /** Writes the queue's indices, the tables there are, and who has which stream. */
  digest(into: Digest): void {
    into.text(this.name);
    this.commands.digest(into);
    this.streamTable.digest(into);
    into.number(this.streams.size);
    for (const [sid, { device }] of [...this.streams].toSorted(([a], [b]) => a - b)) {
      into.number(sid);
      into.text(device.name);
    }
  }

  /** A message in the kernel's log. */
  warn(where: string, what: string): void {
    const { trace } = this.ports;
    if (trace.active) {
      trace.emit("warn", { where, what: `${this.name}: ${what}` });
    }
  }

  #recordQueue(entryBytes: number, log2Size: number, what: string): RecordQueueMemory {
    const bytes = entryBytes * 2 ** log2Size;
    const address = this.ports.memory.allocate(bytes, bytes, OWNER, `${this.name} ${what}`);
    return { address, log2Size, baseRegister: encodeQueueBase(address, log2Size) };
  }
}
