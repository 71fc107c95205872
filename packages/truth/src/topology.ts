import type { TopologyDescription, TreeFunction } from "@iommu-lab/pci";
import { PCIE_TYPE, machineTopology, machineTree, parseLspciDump } from "@iommu-lab/pci";

const IOMMU_CLASS = 0x0806;
const PORTS: ReadonlySet<number | undefined> = new Set([
  PCIE_TYPE.rootPort,
  PCIE_TYPE.upstreamPort,
  PCIE_TYPE.downstreamPort,
]);

/**
 * The machine that a dump of config space shows, as firmware leaves it: what the dumped kernel had switched on is reset,
 * bus numbers stay. Left out are conventional bridges with what is behind them, and an IOMMU that is a PCI function itself:
 * that one comes with its vendor's plugin.
 *
 * @param file named in errors
 * @throws InputError for a dump that cannot be read
 */
export function topologyOf(text: string, file: string): TopologyDescription {
  const tree = machineTree(parseLspciDump(text, file).functions);
  const left = new Set(
    tree.segments.flatMap(({ functions }) => functions.filter((one) => isLeftOut(one)).map(({ name }) => name)),
  );
  return machineTopology(tree, { without: (name) => left.has(name), virtualFunctions: 0 });
}

function isLeftOut(one: TreeFunction): boolean {
  const isOtherBridge = one.headerType !== 0 && !PORTS.has(one.pcieType);
  return (
    isOtherBridge || one.config.read16(0x0a) === IOMMU_CLASS || (one.parent !== undefined && isLeftOut(one.parent))
  );
}
