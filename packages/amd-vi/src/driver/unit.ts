import {
  type Condition,
  type Mmio,
  type Op,
  type PhysicalMemory,
  type Trace,
  type Words,
  Lock,
  hexWords,
  join64,
  preempt,
  waitUntil,
} from "@iommu-lab/core";
import { commandName, describeCommand } from "../layout/command-text.ts";
import { COMMAND_BYTES, completionWaitStore } from "../layout/command.ts";
import { COMMAND_HEAD, COMMAND_TAIL, CONTROL } from "../layout/registers.ts";
import type { ControlBit } from "../layout/registers.ts";
import type { UnitDescription } from "../firmware/description.ts";
import type { CommandFilter, InvalidationSite } from "./invalidation-site.ts";

/** Bytes of the command buffer: 512 commands. */
export const COMMAND_BUFFER_BYTES = 8192;
/** log2 of its entries. */
export const COMMAND_BUFFER_LENGTH = 9;
/** How long the driver polls for room or for a completion: 100000 times 1 µs. */
const POLL_NS = 100_000_000;
/** Bytes that must stay free in the command buffer. */
const MARGIN = 0x20;

/** What every part of the driver works with. */
export interface DriverPorts {
  /** Which invalidations are queued; absent = all. */
  readonly filter?: CommandFilter | undefined;
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly trace: Trace;
}

/**
 * One unit as its driver knows it (`struct amd_iommu`): registers by address, and the command buffer.
 */
export class AmdUnit {
  readonly index: number;
  /** Such as `ivhd0`. */
  readonly name: string;
  readonly description: UnitDescription;
  /** `iommu->lock`: the command buffer. */
  readonly lock: Lock;
  /** Physical address of the command buffer. */
  commandBuffer = 0;
  /** Physical address to which COMPLETION_WAIT stores. */
  semaphore = 0;
  /** Physical address of the PPR log; 0 = none. */
  pprLog = 0;
  /** PASIDs it can take: 2^bits - 1; 0 without GTSup. */
  maxPasids = 0;
  /** A queue for page faults exists (`iommu->iopf_queue`). */
  faultQueue = false;
  readonly #ports: DriverPorts;
  #head = 0;
  #tail = 0;
  #semaphoreValue = 0;
  #needSync = false;

  constructor(index: number, description: UnitDescription, ports: DriverPorts) {
    this.index = index;
    this.name = `ivhd${index}`;
    this.description = description;
    this.lock = new Lock(`${this.name} lock`);
    this.#ports = ports;
  }

  /** Reads a register's low half. */
  read32(offset: number): number {
    return this.#ports.mmio.read32(this.description.base + offset);
  }

  /** Writes 4 bytes of a register. */
  *write32(offset: number, value: number): Op<void> {
    yield preempt;
    this.#ports.mmio.write32(this.description.base + offset, value);
  }

  /** Writes a 64-bit register. */
  *write64(offset: number, lo: number, hi: number): Op<void> {
    yield preempt;
    this.#ports.mmio.write64(this.description.base + offset, lo, hi);
  }

  /** Puts a field of `width` bits into Control. Source: Linux 7.2 `iommu_feature_set()`. */
  *setFeature(bit: ControlBit, value: number, width: number = 1): Op<void> {
    const word = bit >>> 5;
    const halves = [this.read32(CONTROL), this.read32(CONTROL + 4)];
    const mask = (2 ** width - 1) << (bit & 31);
    halves[word] = (((halves[word] ?? 0) & ~mask) | ((value << (bit & 31)) & mask)) >>> 0;
    yield* this.write64(CONTROL, halves[0] ?? 0, halves[1] ?? 0);
  }

  /** Sets or clears one bit of Control. Source: Linux 7.2 `iommu_feature_enable()`, `iommu_feature_disable()`. */
  enable(bit: ControlBit, on: boolean = true): Op<void> {
    return this.setFeature(bit, on ? 1 : 0);
  }

  /** Head and tail of the command buffer are 0 again. */
  resetCommandBuffer(): void {
    this.#head = 0;
    this.#tail = 0;
  }

  /**
   * Queues a command. Source: Linux 7.2 `iommu_queue_command()`.
   *
   * @param site the place that invalidates
   * @returns false when the buffer stayed full for 100 ms (the kernel's -EIO)
   */
  *queue(site: InvalidationSite, words: Words): Op<boolean> {
    yield this.lock.exclusive;
    const { filter } = this.#ports;
    if (filter !== undefined && !filter(site, words)) {
      this.#needSync = true;
      this.lock.release();
      return true;
    }
    const queued = yield* this.#put(words, true);
    this.lock.release();
    return queued;
  }

  /**
   * Waits until all commands queued before have completed: for a COMPLETION_WAIT of its own, or for the last one when
   * nothing was queued since.
   *
   * Source: Linux 7.2 `iommu_completion_wait()`.
   *
   * @returns false when that took more than 100 ms; the driver then goes on regardless
   */
  *completionWait(): Op<boolean> {
    yield this.lock.exclusive;
    if (!this.#needSync) {
      const value = this.#semaphoreValue;
      this.lock.release();
      return yield* this.#waitForSemaphore(value);
    }
    this.#semaphoreValue += 1;
    const value = this.#semaphoreValue;
    const queued = yield* this.#put(completionWaitStore(this.semaphore, value), false);
    this.lock.release();
    return queued && (yield* this.#waitForSemaphore(value));
  }

  *#waitForSemaphore(value: number): Op<boolean> {
    const { memory } = this.#ports;
    const { semaphore } = this;
    const condition: Condition = {
      name: `${this.name} COMPLETION_WAIT ${value}`,
      holds: () => memory.load64(semaphore) && join64(memory.lo, memory.hi) >= value,
    };
    const done = yield* waitUntil(condition, POLL_NS);
    if (!done) {
      this.warn("wait_on_sem", "Completion-Wait loop timed out");
    }
    return done;
  }

  *#put(words: Words, sync: boolean): Op<boolean> {
    const next = (this.#tail + COMMAND_BYTES) % COMMAND_BUFFER_BYTES;
    if (!this.#hasRoom(next)) {
      const condition: Condition = { name: `${this.name} command buffer`, holds: () => this.#hasRoom(next) };
      if (!(yield* waitUntil(condition, POLL_NS))) {
        this.warn("__iommu_queue_command_sync", "Command buffer timeout");
        return false;
      }
    }
    const slot = this.commandBuffer + this.#tail;
    const { memory } = this.#ports;
    memory.store64(slot, words[0] ?? 0, words[1] ?? 0);
    memory.store64(slot + 8, words[2] ?? 0, words[3] ?? 0);
    yield preempt;
    this.#announce(slot, words);
    this.#tail = next;
    this.#ports.mmio.write32(this.description.base + COMMAND_TAIL, next);
    this.#needSync = sync;
    return true;
  }

  #hasRoom(next: number): boolean {
    if (room(this.#head, next) > MARGIN) {
      return true;
    }
    this.#head = this.read32(COMMAND_HEAD);
    return room(this.#head, next) > MARGIN;
  }

  #announce(slot: number, words: Words): void {
    const { trace, memory } = this.#ports;
    if (trace.active) {
      const fields = {
        iommu: this.name,
        opcode: commandName(words),
        words: hexWords(words),
        text: describeCommand(words),
      };
      memory.noteWriter(slot, trace.emit("command:submit", fields), COMMAND_BYTES);
    }
  }

  /** The kernel's alert about this unit. */
  warn(where: string, what: string): void {
    const { trace } = this.#ports;
    if (trace.active) {
      trace.emit("warn", { where, what: `${this.name}: ${what}` });
    }
  }
}

function room(head: number, next: number): number {
  return (head - next + COMMAND_BUFFER_BYTES) % COMMAND_BUFFER_BYTES;
}
