import {
  type EndpointOptions,
  Port,
  type Rid,
  TOPOLOGY,
  type TopologyDescription,
  endpointConfig,
  pciTopology,
  rootPortConfig,
  switchPortConfig,
} from "@iommu-lab/pci";
import { Machine, nic } from "../support.ts";

/** Below port 1 of the switch. */
export const A: Rid = 0x300;
/** Below port 2 of the switch, function 0. */
export const B: Rid = 0x400;
/** Function 1 of the same device. */
export const C: Rid = 0x401;
/** Below another root port. */
export const D: Rid = 0x500;
/** Below a root port that reads no prefixes. */
export const E: Rid = 0x600;
/** The first root port. */
export const ROOT: Rid = 0x08;
/** The second root port. */
export const ROOT2: Rid = 0x10;
/** Downstream port 1 of the switch. */
export const PORT1: Rid = 0x200;
/** Downstream port 2 of the switch. */
export const PORT2: Rid = 0x208;

/** Base address 0 of the function at this requester ID: 1 MiB apart, far from RAM. */
export function barPage(rid: Rid): number {
  return 0x80_0000_0000 / 4096 + rid * 0x100;
}

/** The address of base address 0 as the registers hold it: 64 bits, prefetchable. */
export function withBar(rid: Rid, options: EndpointOptions): Uint8Array {
  const bytes = withAer(endpointConfig(options));
  const address = barPage(rid) * 4096;
  new DataView(bytes.buffer).setUint32(0x10, (address % 2 ** 32) + 0xc, true);
  new DataView(bytes.buffer).setUint32(0x14, Math.floor(address / 2 ** 32), true);
  return bytes;
}

/** Opens the prefetchable window for the base addresses of all functions on some buses. */
function withWindow(bytes: Uint8Array, firstBus: number, lastBus: number): Uint8Array {
  const view = new DataView(bytes.buffer);
  const base = barPage(firstBus << 8) * 4096;
  const limit = barPage((lastBus << 8) | 0xff) * 4096;
  view.setUint16(0x24, (Math.floor(base / 2 ** 16) & 0xfff0) | 1, true);
  view.setUint16(0x26, (Math.floor(limit / 2 ** 16) & 0xfff0) | 1, true);
  view.setUint32(0x28, Math.floor(base / 2 ** 32), true);
  view.setUint32(0x2c, Math.floor(limit / 2 ** 32), true);
  return bytes;
}

/** Puts a port number into Link Capabilities. */
function numbered(bytes: Uint8Array, port: number): Uint8Array {
  // PCI Express comes after Power Management and MSI.
  let at = bytes[0x34] ?? 0;
  while (bytes[at] !== 0x10) {
    at = bytes[at + 1] ?? 0;
  }
  bytes[at + 0xf] = port;
  return bytes;
}

/** Appends AER to the extended list, whose entries are 16 bytes apart. */
function withAer(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer);
  let last = 0x100;
  while (view.getUint16(last + 2, true) >>> 4 !== 0) {
    last = view.getUint16(last + 2, true) >>> 4;
  }
  view.setUint16(last + 2, (view.getUint16(last + 2, true) & 0xf) | (0x400 << 4), true);
  view.setUint16(0x400, 1, true);
  view.setUint16(0x402, 2, true);
  return bytes;
}

/** Every ACS service, with an egress vector of 8 bits. */
const EVERY_ACS = { capability: 0x87f };

/** A root port with its window open for some buses. @param prefix whether it reads End-End prefixes */
export function rootPort(bus: number, lastBus: number, port: number, prefix: boolean = true): Uint8Array {
  const buses = { secondary: bus, subordinate: lastBus };
  return withAer(
    numbered(withWindow(rootPortConfig({ ...buses, acs: EVERY_ACS, endEndTlpPrefix: prefix }), bus, lastBus), port),
  );
}

/** A downstream port of the switch whose own bus is `inner`. */
export function downstreamPort(inner: number, bus: number, port: number): Uint8Array {
  const buses = { primary: inner, secondary: bus, subordinate: bus };
  const built = switchPortConfig({ side: "downstream", ...buses, acs: EVERY_ACS });
  return withAer(numbered(withWindow(built, bus, bus), port));
}

/** The upper port of a switch whose own bus is `inner`. */
export function upstreamPort(bus: number, inner: number, lastBus: number): Uint8Array {
  const buses = { primary: bus, secondary: inner, subordinate: lastBus };
  return withWindow(switchPortConfig({ side: "upstream", ...buses }), inner, lastBus);
}

const function0: EndpointOptions = { ...nic, multiFunction: true, acs: { capability: 0x86c } };

/**
 * Root port 00:01.0 with a switch: 03:00.0 below port 1, 04:00.0 and 04:00.1 (one device) below port 2; root port 00:02.0
 * with 05:00.0; root port 00:03.0, which reads no prefixes, with 06:00.0.
 */
const peers: TopologyDescription = pciTopology({
  rootPorts: [
    {
      bdf: "00:01.0",
      config: rootPort(1, 4, 1),
      switch: {
        bdf: "01:00.0",
        config: upstreamPort(1, 2, 4),
        downstream: [
          { bdf: "02:00.0", config: downstreamPort(2, 3, 1), endpoint: { bdf: "03:00.0", config: withBar(A, nic) } },
          {
            bdf: "02:01.0",
            config: downstreamPort(2, 4, 2),
            endpoint: { bdf: "04:00.0", config: withBar(B, function0) },
            functions: [{ bdf: "04:00.1", config: withBar(C, function0) }],
          },
        ],
      },
    },
    { bdf: "00:02.0", config: rootPort(5, 5, 2), endpoint: { bdf: "05:00.0", config: withBar(D, nic) } },
    { bdf: "00:03.0", config: rootPort(6, 6, 3, false), endpoint: { bdf: "06:00.0", config: withBar(E, nic) } },
  ],
});

/** A machine of these functions, each with 1 MiB behind base address 0. */
export class Peers extends Machine {
  constructor(options: { readonly iommu?: boolean } = {}) {
    super(peers, options);
    for (const rid of [A, B, C, D, E]) {
      this.fabric.endpoint(rid).declareMemory(0, 2 ** 20);
      this.setAts(true, 0, this.fabric.endpoint(rid));
    }
  }

  port(rid: Rid): Port {
    const port = this.platform.host.get(TOPOLOGY).functionAt(rid);
    if (!(port instanceof Port)) {
      throw new TypeError("no such port");
    }
    return port;
  }

  /** The 4 bytes at the start of a function's memory. */
  at(rid: Rid): number {
    return this.fabric.endpoint(rid).memory.read(0, 0);
  }

  /** A register of the AER capability, which the test gives the port. */
  aer(rid: Rid, offset: number): number {
    const { config } = this.port(rid);
    return config.read32(config.findExtendedCapability(1) + offset);
  }
}
