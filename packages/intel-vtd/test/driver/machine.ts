import type { Device, Platform, Plugin, TraceEvent } from "@iommu-lab/core";
import { Clock, PROT_READ, PROT_WRITE, Recorder, Trace, createPlatform, linux } from "@iommu-lab/core";
import type { VtdOptions } from "@iommu-lab/intel-vtd";
import type { DescriptorFilter } from "../../src/driver/invalidation-site.ts";
import { vtdFiltered } from "../../src/plugin.ts";
import type { Endpoint, EndpointOptions, TopologyDescription } from "@iommu-lab/pci";
import { FABRIC, NO_PASID, PCI_BUS, pci, pciTopology } from "@iommu-lab/pci";

export const RW: number = PROT_READ | PROT_WRITE;
export const NIC = 0x0100;

/** The recorded units. */
export const RECORDED_SCALABLE: VtdOptions = { cap: 0x81d2008c222f0606n, ecap: 0x0000880000f00f4en };
export const RECORDED_LEGACY: VtdOptions = { mode: "legacy", cap: 0x80d2008c222f0606n, ecap: 0x0000000000f00f4en };

/** A NIC with everything the driver asks for. */
export const nicConfig: EndpointOptions = {
  vendor: 0x1af4,
  device: 0x1041,
  class: 0x020000,
  flr: true,
  ats: { queueDepth: 32, pageAligned: true },
  pri: { capacity: 512, responsePasidRequired: true },
  pasid: { width: 20, exec: true, priv: true },
};

export function oneDevice(config: EndpointOptions = nicConfig): TopologyDescription {
  return pciTopology({ rootPorts: [{ rid: 0x0008, endpoint: { rid: NIC, config } }] });
}

export interface MachineOptions {
  readonly vtd?: VtdOptions;
  readonly topology?: TopologyDescription;
  /** Default `7.2`. */
  readonly version?: string;
  readonly cmdline?: string;
  readonly slots?: Readonly<Record<string, unknown>>;
  readonly boot?: boolean;
  /** What of each list of invalidations is sent. */
  readonly filter?: DescriptorFilter;
  /** No recorder: events are not built. */
  readonly quiet?: boolean;
  /** Besides pci and VT-d. */
  readonly plugins?: readonly Plugin[];
}

/** A booted machine with one NIC, and what its trace tells. */
export class Machine {
  readonly platform: Platform;
  readonly recorder: Recorder;
  #seen = 0;

  constructor(options: MachineOptions = {}) {
    this.platform = createPlatform({
      kernel: linux(options.version ?? "7.2", { cmdline: options.cmdline ?? "", slots: options.slots ?? {} }),
      plugins: [
        pci(options.topology ?? oneDevice()),
        ...(options.plugins ?? []),
        vtdFiltered(options.vtd ?? {}, options.filter),
      ],
    });
    this.recorder = new Recorder(options.quiet === true ? new Trace(new Clock()) : this.platform.trace);
    if (options.boot ?? true) {
      this.platform.boot();
    }
  }

  get device(): Device {
    return this.deviceAt(NIC);
  }

  deviceAt(rid: number): Device {
    const device = this.platform.host.get(PCI_BUS).deviceAt(rid);
    if (device === undefined) {
      throw new Error("the kernel does not know the function");
    }
    return device;
  }

  get endpoint(): Endpoint {
    return this.platform.host.get(FABRIC).endpoint(NIC);
  }

  get believes(): boolean {
    return this.device.iommu?.driver.believesAtsEnabled(this.device) ?? false;
  }

  get events(): readonly TraceEvent[] {
    return this.recorder.events;
  }

  /** The events since the last call. */
  take(): readonly TraceEvent[] {
    const events = this.recorder.events.filter(({ id }) => id > this.#seen);
    this.#seen = events.at(-1)?.id ?? this.#seen;
    return events;
  }

  /** What the driver did since the last call, one line each: table entries, descriptors, Enable bits. */
  acts(): string[] {
    return this.take().flatMap(act);
  }

  storeType(type: string): void {
    const { group } = this.device;
    if (group === undefined) {
      throw new Error("no group");
    }
    this.platform.run(this.platform.iommu.storeType(group, type));
  }

  /** What an Untranslated write to a page gives. */
  write(page: number, pasid: number = NO_PASID): string {
    return this.endpoint.untranslatedWrite(page, 0, 0x600d, pasid).status;
  }
}

/** Domain IDs and pointers are numbers of the machine: they are left out. */
function act(event: TraceEvent): string[] {
  if (event.type === "table:write") {
    return [`${event.kind} ${event.after.map((word, index) => mask(event.kind, index, word)).join(" ")}`];
  }
  if (event.type === "command:submit") {
    return [event.opcode === "inv_wait" ? "wait" : `${event.opcode} ${descriptor(event.opcode, event.words)}`];
  }
  return event.type === "capability:enable" ? [`${event.capability} ${event.enabled ? "on" : "off"}`] : [];
}

/** Without pointers and domain IDs, and without trailing zeros. */
function mask(kind: string, index: number, word: string): string {
  let value = BigInt(word);
  if (kind === "vtd-pasid" && index === 1) {
    value &= ~0xffffn;
  } else if (kind === "vtd-context" && index === 1) {
    value &= ~0xffff00n;
  } else {
    value &= 0xfffn;
  }
  return `0x${value.toString(16)}`;
}

function descriptor(opcode: string, [low = "", high = ""]: readonly string[]): string {
  const device = opcode === "p_dev_tlb_inv" || opcode === "dev_tlb_inv";
  const value = BigInt(low) & (device ? ~0n : ~0xffff0000n);
  return `0x${value.toString(16)} 0x${BigInt(high).toString(16)}`;
}
