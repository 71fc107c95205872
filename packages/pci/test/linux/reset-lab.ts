import type { Recorder, TraceEvent } from "@iommu-lab/core";
import { type Platform, createPlatform, linux } from "@iommu-lab/core";
import {
  type EndpointOptions,
  type LinkSpec,
  PCI_BUS,
  type PciBus,
  type PciFacts,
  type PortOptions,
  type Rid,
  TOPOLOGY,
  type TopologyDescription,
  pci,
  pciDev,
  pciTopology,
  rootPortConfig,
} from "@iommu-lab/pci";
import type { Device, Op } from "@iommu-lab/core";
import { KernelError, Recorder as TraceRecorder } from "@iommu-lab/core";
import { FakeDriver, nic } from "../support.ts";

/** A card below a root port whose registers can be chosen. */
export function card(
  endpoint: Partial<EndpointOptions> = {},
  port: Partial<PortOptions> = {},
  link: LinkSpec = {},
): TopologyDescription {
  return pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        config: rootPortConfig({ secondary: 1, subordinate: 1, ...port }),
        endpoint: { bdf: "01:00.0", config: { ...nic, ...endpoint } },
        ...link,
      },
    ],
  });
}

/** A machine of any kernel version, booted, with a driver that turns ATS on. */
export class KernelLab {
  readonly driver = new FakeDriver();
  readonly platform: Platform;
  readonly bus: PciBus;

  constructor(version: string, topology: TopologyDescription, facts: PciFacts = {}) {
    this.platform = createPlatform({ kernel: linux(version), plugins: [pci(topology, facts), this.driver.plugin()] });
    this.bus = this.platform.host.get(PCI_BUS);
    this.platform.boot();
    this.driver.log.length = 0;
  }

  device(rid: Rid = 0x100): Device {
    const found = this.bus.deviceAt(rid);
    if (found === undefined) {
      throw new Error("not known");
    }
    return found;
  }

  methods(rid: Rid = 0x100): string {
    return pciDev(this.device(rid)).resetMethods.join(" ");
  }

  record(): Recorder {
    return new TraceRecorder(this.platform.trace);
  }

  errno(op: Op<unknown>): string {
    try {
      this.platform.run(op);
      return "0";
    } catch (error) {
      if (error instanceof KernelError) {
        return error.errno;
      }
      throw error;
    }
  }

  /** The errno of a sysfs write of `reset_method`. */
  store(text: string, rid: Rid = 0x100): string {
    return this.errno(this.bus.resets.storeMethods(this.device(rid), text));
  }

  reset(rid: Rid = 0x100): string {
    return this.errno(this.bus.resets.storeReset(this.device(rid)));
  }

  config(rid: Rid): { read: (offset: number) => number; write: (offset: number, value: number) => void } {
    const found = this.platform.host.get(TOPOLOGY).functionAt(rid);
    return {
      read: (offset) => found?.readConfig(offset, 2) ?? -1,
      write: (offset, value) => found?.writeConfig(offset, 2, value),
    };
  }
}

/** Which methods were tried, as `name errno`, probes with a question mark. */
export function tried(events: readonly TraceEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === "reset:method" ? [`${event.method}${event.probe ? "?" : ""} ${event.result}`] : [],
  );
}
