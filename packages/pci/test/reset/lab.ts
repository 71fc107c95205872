import {
  type Dpc,
  type Endpoint,
  type EndpointOptions,
  NO_PASID,
  type PortLink,
  type PortOptions,
  type Rid,
  TOPOLOGY,
  type TopologyDescription,
  pciTopology,
  rootPortConfig,
} from "@iommu-lab/pci";
import { Machine, NIC, ROOT_PORT, nic } from "../support.ts";

/** A card with everything that a reset may or may not take. */
const card: EndpointOptions = {
  ...nic,
  noSoftReset: false,
  advancedFeatures: true,
  cxl: { cache: true, mem: true },
};

/** A root port with a hot-plug slot and containment above one card. */
export function slotTopology(
  endpoint: Partial<EndpointOptions> = {},
  port: Partial<PortOptions> = {},
): TopologyDescription {
  return pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        config: rootPortConfig({ secondary: 1, subordinate: 1, hotplug: true, dpc: true, ...port }),
        endpoint: { bdf: "01:00.0", config: { ...card, ...endpoint } },
      },
    ],
  });
}

/** A machine, its card and the port above it, with the registers by which both are reset. */
export class ResetLab extends Machine {
  constructor(topology: TopologyDescription = slotTopology()) {
    super(topology);
    this.platform.boot();
  }

  get link(): PortLink {
    const found = this.platform.host.get(TOPOLOGY).linkBelow(ROOT_PORT);
    if (found === undefined) {
      throw new Error("no port");
    }
    return found;
  }

  get dpc(): Dpc {
    const found = this.platform.host.get(TOPOLOGY).dpcs.get(ROOT_PORT);
    if (found === undefined) {
      throw new Error("no containment");
    }
    return found;
  }

  at(id: number, extended: boolean, endpoint: Endpoint = this.nic): number {
    return extended ? endpoint.config.findExtendedCapability(id) : endpoint.config.findCapability(id);
  }

  /** Lets virtual time pass; the hardware works meanwhile. */
  pass(ms: number): void {
    this.platform.run(
      (function* () {
        yield { kind: "sleep" as const, ns: ms * 1_000_000 };
      })(),
    );
  }

  get ms(): number {
    return this.platform.clock.now / 1_000_000;
  }

  /** Turns everything on that a reset could take, fills the ATC, leaves a page request and an open read. */
  enableEverything(endpoint: Endpoint = this.nic): void {
    endpoint.writeConfig(4, 2, 6);
    endpoint.writeConfig(this.at(0x05, false, endpoint) + 2, 2, 1);
    const pcie = this.at(0x10, false, endpoint);
    endpoint.writeConfig(pcie + 8, 2, endpoint.readConfig(pcie + 8, 2) | 0x20);
    endpoint.writeConfig(this.at(0x01, false, endpoint) + 4, 2, 0x100);
    this.setPasid(true, endpoint);
    const pri = this.at(0x13, true, endpoint);
    endpoint.writeConfig(pri + 12, 4, 2);
    endpoint.writeConfig(pri + 4, 2, 1);
    this.setAts(true, 0, endpoint);
    const cxl = endpoint.config.findDvsec(0x1e98, 0);
    if (cxl !== 0) {
      endpoint.writeConfig(cxl + 0xc, 2, 7);
      endpoint.writeConfig(cxl + 0x14, 2, 1);
    }
    this.iommu.map(NO_PASID, 0x55, { host: this.buffer, read: true, write: true });
    endpoint.dmaWrite(0x55, 0, 1);
    endpoint.pageRequest(0x66, NO_PASID, { read: true, write: false, last: true, groupIndex: 1 });
    endpoint.holdTransactions(60_000_000_000);
  }

  /** What the registers say, as one line per thing that a reset may take. */
  state(endpoint: Endpoint = this.nic): Record<string, boolean | number> {
    const bit = (at: number, mask: number): boolean => (endpoint.config.read16(at) & mask) !== 0;
    const cxl = endpoint.config.findDvsec(0x1e98, 0);
    return {
      busMaster: bit(4, 4),
      msi: bit(this.at(0x05, false, endpoint) + 2, 1),
      ats: bit(this.at(0x0f, true, endpoint) + 6, 0x8000),
      pri: bit(this.at(0x13, true, endpoint) + 4, 1),
      pasid: bit(this.at(0x1b, true, endpoint) + 6, 1),
      payload: bit(this.at(0x10, false, endpoint) + 8, 0xe0),
      pmeEnable: bit(this.at(0x01, false, endpoint) + 4, 0x100),
      cacheEnable: bit(cxl + 0xc, 1),
      configLock: bit(cxl + 0x14, 1),
      pending: bit(this.at(0x10, false, endpoint) + 0xa, 0x20),
      atc: endpoint.atc.size,
    };
  }

  writePort(offset: number, size: 1 | 2 | 4, value: number, port: Rid = ROOT_PORT): void {
    this.platform.host.get(TOPOLOGY).functionAt(port)?.writeConfig(offset, size, value);
  }

  readPort(offset: number, size: 1 | 2 | 4 = 2, port: Rid = ROOT_PORT): number {
    return this.platform.host.get(TOPOLOGY).functionAt(port)?.readConfig(offset, size) ?? -1;
  }

  portAt(id: number, extended: boolean, port: Rid = ROOT_PORT): number {
    const config = this.platform.host.get(TOPOLOGY).functionAt(port)?.config;
    return (extended ? config?.findExtendedCapability(id) : config?.findCapability(id)) ?? 0;
  }

  /** Sets or clears bits of a word of the port. */
  portBits(offset: number, mask: number, on: boolean): void {
    const value = this.readPort(offset);
    this.writePort(offset, 2, on ? value | mask : value & ~mask);
  }

  secondaryBusReset(on: boolean): void {
    this.portBits(0x3e, 0x40, on);
  }

  linkDisable(on: boolean): void {
    this.portBits(this.portAt(0x10, false) + 0x10, 0x10, on);
  }

  slotPowerOff(on: boolean): void {
    this.portBits(this.portAt(0x10, false) + 0x18, 0x400, on);
  }

  /** An Invalidate Request for everything arrives. */
  invalidate(rid: Rid = NIC): string {
    return this.fabric.sendInvalidate(this.iommu, rid, 3, NO_PASID, 0, 64, false, 0);
  }
}
