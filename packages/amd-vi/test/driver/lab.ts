import type { AmdViOptions } from "@iommu-lab/amd-vi";
import { DTE_BYTES, decodeDte } from "@iommu-lab/amd-vi";
import type { Device, Domain, Group, KernelOptions, Op, Platform, Plugin, TraceEvent } from "@iommu-lab/core";
import { Clock, PROT_READ, PROT_WRITE, Process, Recorder, Trace, createPlatform, linux, x86_64 } from "@iommu-lab/core";
import type { Endpoint, PciBus, TopologyDescription } from "@iommu-lab/pci";
import { FABRIC, PCI_BUS, endpointConfig, pci, pciTopology } from "@iommu-lab/pci";
import type { CommandFilter } from "../../src/driver/invalidation-site.ts";
import { amdviFiltered } from "../../src/plugin.ts";

export const BASE = 0xfd200000;
export const RW: number = PROT_READ | PROT_WRITE;
export const NIC = 0x0100;
export const PLAIN = 0x0200;
export const BARE = 0x0300;
/** Page numbers in user domains and processes. */
export const USER_PAGE = 0x12345;

/** How a machine differs from the usual one. */
export interface LabOptions extends AmdViOptions {
  readonly kernel?: KernelOptions;
  /** Default `7.2`. */
  readonly version?: string;
  /** Which invalidations are queued. */
  readonly filter?: CommandFilter;
  /** No recorder: events are not built. */
  readonly quiet?: boolean;
  /** Instead of the usual machine. */
  readonly topology?: TopologyDescription;
  /** Besides pci and AMD-Vi. */
  readonly plugins?: readonly Plugin[];
}

/**
 * A machine with three functions, each below a root port of its own: one with ATS, PRI and PASID, one with ATS alone, one
 * with none.
 */
export class Lab {
  readonly platform: Platform;
  readonly recorder: Recorder;
  readonly bus: PciBus;

  constructor(options: LabOptions = {}) {
    const common = { vendor: 0x1af4, class: 0x020000, flr: true };
    const ats = { queueDepth: 32, pageAligned: true };
    const pasid = { width: 20, exec: true, priv: true };
    const config = [
      { ...common, device: 0x1041, ats, pri: { capacity: 512, pasidRequired: true }, pasid },
      { ...common, device: 0x1042, ats },
      { ...common, device: 0x1043 },
    ].map((one) => endpointConfig(one));
    const topology = pciTopology({
      rootPorts: config.map((bytes, index) => ({
        bdf: `00:0${index + 2}.0`,
        endpoint: { rid: (index + 1) << 8, config: bytes },
      })),
    });
    const { kernel, version = "7.2", filter, quiet = false, topology: other, plugins = [], ...unit } = options;
    this.platform = createPlatform({
      kernel: linux(version, kernel),
      plugins: [pci(other ?? topology), ...plugins, amdviFiltered([unit], filter)],
    });
    this.recorder = new Recorder(quiet ? new Trace(new Clock()) : this.platform.trace);
    this.bus = this.platform.host.get(PCI_BUS);
  }

  /** Boots. @returns this */
  boot(): this {
    this.platform.boot();
    return this;
  }

  run<T>(op: Op<T>): T {
    return this.platform.run(op);
  }

  device(rid: number): Device {
    const found = this.bus.deviceAt(rid);
    if (found === undefined) {
      throw new Error(`no device ${rid}`);
    }
    return found;
  }

  group(rid: number): Group {
    const { group } = this.device(rid);
    if (group === undefined) {
      throw new Error(`no group of ${rid}`);
    }
    return group;
  }

  endpoint(rid: number): Endpoint {
    return this.platform.host.get(FABRIC).endpoint(rid);
  }

  /** The quadwords of a DTE, read where the register points. */
  dte(rid: number): string[] {
    const table = this.platform.mmio.read32(BASE) - (this.platform.mmio.read32(BASE) % 4096);
    return [0, 8, 16, 24].map((offset) => {
      const { memory } = this.platform;
      memory.load64(table + rid * DTE_BYTES + offset);
      const value = (BigInt(memory.hi) << 32n) | BigInt(memory.lo);
      return `0x${value.toString(16).padStart(16, "0")}`;
    });
  }

  /** The DTE, decoded. */
  entry(rid: number): ReturnType<typeof decodeDte> {
    const words = this.dte(rid).flatMap((text) => {
      const value = BigInt(text);
      return [Number(value & 0xffffffffn), Number(value >> 32n)];
    });
    return decodeDte(words);
  }

  /** A buffer of one page. @returns its page number */
  buffer(): number {
    return this.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
  }

  /** A process with one page at {@link USER_PAGE}. */
  process(target: number): Process {
    const process = new Process(this.platform.memory, x86_64, "process");
    process.table.map(USER_PAGE, target, 1, RW);
    return process;
  }

  /** A paging domain with one page at {@link USER_PAGE}. */
  paging(rid: number, target: number, pasid = false): Domain {
    const domain = this.platform.iommu.allocPaging(this.device(rid), { pasid });
    if (domain.map === undefined) {
      throw new Error("no paging domain");
    }
    this.run(domain.map(USER_PAGE, target, 1, RW));
    return domain;
  }

  /** The core's own attach. */
  attach(rid: number, domain: Domain | undefined): void {
    if (domain === undefined) {
      throw new Error("no domain");
    }
    this.run(this.platform.iommu.setGroupDomain(this.group(rid), domain));
  }

  /** What happens while `body` runs: enables, DTE words, GCR3 entries and commands, in order and in short. */
  watch(body: () => void): string[] {
    const start = this.platform.trace.nextId;
    body();
    return this.recorder.events.filter(({ id }) => id >= start).flatMap((event) => shorten(event));
  }

  traced<K extends TraceEvent["type"]>(type: K): Extract<TraceEvent, { type: K }>[] {
    return this.recorder.events.filter((event) => event.type === type) as Extract<TraceEvent, { type: K }>[];
  }
}

/** One event as a line; COMPLETION_WAIT is `wait`. */
function shorten(event: TraceEvent): string[] {
  if (event.type === "capability:enable") {
    return [`${event.capability}${event.enabled ? "+" : "-"}`];
  }
  if (event.type === "table:write") {
    const name = `${event.kind}${event.kind === "gcr3" ? `[${event.pasid}]` : ""}`;
    return [`${name} ${event.after.slice(0, 2).map(trim).join(" ")}`];
  }
  if (event.type === "command:submit") {
    return [event.opcode === "COMPLETION_WAIT" ? "wait" : event.words.map(trim).join(" ")];
  }
  return event.type === "warn" ? [`WARN ${event.where}`] : [];
}

function trim(word: string): string {
  return `0x${BigInt(word).toString(16)}`;
}
