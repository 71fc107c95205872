import type { Clock, Digest, Engine, Trace } from "@iommu-lab/core";
import type { Endpoint } from "../endpoint/endpoint.ts";
import type { Port } from "../fabric/port.ts";
import { PortRegisters } from "./port-registers.ts";
import type { ResetKind, ResetTimes } from "./reset-kind.ts";

/**
 * What keeps the link below a port down. `above`: a reset higher up reached this port too. `removed`: nothing is plugged
 * in any more.
 */
export type LinkHold = "secondary-bus" | "link-disable" | "slot-power" | "dpc" | "above" | "removed";

/** Where a link is: functions below answer when it is `up`. */
export type LinkState = "up" | "training" | "down";

/** What is right below a port, asked anew each time: functions come and go. */
export interface BelowPort {
  /** Endpoint functions on the port's link, virtual ones too. */
  readonly endpoints: () => readonly Endpoint[];
  /** Links of the ports whose upper side this port is. */
  readonly links: () => readonly PortLink[];
}

/**
 * The link below a port, or the inner bus below a switch's upstream port: what its registers do to everything below.
 * As long as anything holds the link, all below is in reset and answers nothing; then it trains, and then functions
 * answer with Request Retry Status until they are ready.
 *
 * Source: PCIe 6.0 §6.6.1, §7.5.1.3.13, §7.5.3.7.
 */
export class PortLink implements Engine {
  readonly name: string;
  /** The port whose lower side this is. */
  readonly port: Port;
  /** The port's registers that concern the link. */
  readonly registers: PortRegisters;
  readonly #below: BelowPort;
  readonly #times: ResetTimes;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #holds = new Set<LinkHold>();
  #state: LinkState = "up";
  /** Virtual time at which training ends. */
  #upAt = Infinity;

  constructor(port: Port, below: BelowPort, times: ResetTimes, clock: Clock, trace: Trace) {
    this.name = `${port.name} link`;
    this.port = port;
    this.registers = new PortRegisters(port.config);
    this.#below = below;
    this.#times = times;
    this.#clock = clock;
    this.#trace = trace;
    port.config.onWrite((offset, size, before, after) => {
      this.#written(offset, size, before, after);
    });
  }

  /** Where the link is. */
  get state(): LinkState {
    return this.#state;
  }

  /** What keeps it down, in the order in which it came. */
  get holds(): readonly LinkHold[] {
    return [...this.#holds];
  }

  /** Takes the link down, or keeps it down for one more reason. */
  hold(reason: LinkHold): void {
    this.#holds.add(reason);
    this.#goDown(reason);
    this.#resetBelow(kindOf(reason));
  }

  /** One reason less; after the last one the link trains. */
  release(reason: LinkHold): void {
    if (!this.#holds.delete(reason) || this.#holds.size > 0) {
      return;
    }
    this.#state = "training";
    this.#upAt = this.#clock.now + (this.port.kind === "upstream" ? 0 : this.#times.trainNs);
    this.registers.setTraining(true);
    this.#tell(reason);
    if (this.port.kind === "upstream") {
      this.#comeUp();
    }
  }

  /** What is below is pulled out: no reset, it is gone. */
  surpriseDown(): void {
    for (const endpoint of this.#below.endpoints()) {
      endpoint.unplug();
    }
    this.hold("removed");
    this.registers.setPresence(false);
  }

  ready(): boolean {
    return this.#clock.now >= this.#upAt;
  }

  step(): void {
    if (this.ready()) {
      this.#comeUp();
    }
  }

  deadline(): number {
    return this.#upAt;
  }

  /** Writes where the link is and what holds it. */
  digest(into: Digest): void {
    into.text(this.#state);
    into.number(this.#upAt);
    for (const reason of this.#holds) {
      into.text(reason);
    }
  }

  #goDown(reason: string): void {
    this.#state = "down";
    this.#upAt = Infinity;
    this.registers.setActive(false);
    this.registers.setTraining(false);
    this.#tell(reason);
  }

  #comeUp(): void {
    this.#upAt = Infinity;
    this.#state = "up";
    this.registers.setTraining(false);
    this.registers.setActive(true);
    this.#tell("trained");
    for (const endpoint of this.#below.endpoints()) {
      endpoint.resetEnd(this.#times.readyNs);
    }
    for (const link of this.#below.links()) {
      link.port.resetEnd();
      link.release("above");
    }
  }

  #resetBelow(kind: ResetKind): void {
    for (const endpoint of this.#below.endpoints()) {
      endpoint.resetBegin(kind);
    }
    for (const link of this.#below.links()) {
      link.#resetFromAbove(kind);
    }
  }

  /** The port itself is reset: what its registers said of its own link is gone, except containment, which is sticky. */
  #resetFromAbove(kind: ResetKind): void {
    this.port.resetBegin(kind);
    for (const reason of this.#holds) {
      if (reason !== "removed" && !(reason === "dpc" && this.registers.dpcTriggered)) {
        this.#holds.delete(reason);
      }
    }
    this.#holds.add("above");
    this.#goDown("above");
    this.#resetBelow(kind);
  }

  #written(offset: number, size: number, before: number, after: number): void {
    const { registers } = this;
    const secondaryBus = registers.secondaryBusReset(offset, size, before, after);
    if (secondaryBus > 0 && registers.resetMasked) {
      this.#tell("secondary bus reset masked");
    } else if (secondaryBus !== 0) {
      this.#change("secondary-bus", secondaryBus);
    }
    const disabled = registers.linkDisable(offset, size, before, after);
    if (disabled > 0 && registers.linkDisableMasked) {
      this.#tell("link disable masked");
    } else if (disabled !== 0) {
      this.#change("link-disable", disabled);
    }
    const power = registers.slotPowerOff(offset, size, before, after);
    if (power !== 0) {
      this.#change("slot-power", power);
    }
  }

  #change(reason: LinkHold, direction: number): void {
    if (direction > 0) {
      this.hold(reason);
    } else {
      this.release(reason);
    }
  }

  #tell(reason: string): void {
    if (this.#trace.active) {
      this.#trace.emit("reset:link", { port: this.port.name, state: this.#state, reason });
    }
  }
}

function kindOf(reason: LinkHold): ResetKind {
  switch (reason) {
    case "above":
      return "conventional";
    case "removed":
      return "power-off";
    default:
      return reason;
  }
}
