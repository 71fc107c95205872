import { type NodeKind, SINGLE_MAPPING, SMMU_V3_FLAGS } from "./iort-layout.ts";
import type { IdMapping, IortNode, IortNodeOf, IortTable } from "./iort.ts";

/** Where an ID ends up. */
export interface MappedId {
  /** The node that was looked for. */
  readonly node: IortNode;
  /** The ID there: a StreamID at an SMMU. */
  readonly id: number;
}

/** Receives what the kernel would log about the table. */
export type FirmwareWarning = (what: string) => void;

/** Kinds whose single mapping counts. */
const SINGLE: ReadonlySet<string> = new Set(["namedComponent", "rootComplex"] satisfies NodeKind[]);

type Hit = { readonly id: number; readonly last: boolean } | undefined;

/**
 * Where one mapping sends an ID. `last`: it is the last ID of a range of several, so another range that begins with it
 * takes precedence, because some tables count their IDs without the minus one.
 *
 * Source: Linux 7.2 `iort_id_map()`.
 */
function mapOne(node: IortNode, map: IdMapping, id: number, overlaps: boolean, warn: FirmwareWarning): Hit {
  if ((map.flags & SINGLE_MAPPING) !== 0) {
    if (SINGLE.has(node.kind)) {
      return { id: map.outputBase, last: false };
    }
    warn(`${nameOf(node)}: a single mapping is not allowed here and skipped`);
    return undefined;
  }
  const end = map.inputBase + map.idCount;
  if (id < map.inputBase || id > end) {
    return undefined;
  }
  if (overlaps) {
    warn(`${nameOf(node)}: conflicting mapping for input ID 0x${id.toString(16)}`);
    if (id !== map.inputBase) {
      return undefined;
    }
  }
  return { id: (map.outputBase + (id - map.inputBase)) % 2 ** 32, last: map.idCount > 0 && id === end };
}

/**
 * Which mapping of a node tells where its own messages go, and is none of the devices behind it; undefined = none.
 *
 * Source: Linux 7.2 `iort_get_id_mapping_index()`.
 */
function ownMappingIndex(node: IortNode, warn: FirmwareWarning): number | undefined {
  if (node.kind === "pmcg") {
    return node.overflowGsiv !== 0 || node.mappingCount === 0 ? undefined : 0;
  }
  if (node.kind !== "smmuV3" || node.revision < 1) {
    return undefined;
  }
  const wired = node.eventGsiv !== 0 && node.priGsiv !== 0 && node.gerrGsiv !== 0 && node.syncGsiv !== 0;
  if (node.revision < 5 ? wired : (node.flags & SMMU_V3_FLAGS.deviceIdValid) === 0) {
    return undefined;
  }
  if (node.deviceIdMappingIndex >= node.mappingCount) {
    warn(`${nameOf(node)}: the device ID mapping index is beyond its mappings`);
    return undefined;
  }
  return node.deviceIdMappingIndex;
}

/**
 * Follows an ID from node to node until a node of a wanted kind is reached.
 *
 * Source: Linux 7.2 `iort_node_map_id()`. The kernel does not check where a mapping points; here one that points at no
 * node, or back to a node that was passed, ends the search.
 *
 * @returns undefined when the ID is mapped to no such node
 */
export function mapId(
  table: IortTable,
  start: IortNode,
  id: number,
  kinds: readonly NodeKind[],
  warn: FirmwareWarning = () => {},
): MappedId | undefined {
  const passed = new Set<IortNode>();
  let node: IortNode | undefined = start;
  let current = id;
  while (node !== undefined && !passed.has(node)) {
    if ((kinds as readonly string[]).includes(node.kind)) {
      return { node, id: current };
    }
    passed.add(node);
    const step = mapStep(node, current, warn);
    if (step === undefined) {
      return undefined;
    }
    const from: IortNode = node;
    node = table.nodes.find(({ offset }) => offset === step.reference);
    if (node === undefined) {
      warn(`${nameOf(from)}: an ID mapping points to 0x${step.reference.toString(16)}, where no node begins`);
    }
    current = step.id;
  }
  return undefined;
}

function mapStep(
  node: IortNode,
  id: number,
  warn: FirmwareWarning,
): { readonly id: number; readonly reference: number } | undefined {
  const [first] = node.mappings;
  if (first === undefined) {
    return undefined;
  }
  if (first.outputReference === 0) {
    warn(`${nameOf(node)}: its first ID mapping refers to nothing`);
    return undefined;
  }
  const own = ownMappingIndex(node, warn);
  let found: { id: number; reference: number } | undefined;
  for (const [index, map] of node.mappings.entries()) {
    if (index === own) {
      continue;
    }
    const hit = mapOne(node, map, id, found !== undefined && found.reference !== 0, warn);
    if (hit === undefined) {
      continue;
    }
    found = { id: hit.id, reference: map.outputReference };
    if (!hit.last) {
      break;
    }
  }
  return found === undefined || found.reference === 0 ? undefined : found;
}

/** The root complex of a PCI segment. Source: Linux 7.2 `iort_match_node_callback()`. */
export function rootComplexOf(table: IortTable, segment: number): IortNodeOf<"rootComplex"> | undefined {
  return table.nodes.find(
    (node): node is IortNodeOf<"rootComplex"> => node.kind === "rootComplex" && node.pciSegment === segment,
  );
}

/** How a node is called in warnings. */
export function nameOf(node: IortNode): string {
  return `IORT node at 0x${node.offset.toString(16)} (${node.kind})`;
}
