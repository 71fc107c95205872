import type { EndpointSpec, RootPortSpec, SwitchSpec, TopologyDescription } from "@iommu-lab/pci";
import { ConfigSpace, parseLspciDump, pciTopology } from "@iommu-lab/pci";

/** A function of a dump. */
interface Found {
  readonly bdf: string;
  /** Config space as it was before a kernel ran. */
  readonly config: Uint8Array;
  readonly bus: number;
  /** Base class and subclass. */
  readonly class: number;
  /** Device/Port Type; undefined for conventional PCI. */
  readonly type: number | undefined;
  readonly bridge: boolean;
  /** Bus right below a bridge. */
  readonly secondary: number;
}

const ROOT_PORT = 4;
const UPSTREAM = 5;
const DOWNSTREAM = 6;
const IOMMU_CLASS = 0x0806;
const HEADER_TYPE = 0x0e;
const FIRST_BUS_NUMBER = 0x18;
const AFTER_WINDOWS = 0x30;

/**
 * The machine that a dump of config space shows, as firmware leaves it: what the dumped kernel had switched on is reset,
 * bus numbers stay. Left out are conventional bridges with what is behind them, and an IOMMU that is a PCI function itself:
 * that one comes with its vendor's plugin.
 *
 * @param file named in errors
 * @throws InputError for a dump that cannot be read
 */
export function topologyOf(text: string, file: string): TopologyDescription {
  const functions = parseLspciDump(text, file)
    .functions.map(({ bdf, bytes }) => find(bdf, bytes))
    .filter((one) => one.class !== IOMMU_CLASS);
  const rootBus = functions.filter((one) => one.bus === 0);
  return pciTopology({
    rootPorts: rootBus.filter((one) => one.type === ROOT_PORT).map((port) => portSpec(port, functions)),
    integrated: rootBus.filter((one) => one.type !== ROOT_PORT && !one.bridge).map(endpointSpec),
  });
}

function find(bdf: string, bytes: Uint8Array): Found {
  const config = new ConfigSpace(bytes);
  const bridge = (config.read8(HEADER_TYPE) & 0x7f) === 1;
  const kept = Array.from({ length: AFTER_WINDOWS - FIRST_BUS_NUMBER }, (_, at) => config.read8(FIRST_BUS_NUMBER + at));
  config.reset("conventional");
  if (bridge) {
    for (const [at, value] of kept.entries()) {
      config.poke8(FIRST_BUS_NUMBER + at, value);
    }
  }
  const express = config.findCapability(0x10);
  return {
    bdf,
    config: Uint8Array.from({ length: config.size }, (_, at) => config.read8(at)),
    bus: Number.parseInt(bdf.split(":")[1] ?? "0", 16),
    class: config.read16(0x0a),
    type: express === 0 ? undefined : (config.read16(express + 2) >>> 4) & 0xf,
    bridge,
    secondary: config.read8(FIRST_BUS_NUMBER + 1),
  };
}

function endpointSpec(found: Found): EndpointSpec {
  return { bdf: found.bdf, config: found.config };
}

/** A root or downstream port with what is on its link. */
function portSpec(port: Found, all: readonly Found[]): RootPortSpec {
  const below = all.filter((one) => one.bus === port.secondary);
  const upstream = below.find((one) => one.type === UPSTREAM);
  return {
    bdf: port.bdf,
    config: port.config,
    functions: below.filter((one) => !one.bridge).map(endpointSpec),
    ...(upstream === undefined ? {} : { switch: switchSpec(upstream, all) }),
  };
}

function switchSpec(upstream: Found, all: readonly Found[]): SwitchSpec {
  return {
    bdf: upstream.bdf,
    config: upstream.config,
    downstream: all
      .filter((one) => one.bus === upstream.secondary && one.type === DOWNSTREAM)
      .map((port) => portSpec(port, all)),
  };
}
