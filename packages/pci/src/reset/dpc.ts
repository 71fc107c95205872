import type { Clock, Digest, Engine, Trace } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import { EXT_CAP_ID_DPC } from "../config-space/extended-layouts.ts";
import type { Rid } from "../fabric/request.ts";
import type { PortLink } from "./port-link.ts";

const CONTROL = 6;
const TRIGGER_FATAL = 1;
const TRIGGER_NON_FATAL = 2;
const INTERRUPT_ENABLE = 8;
const ERR_COR_ENABLE = 0x10;
const SOFTWARE_TRIGGER = 0x40;
const STATUS = 8;
const TRIGGERED = 1;
const INTERRUPT_STATUS = 8;
const RP_BUSY = 0x10;
const SOURCE_ID = 0xa;
const IDLE_ERROR_POINTER = 0x1f00;

/** What triggers containment. `uncorrectable`: the port itself found an error that it does not mask. */
export type DpcTrigger = "uncorrectable" | "non-fatal-message" | "fatal-message" | "software";

/** How the port tells about it; `none` when neither its interrupt nor ERR_COR is enabled. ERR_COR is how firmware hears (EDR). */
export type DpcNotification = "interrupt" | "err-cor" | "none";

/** Told after containment was triggered. */
export type DpcListener = (notification: DpcNotification, trigger: DpcTrigger) => void;

/** Trigger Reason, and its extension, as the status register says them. Source: PCIe 6.0 §7.9.14.4. */
const REASONS: Readonly<Record<DpcTrigger, number>> = {
  uncorrectable: 0,
  "non-fatal-message": 1 << 1,
  "fatal-message": 2 << 1,
  software: (3 << 1) | (1 << 5),
};

/**
 * Downstream Port Containment: at an error the port takes its link down by itself and says so afterwards, if at all.
 * The link trains when software clears DPC Trigger Status.
 *
 * Source: PCIe 6.0 §6.2.11, §7.9.14; what a function below sees is unconfirmed: that of a hot reset.
 */
export class Dpc implements Engine {
  readonly name: string;
  readonly #link: PortLink;
  readonly #config: ConfigSpace;
  readonly #at: number;
  readonly #busyNs: number;
  readonly #clock: Clock;
  readonly #trace: Trace;
  #listeners: readonly DpcListener[] = [];
  /** Virtual time at which the root port is idle again. */
  #idleAt = Infinity;

  constructor(link: PortLink, busyNs: number, clock: Clock, trace: Trace) {
    this.name = `${link.port.name} DPC`;
    this.#link = link;
    this.#config = link.port.config;
    this.#at = this.#config.findExtendedCapability(EXT_CAP_ID_DPC);
    this.#busyNs = busyNs;
    this.#clock = clock;
    this.#trace = trace;
    this.#config.onWrite((offset, size, before, after, started) => {
      this.#written(offset, size, before, after, started);
    });
  }

  /** Whether the port has the capability. */
  get present(): boolean {
    return this.#at !== 0;
  }

  /** DPC Trigger Status. */
  get triggered(): boolean {
    return this.present && (this.#config.read16(this.#at + STATUS) & TRIGGERED) !== 0;
  }

  /** Calls `listener` after every trigger; the result stops it. */
  onTrigger(listener: DpcListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /**
   * An error message arrives from below, or the port finds an error.
   *
   * @param source requester ID in the message; the port's own otherwise
   * @returns whether it triggered containment
   */
  report(trigger: Exclude<DpcTrigger, "software">, source: Rid = this.#link.port.rid): boolean {
    const enable = this.present ? this.#config.read16(this.#at + CONTROL) & (TRIGGER_FATAL | TRIGGER_NON_FATAL) : 0;
    const wanted = trigger === "non-fatal-message" ? enable === TRIGGER_NON_FATAL : enable !== 0;
    return wanted && this.#trigger(trigger, source);
  }

  ready(): boolean {
    return this.#clock.now >= this.#idleAt;
  }

  step(): void {
    if (this.ready()) {
      this.#idleAt = Infinity;
      this.#setStatus(RP_BUSY, false);
    }
  }

  deadline(): number {
    return this.#idleAt;
  }

  /** Writes until when the root port is busy. */
  digest(into: Digest): void {
    into.number(this.#idleAt);
  }

  /** Once triggered, further errors change nothing. */
  #trigger(trigger: DpcTrigger, source: Rid): boolean {
    if (this.triggered || !this.present) {
      return false;
    }
    const control = this.#config.read16(this.#at + CONTROL);
    const notification: DpcNotification =
      (control & INTERRUPT_ENABLE) !== 0 ? "interrupt" : (control & ERR_COR_ENABLE) === 0 ? "none" : "err-cor";
    const interrupt = notification === "interrupt" ? INTERRUPT_STATUS : 0;
    const busy = this.#busyNs > 0 ? RP_BUSY : 0;
    this.#config.poke16(this.#at + STATUS, TRIGGERED | REASONS[trigger] | interrupt | busy | IDLE_ERROR_POINTER);
    if (trigger === "non-fatal-message" || trigger === "fatal-message") {
      this.#config.poke16(this.#at + SOURCE_ID, source);
    }
    this.#idleAt = busy === 0 ? Infinity : this.#clock.now + this.#busyNs;
    if (this.#trace.active) {
      this.#trace.emit("reset:dpc", { port: this.#link.port.name, phase: "trigger", reason: trigger, notification });
    }
    this.#link.hold("dpc");
    for (const listener of this.#listeners) {
      listener(notification, trigger);
    }
    return true;
  }

  #written(offset: number, size: number, before: number, after: number, started: number): void {
    if (!this.present) {
      return;
    }
    const control = this.#at + CONTROL - offset;
    if (control >= 0 && control < size && ((started >>> (8 * control)) & SOFTWARE_TRIGGER) !== 0) {
      this.#trigger("software", this.#link.port.rid);
    }
    const status = this.#at + STATUS - offset;
    if (status >= 0 && status < size) {
      const was = (before >>> (8 * status)) & TRIGGERED;
      const is = (after >>> (8 * status)) & TRIGGERED;
      if (was !== 0 && is === 0) {
        this.#released();
      }
    }
  }

  #released(): void {
    if (this.#trace.active) {
      const reason = "status cleared";
      this.#trace.emit("reset:dpc", { port: this.#link.port.name, phase: "clear", reason, notification: "none" });
    }
    this.#link.release("dpc");
  }

  #setStatus(mask: number, on: boolean): void {
    const status = this.#config.read16(this.#at + STATUS);
    this.#config.poke16(this.#at + STATUS, on ? status | mask : status & ~mask);
  }
}
