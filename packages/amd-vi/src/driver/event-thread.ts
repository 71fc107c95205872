import type { Engine, Mmio, PhysicalMemory } from "@iommu-lab/core";
import type { InterruptLine } from "../interrupt.ts";
import { EVENT_BYTES } from "../layout/event.ts";
import {
  CONTROL,
  EVENT_BASE,
  EVENT_HEAD,
  EVENT_TAIL,
  STATUS,
  STATUS_EVENT_INT,
  STATUS_EVENT_OVERFLOW,
  STATUS_EVENT_RUN,
  decodeBufferBase,
} from "../layout/registers.ts";

const EVENT_LOG_EN = 4;
const EVENT_INT_EN = 8;

/**
 * The thread that empties a unit's event log when it interrupts, and starts the log again after an overflow. The kernel
 * prints the events and does nothing else about them.
 *
 * Source: Linux 7.2 `amd_iommu_int_thread_evtlog()`, `iommu_poll_events()`, `amd_iommu_restart_log()`.
 */
export class EventThread implements Engine, InterruptLine {
  readonly name: string;
  readonly #base: number;
  readonly #memory: PhysicalMemory;
  readonly #mmio: Mmio;
  #pending = false;

  /** @param base physical address of the unit's registers */
  constructor(unitName: string, base: number, memory: PhysicalMemory, mmio: Mmio) {
    this.name = `${unitName} interrupt thread`;
    this.#base = base;
    this.#memory = memory;
    this.#mmio = mmio;
  }

  raise(): void {
    this.#pending = true;
  }

  ready(): boolean {
    return this.#pending;
  }

  step(): void {
    this.#pending = false;
    const mask = STATUS_EVENT_INT | STATUS_EVENT_OVERFLOW;
    let status = this.#read(STATUS);
    while ((status & mask) !== 0) {
      this.#write(STATUS, mask);
      this.#poll();
      if ((status & STATUS_EVENT_OVERFLOW) !== 0) {
        this.#restart();
      }
      status = this.#read(STATUS);
    }
  }

  deadline(): number {
    return Infinity;
  }

  #poll(): void {
    const { address, bytes } = decodeBufferBase(this.#read(EVENT_BASE), this.#read(EVENT_BASE + 4));
    const tail = this.#read(EVENT_TAIL);
    let head = this.#read(EVENT_HEAD);
    while (head !== tail) {
      // Erratum 732: an entry is cleared once it was read.
      this.#memory.zero(address + head, EVENT_BYTES);
      head = (head + EVENT_BYTES) % bytes;
      this.#write(EVENT_HEAD, head);
    }
  }

  #restart(): void {
    if ((this.#read(STATUS) & STATUS_EVENT_RUN) !== 0) {
      return;
    }
    const control = this.#read(CONTROL);
    this.#write(CONTROL, control & ~EVENT_LOG_EN);
    this.#write(CONTROL, control & ~(EVENT_LOG_EN | EVENT_INT_EN));
    this.#write(STATUS, STATUS_EVENT_OVERFLOW);
    this.#write(CONTROL, (control & ~EVENT_LOG_EN) | EVENT_INT_EN);
    this.#write(CONTROL, control | EVENT_LOG_EN | EVENT_INT_EN);
  }

  #write(offset: number, value: number): void {
    this.#mmio.write32(this.#base + offset, value >>> 0);
  }

  #read(offset: number): number {
    return this.#mmio.read32(this.#base + offset);
  }
}
