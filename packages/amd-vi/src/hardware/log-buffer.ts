import type { Digest, Digestible, PhysicalMemory, Words } from "@iommu-lab/core";
import type { InterruptLine } from "../interrupt.ts";
import { decodeBufferBase } from "../layout/registers.ts";

/** Bytes of an entry of either log. */
const ENTRY_BYTES = 16;
/** Head and tail registers: bits 18:4. */
const POINTER_MASK = 0x7fff0;

/** Where a log is connected. */
export interface LogPorts {
  readonly memory: PhysicalMemory;
  readonly interrupt: InterruptLine;
  /** Its enable bit and IommuEn are set. */
  enabled(): boolean;
  /** Its interrupt enable bit is set. */
  interruptEnabled(): boolean;
  /** Sees every entry while the unit is enabled, whether there is room for it or not. */
  observe?(words: Words): void;
}

/**
 * A log in memory that the unit fills and software empties: the event log or the PPR log. One slot always stays free; an
 * entry that finds no room stops the log until software clears the overflow and enables it again.
 *
 * Source: AMD IOMMU specification §2.5.1, §2.6.1.
 */
export class LogBuffer implements Digestible {
  readonly #ports: LogPorts;
  #baseLo = 0;
  #baseHi = 0;
  #head = 0;
  #tail = 0;
  #overflow = false;
  #interrupt = false;
  #halted = false;

  constructor(ports: LogPorts) {
    this.#ports = ports;
  }

  /** Base register as halves. */
  get base(): readonly [lo: number, hi: number] {
    return [this.#baseLo, this.#baseHi];
  }

  /** Writes the base register; ignored while it runs. Head and tail become 0. */
  writeBase(lo: number, hi: number): void {
    if (!this.running) {
      this.#baseLo = lo;
      this.#baseHi = hi;
      this.#head = 0;
      this.#tail = 0;
    }
  }

  /** Head: what software has taken. */
  get head(): number {
    return this.#head;
  }

  /** Writes the head. */
  writeHead(value: number): void {
    this.#head = value & POINTER_MASK;
  }

  /** Tail: where the next entry goes. */
  get tail(): number {
    return this.#tail;
  }

  /** Writes the tail; ignored while it runs. */
  writeTail(value: number): void {
    if (!this.running) {
      this.#tail = value & POINTER_MASK;
    }
  }

  /** EventLogRun, PPRLogRun. */
  get running(): boolean {
    return this.#ports.enabled() && !this.#halted;
  }

  /** EventOverflow, PPROverflow. */
  get overflow(): boolean {
    return this.#overflow;
  }

  /** EventLogInt, PPRInt. */
  get interrupt(): boolean {
    return this.#interrupt;
  }

  /** Software writes ones to the Status register. */
  acknowledge(overflow: boolean, interrupt: boolean): void {
    this.#overflow &&= !overflow;
    this.#interrupt &&= !interrupt;
  }

  /** Its enable bit went from 0 to 1. */
  restart(): void {
    this.#halted = this.#overflow;
  }

  /** Writes an entry. @returns whether software can read it */
  append(words: Words): boolean {
    this.#ports.observe?.(words);
    if (!this.running) {
      return false;
    }
    const { address, bytes } = decodeBufferBase(this.#baseLo, this.#baseHi);
    const next = (this.#tail + ENTRY_BYTES) % bytes;
    if (next === this.#head) {
      this.#overflow = true;
      this.#halted = true;
      this.#signal();
      return false;
    }
    const { memory } = this.#ports;
    memory.store64(address + this.#tail, words[0] ?? 0, words[1] ?? 0);
    memory.store64(address + this.#tail + 8, words[2] ?? 0, words[3] ?? 0);
    this.#tail = next;
    this.#signal();
    return true;
  }

  digest(into: Digest): void {
    for (const value of [this.#baseLo, this.#baseHi, this.#head, this.#tail]) {
      into.number(value);
    }
    into.number((this.#overflow ? 1 : 0) | (this.#interrupt ? 2 : 0) | (this.#halted ? 4 : 0));
  }

  #signal(): void {
    if (this.#ports.interruptEnabled()) {
      this.#interrupt = true;
      this.#ports.interrupt.raise();
    }
  }
}
