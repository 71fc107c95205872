import type { Device, Group, KernelOptions, Op, Platform, Plugin, TraceEvent } from "@iommu-lab/core";
import { Clock, Recorder, Trace, createPlatform, linux } from "@iommu-lab/core";
import {
  type Endpoint,
  type EndpointOptions,
  type EndpointSpec,
  FABRIC,
  PCI_BUS,
  type PciBus,
  type PciDev,
  pci,
  pciDev,
  pciTopology,
} from "@iommu-lab/pci";
import type { ArmSmmuV3Driver } from "../../src/driver/driver.ts";
import type { SmmuDevice } from "../../src/driver/smmu-device.ts";
import type { Smmu } from "../../src/hardware/smmu.ts";
import type { CommandFilter } from "../../src/driver/invalidation-site.ts";
import { SMMUV3_DRIVER, SMMUV3_HARDWARE, type Smmuv3Options, smmuv3Filtered } from "../../src/plugin.ts";

/** A network controller with ATS, PRI, PASID and FLR. */
export const NIC: EndpointOptions = {
  vendor: 0x1af4,
  device: 0x1041,
  class: 0x020000,
  flr: true,
  ats: { queueDepth: 32, pageAligned: true },
  pri: { capacity: 512, responsePasidRequired: true },
  pasid: { width: 20, exec: true, priv: true },
};

/** A CXL Type 2 accelerator: it requires ATS. */
export const ACCELERATOR: EndpointOptions = { ...NIC, cxl: { cache: true, io: true, mem: true } };

/** The same without PASIDs. */
export const WITHOUT_PASID: EndpointOptions = {
  vendor: 0x1af4,
  device: 0x1041,
  class: 0x020000,
  flr: true,
  ats: { queueDepth: 32, pageAligned: true },
};

/** Feature words of a recorded machine: terminate only, no PRI, linear context descriptor tables, 44 bits. */
export const RECORDED: Smmuv3Options = {
  idr: { idr0: 0x0d44141b, idr1: 0x02730410, idr3: 0x1414, idr5: 0x74 },
};

export interface LabOptions {
  readonly device?: EndpointOptions;
  /** More functions at 01:00, or VFs. */
  readonly functions?: readonly EndpointSpec[];
  /** Config space of the root port. */
  readonly port?: Uint8Array;
  readonly smmu?: Smmuv3Options;
  readonly kernel?: KernelOptions;
  /** Default 7.2. Before it, functions are probed when a driver binds. */
  readonly version?: "6.1" | "6.12" | "7.2";
  /** More plugins, before the SMMU. */
  readonly plugins?: readonly Plugin[];
  /** Whether events are recorded. Default true; a lab without is several times faster. */
  readonly record?: boolean;
  /** A driver that loses invalidations. */
  readonly filter?: CommandFilter;
}

const RID = 0x100;

/** A booted platform with one function behind one SMMU. */
export class Lab {
  readonly platform: Platform;
  readonly bus: PciBus;
  readonly recorder: Recorder;
  readonly endpoint: Endpoint;

  constructor(options: LabOptions = {}) {
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          ...(options.port === undefined ? {} : { config: options.port }),
          endpoint: { rid: RID, config: options.device ?? NIC },
          functions: options.functions ?? [],
        },
      ],
    });
    this.platform = createPlatform({
      kernel: linux(options.version ?? "7.2", options.kernel ?? {}),
      plugins: [pci(topology), ...(options.plugins ?? []), smmuv3Filtered(options.smmu ?? {}, options.filter)],
    });
    this.recorder = new Recorder(options.record === false ? new Trace(new Clock()) : this.platform.trace);
    this.platform.boot();
    this.bus = this.platform.host.get(PCI_BUS);
    this.endpoint = this.platform.host.get(FABRIC).endpoint(RID);
    if (options.version === "6.1" || options.version === "6.12") {
      this.run(this.bus.bind(this.device, { name: "test-driver", managesDma: true }));
    }
  }

  get driver(): ArmSmmuV3Driver {
    return this.platform.host.get(SMMUV3_DRIVER);
  }

  /** The SMMU as the driver keeps it. */
  get smmu(): SmmuDevice {
    const [smmu] = this.driver.smmus;
    if (smmu === undefined) {
      throw new Error("the SMMU is not up");
    }
    return smmu;
  }

  get hardware(): Smmu {
    return this.platform.host.get(SMMUV3_HARDWARE);
  }

  get device(): Device {
    return this.deviceAt("01:00.0");
  }

  get group(): Group {
    const { group } = this.device;
    if (group === undefined) {
      throw new Error("no group");
    }
    return group;
  }

  get pciDev(): PciDev {
    return pciDev(this.device);
  }

  deviceAt(address: string): Device {
    const device = this.bus.deviceAt(address);
    if (device === undefined) {
      throw new Error(`no device at ${address}`);
    }
    return device;
  }

  run<T>(op: Op<T>): T {
    return this.platform.run(op);
  }

  /** ATS Enable as the function's register says. */
  get atsEnabled(): boolean {
    return this.endpoint.atsEnabled;
  }

  /** Words of the function's STE, read from memory through the stream table registers. */
  ste(rid: number = RID): string[] {
    const { memory, mmio } = this.platform;
    const base = 0x09050000;
    const table =
      mmio.read32(base + 0x80) - (mmio.read32(base + 0x80) % 64) + (mmio.read32(base + 0x84) & 0xff) * 2 ** 32;
    memory.load64(table + (rid >> 8) * 8);
    const leaf = memory.lo - (memory.lo % 64) + (memory.hi & 0xfffff) * 2 ** 32;
    return [0, 1].map((word) => {
      memory.load64(leaf + (rid & 0xff) * 64 + word * 8);
      const value = (BigInt(memory.hi >>> 0) << 32n) | BigInt(memory.lo >>> 0);
      // Pointers differ from machine to machine.
      const masked = word === 0 ? value & ~0x000ffffffffff000n : value;
      return `0x${masked.toString(16)}`;
    });
  }

  /** What an operation does, line by line: entries written, commands, Enable bits. */
  steps(op: Op<unknown>): string[] {
    const from = this.platform.trace.nextId;
    this.platform.run(op);
    return this.since(from);
  }

  /** The same from an event on. A SYNC stands on the line of the command before it. */
  since(from: number): string[] {
    const lines: string[] = [];
    for (const event of this.recorder.events.filter(({ id }) => id >= from)) {
      const text = line(event);
      if (text === "SYNC" && lines.length > 0) {
        lines.push(`${lines.pop()} + SYNC`);
      } else if (text !== "") {
        lines.push(text);
      }
    }
    return lines;
  }
}

function line(event: TraceEvent): string {
  switch (event.type) {
    case "command:submit":
      return event.text.replace(" SID=0x100", "");
    case "table:write": {
      const pasid = event.pasid === undefined ? "" : ` ${event.pasid}`;
      const text = event.decoded.replaceAll(/=0x[\da-f]+/g, "=…").replaceAll(/ASID=\d+/g, "ASID=…");
      return `${event.kind}${pasid}: ${text}`;
    }
    case "capability:enable":
      return `${event.capability} ${event.enabled ? "on" : "off"}`;
    case "warn":
      return `warn: ${event.what}`;
    default:
      return "";
  }
}
