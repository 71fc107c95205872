import { InputError } from "@iommu-lab/core";
import { endpointConfig } from "../config-space/function-config.ts";
import { ConfigSpace } from "../config-space/config-space.ts";
import { EXT_CAP_ID_ATS, EXT_CAP_ID_SRIOV } from "../config-space/extended-layouts.ts";
import { PCIE_TYPE } from "../config-space/standard-layouts.ts";
import type { PortKind, RequesterIdRule } from "../fabric/port.ts";
import type { Rid } from "../fabric/request.ts";
import type { EndpointNode, PortNode, TopologyDescription } from "./description.ts";
import type { MachineTree, TreeFunction } from "./machine-tree.ts";
import { virtualFunctionIds } from "./virtual-functions.ts";

/** Options of {@link machineTopology}. */
export interface MachineTopologyOptions {
  /** PCI segment (domain) to take; a platform has one. Default: the lowest. */
  readonly segment?: number;
  /**
   * Whether functions are as after power-on, with bus numbers as firmware sets them; else as the data show them, with all that a
   * kernel had switched on. Default true.
   */
  readonly powerOn?: boolean;
  /** How many VFs that the data do not show each PF can bring forth, at most. Default 4. */
  readonly virtualFunctions?: number;
  /** Functions to leave out, by name, such as an IOMMU that comes with its plugin. */
  readonly without?: (name: string) => boolean;
}

const COMMAND = 4;
const MEMORY_AND_MASTER = 6;
const FIRST_BUS_NUMBER = 0x18;
const AFTER_WINDOWS = 0x30;
/** A conventional bridge that is in truth a PCIe-to-PCI one; a PCIe-to-PCI bridge that leaves requester IDs alone. */
const HIDDEN_PCIE: ReadonlySet<number> = new Set([0x1b21_1080, 0x10e3_8113, 0x1283_8892, 0x1283_8893, 0x8086_244e]);
const TRANSPARENT: ReadonlySet<number> = new Set([0x1a03_1150]);

/**
 * One segment of a machine that was read in, as a description from which live platforms are made: bridges of all kinds with what
 * they do to requester IDs, endpoints that can do DMA, VFs that are there or can come.
 *
 * @throws InputError for a machine without this segment
 */
export function machineTopology(machine: MachineTree, options: MachineTopologyOptions = {}): TopologyDescription {
  const [lowest] = machine.segments;
  const wanted = options.segment ?? lowest?.segment ?? 0;
  const tree = machine.segments.find(({ segment }) => segment === wanted);
  if (tree === undefined) {
    const known = machine.segments.map(({ segment }) => segment.toString(16)).join(", ");
    throw new InputError(`the machine has no segment ${wanted.toString(16)}: expected one of ${known}`);
  }
  const functions = tree.functions.filter(({ name }) => options.without?.(name) !== true);
  const ports = functions.filter(isBridge).map((one) => portOf(one, options));
  const endpoints: EndpointNode[] = [];
  const taken = new Set<Rid>(tree.functions.map(({ rid }) => rid));
  for (const one of functions.filter((candidate) => !isBridge(candidate))) {
    if (one.physfn === undefined) {
      const own = endpointOf(one, undefined, options);
      const virtual = functions.filter(({ physfn }) => physfn === one);
      endpoints.push(own, ...virtual.map((vf) => endpointOf(vf, one.rid, options)));
      if (virtual.length === 0) {
        endpoints.push(...dormantFunctions(one, taken, options.virtualFunctions ?? 4));
      }
    }
  }
  return { ports, endpoints, segment: wanted };
}

function isBridge({ headerType }: TreeFunction): boolean {
  return headerType === 1 || headerType === 2;
}

function portOf(one: TreeFunction, options: MachineTopologyOptions): PortNode {
  const image = imageOf(one, options);
  return {
    rid: one.rid,
    kind: kindOf(one),
    parent: one.parent?.rid,
    config: image.toBytes(),
    image,
    externalFacing: one.externalFacing,
    requesterIds: requesterIdsOf(one),
  };
}

function kindOf({ pcieType }: TreeFunction): PortKind {
  switch (pcieType) {
    case PCIE_TYPE.rootPort:
      return "root";
    case PCIE_TYPE.upstreamPort:
      return "upstream";
    case PCIE_TYPE.downstreamPort:
      return "downstream";
    default:
      return "bridge";
  }
}

function requesterIdsOf({ pcieType, parent, config }: TreeFunction): RequesterIdRule {
  const ids = config.read16(0) * 0x1_0000 + config.read16(2);
  if (pcieType === PCIE_TYPE.pcieToPciBridge) {
    return TRANSPARENT.has(ids) ? "as-is" : "secondary-bus";
  }
  if (pcieType === PCIE_TYPE.pciToPcieBridge) {
    return "own";
  }
  if (pcieType !== undefined) {
    return "as-is";
  }
  const isHidden =
    HIDDEN_PCIE.has(ids) && parent?.pcieType !== undefined && parent.pcieType !== PCIE_TYPE.pcieToPciBridge;
  return isHidden ? "secondary-bus" : "own";
}

function endpointOf(one: TreeFunction, physfn: Rid | undefined, options: MachineTopologyOptions): EndpointNode {
  const image = imageOf(one, options);
  return { rid: one.rid, parent: one.parent?.rid, config: image.toBytes(), image, physfn, flrNs: undefined };
}

/** Registers as after power-on, but with bus numbers, and with memory and mastering on as firmware leaves them. */
function imageOf({ config: source, headerType }: TreeFunction, options: MachineTopologyOptions): ConfigSpace {
  const config = new ConfigSpace(source.toBytes());
  if (options.powerOn ?? true) {
    config.reset("conventional");
    if (headerType !== 0) {
      for (let at = FIRST_BUS_NUMBER; at < AFTER_WINDOWS; at += 1) {
        config.poke8(at, source.read8(at));
      }
    }
    config.poke8(COMMAND, config.read8(COMMAND) | MEMORY_AND_MASTER);
  }
  return config;
}

/** VFs that VF Enable can bring forth; what their config space has is made up from the PF's. */
function dormantFunctions(physfn: TreeFunction, taken: Set<Rid>, limit: number): readonly EndpointNode[] {
  const { config, rid, parent } = physfn;
  const at = config.findExtendedCapability(EXT_CAP_ID_SRIOV);
  if (at === 0) {
    return [];
  }
  const count = Math.min(limit, config.read16(at + 0x0e));
  const bytes = endpointConfig({
    vendor: config.read16(0),
    device: config.read16(at + 0x1a),
    class: config.read32(8) >>> 8,
    ...(config.findExtendedCapability(EXT_CAP_ID_ATS) === 0 ? {} : { ats: {} }),
    ari: { nextFunction: 0 },
  });
  const ids = virtualFunctionIds(config, at, rid, count).filter((id) => !taken.has(id));
  ids.forEach((id) => taken.add(id));
  const image = new ConfigSpace(bytes);
  return ids.map((id) => ({
    rid: id,
    parent: parent?.rid,
    config: bytes,
    image,
    physfn: rid,
    vfEnabled: false,
    flrNs: undefined,
  }));
}
