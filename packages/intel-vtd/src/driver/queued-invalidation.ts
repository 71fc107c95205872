import { type Condition, type Op, type Words, KernelOops, Lock, hexWords, preempt, waitUntil } from "@iommu-lab/core";
import { describeDescriptor, descriptorName, descriptorType } from "../layout/descriptor-text.ts";
import { invalidationWait } from "../layout/descriptor.ts";
import {
  FSTS,
  FSTS_ICE,
  FSTS_IQE,
  FSTS_ITE,
  GLOBAL_QIE,
  IQA,
  IQERCD,
  IQH,
  IQT,
  encodeInvalidationQueueAddress,
} from "../layout/registers.ts";
import type { DescriptorFilter, InvalidationSite } from "./invalidation-site.ts";
import type { IntelIommu } from "./unit.ts";

/** `QI_LENGTH`. */
const LENGTH = 256;
const FREE = 0;
const IN_USE = 1;
const DONE = 2;
const ABORT = 3;
/**
 * Linux resubmits a batch that timed out without limit, with interrupts off. After this many rounds the model calls it
 * what an operator would see: a lockup.
 */
const ROUNDS = 8;

/** What a submission came back with; the callers of Linux ignore it. */
export type QueueAnswer = "0" | "EINVAL" | "ETIMEDOUT";

/** A batch is over, or the hardware reports an error. */
class BatchProgress implements Condition {
  readonly name: string;
  readonly #queue: QueuedInvalidation;
  readonly #index: number;
  readonly #waitIndex: number;

  constructor(queue: QueuedInvalidation, index: number, waitIndex: number, name: string) {
    this.#queue = queue;
    this.#index = index;
    this.#waitIndex = waitIndex;
    this.name = name;
  }

  holds(): boolean {
    return this.#queue.over(this.#index, this.#waitIndex);
  }
}

/** Enough slots are free. */
class FreeSlots implements Condition {
  readonly name: string;
  readonly #queue: QueuedInvalidation;
  readonly #count: number;

  constructor(queue: QueuedInvalidation, count: number, name: string) {
    this.#queue = queue;
    this.#count = count;
    this.name = name;
  }

  holds(): boolean {
    return this.#queue.freeSlots >= this.#count;
  }
}

/**
 * The driver's end of the invalidation queue (`struct q_inval`). Every submission ends with a wait descriptor of its own
 * and is polled until that has written its status.
 *
 * Source: Linux 7.2 `dmar_enable_qi()`, `qi_submit_sync()`, `qi_check_fault()`.
 */
export class QueuedInvalidation {
  readonly #unit: IntelIommu;
  readonly #lock: Lock;
  readonly #descriptors: number;
  /** `desc_status`: one u32 per slot, written by hardware for wait descriptors. */
  readonly #statuses: number;
  readonly #bytes: number;
  readonly #devicePresent: (sourceId: number) => boolean;
  readonly #filter: DescriptorFilter | undefined;
  #head = 0;
  #tail = 0;
  #free = LENGTH;

  /**
   * @param devicePresent whether a probed device with this requester ID still answers config reads
   * @param filter what of each list of invalidations is sent; absent = all
   */
  constructor(unit: IntelIommu, devicePresent: (sourceId: number) => boolean, filter?: DescriptorFilter) {
    this.#unit = unit;
    this.#filter = filter;
    this.#devicePresent = devicePresent;
    this.#lock = new Lock(`${unit.name} q_lock`);
    this.#bytes = unit.caps.smts ? 32 : 16;
    this.#descriptors = unit.memory.allocate(LENGTH * this.#bytes, 4096, unit.name, "invalidation queue");
    this.#statuses = unit.memory.allocate(LENGTH * 4, 8, unit.name, "descriptor status");
  }

  /** Slots not in use. */
  get freeSlots(): number {
    return this.#free;
  }

  /** Gives the queue to the hardware: 256-bit descriptors where scalable mode exists. */
  *enable(): Op<void> {
    const unit = this.#unit;
    const wide = unit.caps.smts;
    const [lo, hi] = encodeInvalidationQueueAddress({ base: this.#descriptors, wide, size: wide ? 1 : 0 });
    yield* unit.write32(IQT, 0);
    yield* unit.write64(IQA, lo, hi);
    yield* unit.switch(GLOBAL_QIE, true);
  }

  /** What of a list of invalidations is sent. */
  kept(site: InvalidationSite, descriptors: readonly Words[]): readonly Words[] {
    return this.#filter === undefined ? descriptors : this.#filter(site, descriptors);
  }

  /** {@link QueuedInvalidation.submit} of one place's invalidations. */
  invalidate(site: InvalidationSite, descriptors: readonly Words[]): Op<QueueAnswer> {
    return this.submit(this.kept(site, descriptors));
  }

  /**
   * Submits a batch and polls until it is done.
   *
   * @param drain the wait also drains page requests (`QI_OPT_WAIT_DRAIN`)
   * @returns `0`; `EINVAL` when the hardware refused a descriptor; `ETIMEDOUT` when a device that is gone did not answer
   * @throws KernelOops when a device that is there never answers
   */
  *submit(descriptors: readonly Words[], drain: boolean = false): Op<QueueAnswer> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const answer = yield* this.#submitOnce(descriptors, drain);
      if (answer !== "EAGAIN") {
        return answer;
      }
    }
    throw new KernelOops(
      `${this.#unit.name}: lockup in qi_submit_sync(): a device answers config reads but no invalidation, and the batch is resubmitted for ever`,
    );
  }

  /** Whether the wait of a batch is decided, or the hardware reports an error that the batch's submitter deals with. */
  over(index: number, waitIndex: number): boolean {
    const status = this.#status(waitIndex);
    if (status === DONE || status === ABORT) {
      return true;
    }
    const fault = this.#unit.read32(FSTS);
    return (fault & (FSTS_ITE | FSTS_ICE)) !== 0 || ((fault & FSTS_IQE) !== 0 && this.#hardwareHead() === index);
  }

  #hardwareHead(): number {
    return Math.floor(this.#unit.read32(IQH) / this.#bytes);
  }

  *#submitOnce(descriptors: readonly Words[], drain: boolean): Op<QueueAnswer | "EAGAIN"> {
    const count = descriptors.length;
    yield this.#lock.exclusive;
    while (this.#free < count + 2) {
      this.#lock.release();
      yield* waitUntil(new FreeSlots(this, count + 2, `${this.#unit.name} queue slots`));
      yield this.#lock.exclusive;
    }
    const index = this.#head;
    const waitIndex = (index + count) % LENGTH;
    for (const [position, words] of descriptors.entries()) {
      this.#place((index + position) % LENGTH, words);
    }
    const address = this.#statuses + waitIndex * 4;
    this.#place(waitIndex, invalidationWait({ statusWrite: true, drain, data: DONE, address }));
    this.#head = (this.#head + count + 1) % LENGTH;
    this.#free -= count + 1;
    yield preempt;
    this.#unit.mmio.write32(this.#unit.base + IQT, this.#head * this.#bytes);
    const answer = yield* this.#poll(index, waitIndex);
    for (let position = 0; position <= count; position += 1) {
      this.#setStatus((index + position) % LENGTH, FREE);
    }
    this.#reclaim();
    this.#lock.release();
    return answer;
  }

  *#poll(index: number, waitIndex: number): Op<QueueAnswer | "EAGAIN"> {
    const progress = new BatchProgress(
      this,
      index,
      waitIndex,
      `${this.#unit.name} invalidation wait in slot ${waitIndex}`,
    );
    while (this.#status(waitIndex) !== DONE) {
      const answer = yield* this.#checkFault(index, waitIndex);
      if (answer !== "0") {
        return answer;
      }
      this.#lock.release();
      yield* waitUntil(progress);
      yield this.#lock.exclusive;
    }
    return "0";
  }

  /** Source: Linux 7.2 `qi_check_fault()`. */
  *#checkFault(index: number, waitIndex: number): Op<QueueAnswer | "EAGAIN"> {
    const unit = this.#unit;
    if (this.#status(waitIndex) === ABORT) {
      return "EAGAIN";
    }
    const fault = unit.read32(FSTS);
    if ((fault & FSTS_IQE) !== 0 && this.#hardwareHead() === index) {
      this.#warn(`invalidation queue error, reason ${unit.read32(IQERCD) & 0xf}: the descriptor is replaced`);
      this.#copy(waitIndex, index);
      yield* unit.write32(FSTS, FSTS_IQE);
      return "EINVAL";
    }
    if ((fault & FSTS_ITE) !== 0) {
      const gone = yield* this.#abortInFlight();
      if (gone) {
        return "ETIMEDOUT";
      }
      if (this.#status(waitIndex) === ABORT) {
        return "EAGAIN";
      }
    }
    if ((fault & FSTS_ICE) !== 0) {
      this.#warn("invalidation completion error");
      yield* unit.write32(FSTS, FSTS_ICE);
    }
    return "0";
  }

  /** A device did not answer. @returns whether it is gone, so that repeating is of no use */
  *#abortInFlight(): Op<boolean> {
    const unit = this.#unit;
    let head = (this.#hardwareHead() - 1 + LENGTH) % LENGTH;
    const tail = (Math.floor(unit.read32(IQT) / this.#bytes) - 1 + LENGTH) % LENGTH;
    const sourceId = unit.read32(IQERCD + 4) & 0xffff;
    yield* unit.write32(FSTS, FSTS_ITE);
    this.#warn(`invalidation time-out error, source ID 0x${sourceId.toString(16)}`);
    do {
      if (this.#status(head) === IN_USE) {
        this.#setStatus(head, ABORT);
      }
      head = (head - 1 + LENGTH) % LENGTH;
    } while (head !== tail);
    return sourceId !== 0 && !this.#devicePresent(sourceId);
  }

  /** Writes a descriptor into a slot and tells the trace. The slot remembers the event. */
  #place(slot: number, words: Words): void {
    const { memory, trace, name } = this.#unit;
    const at = this.#descriptors + slot * this.#bytes;
    memory.zero(at, this.#bytes);
    for (const [index, word] of words.entries()) {
      memory.store32(at + index * 4, word);
    }
    this.#setStatus(slot, IN_USE);
    if (trace.active) {
      const type = descriptorType(words);
      const event = trace.emit("command:submit", {
        iommu: name,
        opcode: descriptorName(type),
        words: hexWords(words),
        text: describeDescriptor(words),
      });
      memory.noteWriter(at, event, this.#bytes);
    }
  }

  #copy(from: number, to: number): void {
    const { memory } = this.#unit;
    for (let offset = 0; offset < this.#bytes; offset += 4) {
      const word = memory.load32(this.#descriptors + from * this.#bytes + offset);
      memory.store32(this.#descriptors + to * this.#bytes + offset, word);
    }
  }

  #reclaim(): void {
    while (this.#status(this.#tail) === FREE && this.#tail !== this.#head) {
      this.#tail = (this.#tail + 1) % LENGTH;
      this.#free += 1;
    }
  }

  #status(slot: number): number {
    return this.#unit.memory.load32(this.#statuses + slot * 4);
  }

  #setStatus(slot: number, status: number): void {
    this.#unit.memory.store32(this.#statuses + slot * 4, status);
  }

  #warn(what: string): void {
    const { trace, name } = this.#unit;
    if (trace.active) {
      trace.emit("warn", { where: "qi_check_fault", what: `${name}: ${what}` });
    }
  }
}
