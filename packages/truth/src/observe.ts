import type { Trace, TraceEvent } from "@iommu-lab/core";
import type { AttachCommands, Opcode } from "./commands.ts";
import { opcodeOf } from "./commands.ts";
import type { LifecycleEvent, LifecycleKind } from "./lifecycle.ts";
import { attachText } from "./lifecycle.ts";
import { driverNamed } from "./plan.ts";
import type { Recording } from "./recording.ts";
import type { TableKind } from "./table-text.ts";
import { tableText } from "./table-text.ts";

/** The model's structures and how recordings name them. */
const STRUCTURES: ReadonlyMap<string, TableKind> = new Map([
  ["ste", "ste"],
  ["cd", "cd0"],
  ["vtd-context", "context"],
  ["vtd-pasid", "pasid0"],
  ["dte", "dte"],
]);

/** What the model did during a phase. */
export interface Observed {
  readonly events: readonly LifecycleEvent[];
  readonly commands: readonly AttachCommands[];
}

/**
 * Listens to a model's trace and keeps what a recording would show: the order of attaches, enables and table changes,
 * and the commands during each attach.
 */
export class Observer {
  readonly #vendor: Recording["vendor"];
  readonly #nameOf: (rid: number) => string;
  readonly #stop: () => void;
  #events: LifecycleEvent[] = [];
  #commands: { device: string; opcodes: Opcode[] }[] = [];
  /** Capabilities that were switched on, as `device capability`. */
  readonly #enabled = new Set<string>();
  /** The device whose attach runs. */
  #attaching: string | undefined;
  #releasing = false;

  /** @param nameOf the address of the device with a requester ID */
  constructor(trace: Trace, vendor: Recording["vendor"], nameOf: (rid: number) => string) {
    this.#vendor = vendor;
    this.#nameOf = nameOf;
    this.#stop = trace.subscribe((event) => this.#see(event));
  }

  /** What was seen since the last call. */
  take(): Observed {
    const seen = { events: this.#events, commands: this.#commands };
    this.#events = [];
    this.#commands = [];
    return seen;
  }

  /** Stops listening. */
  stop(): void {
    this.#stop();
  }

  #add(device: string, kind: LifecycleKind, text: string): void {
    this.#events.push({ device, kind, text });
  }

  #see(event: TraceEvent): void {
    const { type } = event;
    if (type === "domain:attach") {
      this.#attach(event);
    } else if (type === "domain:attached") {
      this.#attached(event);
    } else if (type === "capability:enable") {
      this.#capability(event);
    } else if (type === "reset:prepare" || type === "reset:done") {
      this.#add(event.device, "reset", type.replace(":", " "));
    } else if (type === "driver:bind" || type === "driver:unbind") {
      this.#driver(event);
    } else if (type === "table:write") {
      this.#table(event);
    } else if (type === "command:submit") {
      this.#command(event.words);
    }
  }

  /** A release attaches too; recordings show it as the core's call that makes it. */
  #attach({ device, domainType, old, via }: Extract<TraceEvent, { type: "domain:attach" }>): void {
    this.#attaching = device;
    this.#releasing = via === "release";
    this.#commands.push({ device, opcodes: [] });
    if (this.#releasing) {
      this.#add(device, "release", "release");
    } else {
      this.#add(device, "attach", attachText(domainType, old.replace(/#.*$/u, "")));
    }
  }

  #attached({ device, result }: Extract<TraceEvent, { type: "domain:attached" }>): void {
    this.#attaching = undefined;
    if (!this.#releasing) {
      this.#add(device, "attached", `attached: ${result}`);
    }
  }

  /** Recordings show the claim of the default domain, which drivers that manage DMA themselves do without. */
  #driver(event: Extract<TraceEvent, { type: "driver:bind" | "driver:unbind" }>): void {
    if (driverNamed(event.driver).managesDma) {
      return;
    }
    if (event.type === "driver:bind") {
      this.#add(event.device, "bind", `bind: ${event.result}`);
    } else {
      this.#add(event.device, "unbind", "unbind");
    }
  }

  /** Enabling what software believes to be on already is how state comes back after a reset. */
  #capability({ device, capability, enabled }: Extract<TraceEvent, { type: "capability:enable" }>): void {
    const key = `${device} ${capability}`;
    const name = capability.toUpperCase();
    if (enabled && this.#enabled.has(key)) {
      this.#add(device, `${capability}-restore`, `${name} restored`);
    } else if (enabled) {
      this.#enabled.add(key);
      this.#add(device, `${capability}-on`, `${name} on`);
    } else {
      this.#enabled.delete(key);
      this.#add(device, `${capability}-off`, `${name} off`);
    }
  }

  /** As in recordings, changes count inside an attach, and of entries with a PASID number 0 alone. */
  #table(event: Extract<TraceEvent, { type: "table:write" }>): void {
    const kind = STRUCTURES.get(event.kind);
    if (this.#attaching !== undefined && kind !== undefined && (event.pasid ?? 0) <= 0) {
      this.#add(this.#nameOf(event.rid), kind, tableText(kind, event.after.map(BigInt)));
    }
  }

  #command(words: readonly string[]): void {
    if (this.#attaching !== undefined) {
      this.#commands.at(-1)?.opcodes.push(opcodeOf(this.#vendor, BigInt(words[0] ?? "0x0")));
    }
  }
}
