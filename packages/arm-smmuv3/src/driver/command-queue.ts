import {
  type Condition,
  type Digest,
  type Mmio,
  type Op,
  type PhysicalMemory,
  type Trace,
  type Words,
  hex,
  hexWords,
  preempt,
  waitUntil,
} from "@iommu-lab/core";
import { commandName, describeCommand } from "../layout/command-text.ts";
import { COMMAND_BYTES, SYNC_SIGNAL, cmdSync } from "../layout/command.ts";
import { advance, indexOf, occupied } from "../layout/queue-index.ts";
import { CERROR, REG, type Register64, encodeQueueBase } from "../layout/registers.ts";
import type { CommandFilter, InvalidationSite } from "./invalidation-site.ts";
import { OWNER } from "./ports.ts";

/** `ARM_SMMU_POLL_TIMEOUT_US`: 1 s, in ns. */
export const POLL_TIMEOUT = 1_000_000_000;
/** `CMDQ_BATCH_ENTRIES`. */
const BATCH_ENTRIES = 64;

/** What the queue belongs to. */
export interface CommandQueueOwner {
  /** Such as `smmu0`. */
  readonly name: string;
  /** Physical address of the registers. */
  readonly base: number;
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly trace: Trace;
  /** See {@link DriverPorts.filter}. */
  readonly filter?: CommandFilter | undefined;
}

/** A SYNC has been consumed. */
class Consumed implements Condition {
  readonly name: string;
  readonly #queue: CommandQueue;
  readonly #position: number;

  constructor(queue: CommandQueue, position: number) {
    this.name = `CMD_SYNC at ${hex(position)}`;
    this.#queue = queue;
    this.#position = position;
  }

  holds(): boolean {
    return this.#queue.isConsumed(this.#position);
  }
}

/** The queue has room. */
class HasSpace implements Condition {
  readonly name = "room in the command queue";
  readonly #queue: CommandQueue;
  readonly #count: number;

  constructor(queue: CommandQueue, count: number) {
    this.#queue = queue;
    this.#count = count;
  }

  holds(): boolean {
    return this.#queue.hasSpace(this.#count);
  }
}

/**
 * The driver's side of the command queue. Several CPUs may insert at once: each takes its slots and fills them; the one
 * that found the queue without an owner publishes everything up to the present end.
 *
 * Source: Linux 7.2 `arm_smmu_cmdq_issue_cmdlist()`.
 */
export class CommandQueue {
  /** Value of the base register. */
  readonly baseRegister: Register64;
  readonly #owner: CommandQueueOwner;
  readonly #log2Size: number;
  readonly #pollsMessages: boolean;
  readonly #address: number;
  #prod = 0;
  #cons = 0;
  /** Somebody is about to publish (`CMDQ_PROD_OWNED_FLAG`). */
  #owned = false;

  /** @param pollsMessages a SYNC tells by a write into its own slot (`ARM_SMMU_OPT_MSIPOLL`) */
  constructor(owner: CommandQueueOwner, log2Size: number, pollsMessages: boolean) {
    this.#owner = owner;
    this.#log2Size = log2Size;
    this.#pollsMessages = pollsMessages;
    const bytes = COMMAND_BYTES * 2 ** log2Size;
    this.#address = owner.memory.allocate(bytes, bytes, OWNER, `${owner.name} command queue`);
    this.baseRegister = encodeQueueBase(this.#address, log2Size);
  }

  /** Index with wrap bit as it goes into CMDQ_PROD at start. */
  get prod(): number {
    return this.#prod;
  }

  /**
   * Puts commands into the queue; with `sync` a SYNC behind them, and waits for it.
   *
   * @returns false when the SYNC did not come back within 1 s; no caller acts on it
   */
  *issue(commands: readonly Words[], sync: boolean): Op<boolean> {
    const count = commands.length + (sync ? 1 : 0);
    while (!this.hasSpace(count)) {
      if (!(yield* waitUntil(new HasSpace(this, count), POLL_TIMEOUT))) {
        this.#warn("CMDQ timeout");
      }
    }
    const start = this.#prod;
    const position = advance(start, commands.length, this.#log2Size);
    this.#fill(start, sync ? [...commands, this.#sync(position)] : commands);
    if (!this.#owned) {
      this.#owned = true;
      yield preempt;
      this.#publish();
    }
    if (!sync) {
      return true;
    }
    const done = yield* waitUntil(new Consumed(this, position), POLL_TIMEOUT);
    if (!done) {
      this.#warn(`CMD_SYNC timeout at ${hex(position)}`);
    }
    this.#cons = this.#readCons();
    return done;
  }

  /** Writes where the driver believes the queue to be; what is in it is memory. */
  digest(into: Digest): void {
    into.number(this.#prod);
    into.number(this.#cons);
    into.number(this.#owned ? 1 : 0);
  }

  /** Issues commands in batches of 64 with one SYNC at the end. Source: Linux 7.2 `arm_smmu_cmdq_batch_submit()`. */
  *issueBatch(commands: readonly Words[]): Op<boolean> {
    let first = 0;
    while (commands.length - first > BATCH_ENTRIES) {
      yield* this.issue(commands.slice(first, first + BATCH_ENTRIES), false);
      first += BATCH_ENTRIES;
    }
    return yield* this.issue(commands.slice(first), true);
  }

  /** Issues invalidations and waits for them. @param site the place in the driver that does it */
  *invalidate(site: InvalidationSite, commands: readonly Words[]): Op<boolean> {
    const { filter } = this.#owner;
    return yield* this.issueBatch(filter === undefined ? commands : filter(site, commands));
  }

  /** Issues invalidations with a SYNC from a place that does not wait; what is issued later waits for them as well. */
  invalidateNow(site: InvalidationSite, commands: readonly Words[]): void {
    const { filter } = this.#owner;
    const sent = filter === undefined ? commands : filter(site, commands);
    this.#issueNow([...sent, this.#sync(advance(this.#prod, sent.length, this.#log2Size))]);
  }

  /** Puts one command into the queue from an interrupt handler, which cannot wait. */
  issueFromInterrupt(command: Words): void {
    this.#issueNow([command]);
  }

  #issueNow(commands: readonly Words[]): void {
    if (!this.hasSpace(commands.length)) {
      this.#warn("CMDQ timeout");
      return;
    }
    this.#fill(this.#prod, commands);
    if (!this.#owned) {
      this.#publish();
    }
  }

  /**
   * An interrupt says that the queue is in error. An illegal command is made a SYNC; the others are tried again.
   *
   * Source: Linux 7.2 `__arm_smmu_cmdq_skip_err()`.
   */
  skipError(): void {
    const { memory } = this.#owner;
    const cons = this.#owner.mmio.read32(this.#owner.base + REG.cmdqCons);
    const error = (cons >>> 24) & 0x7f;
    this.#warn(`CMDQ error (cons ${hex(cons)}): ${ERROR_TEXTS[error] ?? "Unknown"}`);
    if (error === CERROR.none || error === CERROR.abt || error === CERROR.atcInvSync) {
      return;
    }
    const slot = this.#slot(cons);
    const sync = cmdSync(SYNC_SIGNAL.sev);
    memory.store64(slot, sync[0] ?? 0, sync[1] ?? 0);
    memory.store64(slot + 8, sync[2] ?? 0, sync[3] ?? 0);
  }

  /** Whether so many entries are free; looks at the register when the own copy says no. */
  hasSpace(count: number): boolean {
    const size = 2 ** this.#log2Size;
    if (size - occupied(this.#prod, this.#cons, this.#log2Size) >= count) {
      return true;
    }
    this.#cons = this.#readCons();
    return size - occupied(this.#prod, this.#cons, this.#log2Size) >= count;
  }

  /** Whether the SYNC at a position is done. */
  isConsumed(position: number): boolean {
    if (this.#pollsMessages) {
      return this.#owner.memory.load32(this.#slot(position)) === 0;
    }
    // Of what is still waiting between consumer and end, the SYNC is no part any more.
    const behind = occupied(this.#prod, position, this.#log2Size);
    return occupied(this.#prod, this.#readCons(), this.#log2Size) < behind;
  }

  #sync(position: number): Words {
    return this.#pollsMessages ? cmdSync(SYNC_SIGNAL.irq, this.#slot(position)) : cmdSync(SYNC_SIGNAL.sev);
  }

  #fill(start: number, commands: readonly Words[]): void {
    const { memory, trace, name } = this.#owner;
    for (const [index, words] of commands.entries()) {
      const slot = this.#slot(advance(start, index, this.#log2Size));
      memory.store64(slot, words[0] ?? 0, words[1] ?? 0);
      memory.store64(slot + 8, words[2] ?? 0, words[3] ?? 0);
      if (trace.active) {
        const event = trace.emit("command:submit", {
          iommu: name,
          opcode: commandName(words),
          words: hexWords(words),
          text: describeCommand(words),
        });
        memory.noteWriter(slot, event, COMMAND_BYTES);
      }
    }
    this.#prod = advance(start, commands.length, this.#log2Size);
  }

  #publish(): void {
    this.#owned = false;
    this.#owner.mmio.write32(this.#owner.base + REG.cmdqProd, this.#prod);
  }

  #readCons(): number {
    return this.#owner.mmio.read32(this.#owner.base + REG.cmdqCons) & (2 ** (this.#log2Size + 1) - 1);
  }

  #slot(position: number): number {
    return this.#address + indexOf(position, this.#log2Size) * COMMAND_BYTES;
  }

  #warn(what: string): void {
    const { trace, name } = this.#owner;
    if (trace.active) {
      trace.emit("warn", { where: "arm_smmu_cmdq", what: `${name}: ${what}` });
    }
  }
}

const ERROR_TEXTS = ["No error", "Illegal command", "Abort on command fetch", "ATC invalidate timeout"];
