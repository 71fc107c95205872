import { type Digest, type Digestible, type PhysicalMemory, getBits } from "@iommu-lab/core";
import type { InterruptLine } from "../interrupt.ts";
import { WAIT_INTERRUPT, WAIT_STORE } from "../layout/command.ts";
import { CONTROL_BIT } from "../layout/registers.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceIotlbs } from "./device-iotlbs.ts";

/** COMPLETION_WAITs that may be overtaken at a time; the next one holds the buffer up. */
const MOST = 32;

/** A COMPLETION_WAIT that later commands have overtaken. */
export interface PendingWait {
  readonly words: Uint32Array;
  /** Physical address of its command. */
  readonly command: number;
  /** Trace event of the command's submission. */
  readonly submit: number;
  /** Device invalidations that were started before it. */
  readonly after: number;
}

/** What ending a COMPLETION_WAIT needs. */
export interface WaitPorts {
  readonly memory: PhysicalMemory;
  readonly control: ControlRegister;
  readonly interrupt: InterruptLine;
  readonly devices: DeviceIotlbs;
  /** A COMPLETION_WAIT behind an invalidation that timed out never completes. */
  readonly neverAfterTimeout: boolean;
}

/**
 * COMPLETION_WAIT: it completes, by a store or by ComWaitInt, when everything before it has ended. Without F later commands
 * do not wait for it.
 *
 * Source: AMD IOMMU specification §2.4.1.
 */
export class CompletionWaits implements Digestible {
  readonly #ports: WaitPorts;
  readonly #pending: PendingWait[] = [];
  #interrupt = false;
  /** The first device invalidation that timed out, while that matters. */
  #lost = Infinity;

  constructor(ports: WaitPorts) {
    this.#ports = ports;
  }

  /** ComWaitInt. */
  get interrupt(): boolean {
    return this.#interrupt;
  }

  /** Software writes a one to ComWaitInt. */
  acknowledge(): void {
    this.#interrupt = false;
  }

  /** Everything before a wait that would be executed now has ended. */
  get clear(): boolean {
    return this.#pending.length === 0 && this.#ended(this.#ports.devices.started);
  }

  /** Another wait can be overtaken. */
  get hasRoom(): boolean {
    return this.#pending.length < MOST;
  }

  /** Later commands overtake a wait. */
  postpone(words: ArrayLike<number>, command: number, submit: number): void {
    this.#pending.push({ words: Uint32Array.from(words), command, submit, after: this.#ports.devices.started });
  }

  /** The oldest wait that was overtaken can complete. */
  get due(): boolean {
    const [first] = this.#pending;
    return first !== undefined && this.#ended(first.after);
  }

  /** Takes the oldest one. */
  take(): PendingWait | undefined {
    return this.#pending.shift();
  }

  /** A device invalidation timed out. */
  noteTimeout(): void {
    if (this.#ports.neverAfterTimeout) {
      this.#lost = Math.min(this.#lost, this.#ports.devices.started - 1);
    }
  }

  /** The buffer was started again: what was overtaken is forgotten. */
  reset(): void {
    this.#pending.length = 0;
    this.#lost = Infinity;
  }

  /** Ends a wait. @returns false when its store found no memory */
  complete(words: ArrayLike<number>): boolean {
    const { memory, control, interrupt } = this.#ports;
    const flags = words[0] ?? 0;
    if ((flags & WAIT_STORE) !== 0) {
      const target = getBits(words, 51, 3) * 8;
      if (!memory.exists(target)) {
        return false;
      }
      memory.store64(target, words[2] ?? 0, words[3] ?? 0);
    }
    if ((flags & WAIT_INTERRUPT) !== 0) {
      this.#interrupt = true;
      if (control.has(CONTROL_BIT.ComWaitIntEn)) {
        interrupt.raise();
      }
    }
    return true;
  }

  digest(into: Digest): void {
    into.number(this.#interrupt ? 1 : 0);
    into.number(this.#lost);
    for (const { words, after } of this.#pending) {
      into.number(this.#ports.devices.started - after);
      for (const word of words) {
        into.number(word);
      }
    }
  }

  #ended(count: number): boolean {
    return this.#lost >= count && this.#ports.devices.ended(count);
  }
}
