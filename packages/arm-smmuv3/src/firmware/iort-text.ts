import { ATS_SUPPORTED, MEMORY_CANWBS, RMR_FLAGS, SINGLE_MAPPING, SMMU_V3_FLAGS } from "./iort-layout.ts";
import type { IdMapping, IortNode, IortTable } from "./iort.ts";

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function describeMapping({ inputBase, idCount, outputBase, outputReference, flags }: IdMapping): string {
  if ((flags & SINGLE_MAPPING) !== 0) {
    return `all IDs become ${hex(outputBase)} at the node at ${hex(outputReference)}`;
  }
  const range = `IDs ${hex(inputBase)}-${hex(inputBase + idCount)}`;
  return `${range} become ${hex(outputBase)}-${hex(outputBase + idCount)} at the node at ${hex(outputReference)}`;
}

/** What each kind of node means to Linux. */
function describeNode(node: IortNode): string {
  switch (node.kind) {
    case "itsGroup":
      return `ITS group of ${node.identifiers.map(String).join(", ")}`;
    case "namedComponent":
      return `device ${node.deviceName}`;
    case "rootComplex": {
      const ats = (node.atsAttribute & ATS_SUPPORTED) === 0 ? "no ATS: no function below it gets ATS" : "does ATS";
      const forced = (node.memoryFlags & MEMORY_CANWBS) === 0 ? "" : ", can force coherency (CANWBS)";
      return `root complex of PCI segment ${node.pciSegment}, ${ats}${forced}`;
    }
    case "smmuV2":
      return `SMMUv1/v2 at ${hex(node.baseAddress)}`;
    case "smmuV3": {
      const coherent = (node.flags & SMMU_V3_FLAGS.cohaccOverride) === 0 ? "not coherent" : "coherent";
      return `SMMUv3 at ${hex(node.baseAddress)}, ${coherent}`;
    }
    case "pmcg":
      return `performance counters at ${hex(node.page0BaseAddress)}`;
    case "rmr": {
      const kind = (node.flags & RMR_FLAGS.remapPermitted) === 0 ? "direct" : "direct-relaxable";
      const ranges = node.descriptors.map(({ baseAddress, length }) => `${hex(baseAddress)} + ${hex(length)}`);
      return `reserved memory (${kind}): ${ranges.join(", ")}`;
    }
    default:
      return `type ${node.type} is not known: its ${node.length} bytes are skipped`;
  }
}

/** One sentence for each node, its mappings, and each oddity. */
export function describeIort(table: IortTable): readonly string[] {
  return [
    ...table.nodes.flatMap((node) => [
      `${hex(node.offset)}: ${describeNode(node)}`,
      ...node.mappings.map((mapping) => `${hex(node.offset)}: ${describeMapping(mapping)}`),
    ]),
    ...table.warnings.map((warning) => `warning: ${warning}`),
  ];
}
