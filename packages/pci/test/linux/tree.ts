import type { Trace } from "@iommu-lab/core";
import {
  ConfigSpace,
  PciDev,
  type PciDevOptions,
  Port,
  endpointConfig,
  pciSetupDevice,
  pciTopology,
  rootPortConfig,
} from "@iommu-lab/pci";
import { Machine } from "../support.ts";

/** A hand-made tree, for bridges to conventional buses and for rules about particular devices. */
export class Tree {
  readonly machine: Machine = new Machine(pciTopology({}), { driver: true });
  readonly trace: Trace = this.machine.platform.trace;
  readonly #options: Partial<PciDevOptions>;

  constructor(options: Partial<PciDevOptions> = {}) {
    this.#options = options;
  }

  /** A function that the kernel has set up, not yet added to the IOMMU core. */
  make(rid: number, bytes: Uint8Array, above?: PciDev): PciDev {
    const name = `0000:${hex(rid >>> 8)}:${hex((rid >>> 3) & 0x1f)}.${rid & 7}`;
    const config = new ConfigSpace(bytes);
    const port = new Port({ rid, name, config, kind: "downstream", upstream: undefined, externalFacing: false });
    const bridge = above === undefined ? {} : { bridge: above };
    const dev = new PciDev({ function: port, trace: this.trace, ...bridge, ...this.#options });
    pciSetupDevice(dev);
    return dev;
  }

  /** The same, added. */
  add(rid: number, bytes: Uint8Array, above?: PciDev, aliases: readonly number[] = []): PciDev {
    const dev = this.make(rid, bytes, above);
    dev.dmaAliases = aliases.length === 0 ? dev.dmaAliases : aliases;
    this.machine.run(this.machine.platform.iommu.addDevice(dev));
    return dev;
  }

  groups(): string[][] {
    this.machine.platform.boot();
    return this.machine.platform.iommu.groups.map((group) => group.members.map(({ device }) => device.name.slice(5)));
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** A bridge of another PCI Express type, or a conventional one. */
export function bridgeBytes(
  secondary: number,
  type: number | "conventional",
  ids: { readonly vendor?: number; readonly device?: number } = {},
): Uint8Array {
  const bytes = rootPortConfig({ secondary, subordinate: secondary, ...ids });
  const at = new ConfigSpace(bytes).findCapability(0x10);
  if (type === "conventional") {
    return withoutCapabilities(bytes);
  }
  bytes[at + 2] = ((bytes[at + 2] ?? 0) & 0xf) | (type << 4);
  return bytes;
}

/** A conventional function. */
export function conventionalBytes(): Uint8Array {
  return withoutCapabilities(endpointConfig({ vendor: 1, device: 2, class: 0x010000 }));
}

/** Leaves the capability list empty. */
function withoutCapabilities(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy[6] = 0;
  copy[0x34] = 0;
  return copy;
}
