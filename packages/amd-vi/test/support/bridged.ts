import type { PortNode, TopologyDescription } from "@iommu-lab/pci";
import { ConfigSpace, PCIE_TYPE, endpointConfig, pciTopology } from "@iommu-lab/pci";

/** The function behind the bridge, and the requester ID that its DMA carries beyond it. */
export const BEHIND = 0x0208;
export const BEHIND_ALIAS = 0x0200;

/** A conventional function behind a PCIe-to-PCI bridge below a root port. */
export function bridgedTopology(): TopologyDescription {
  const plain = pciTopology({
    rootPorts: [
      {
        bdf: "00:02.0",
        endpoint: { rid: 0x0100, config: endpointConfig({ vendor: 0x1af4, device: 0x1043, class: 0x020000 }) },
      },
    ],
  });
  const [root] = plain.ports;
  const [endpoint] = plain.endpoints;
  if (root === undefined || endpoint === undefined) {
    throw new Error("no root port");
  }
  const image = new ConfigSpace(root.config);
  image.poke8(SUBORDINATE, 2);
  const upper = { ...root, config: image.toBytes(), image };
  return {
    ports: [upper, bridge(upper)],
    endpoints: [{ ...endpoint, rid: BEHIND, parent: 0x0100 }],
  };
}

const SUBORDINATE = 0x1a;
const CAPABILITIES = 0x34;
const PCIE = 0x10;

function bridge(root: PortNode): PortNode {
  const image = new ConfigSpace(root.config);
  image.poke8(0x18, 1);
  image.poke8(0x19, 2);
  image.poke8(SUBORDINATE, 2);
  let at = image.read8(CAPABILITIES);
  while (image.read8(at) !== PCIE) {
    at = image.read8(at + 1);
  }
  image.poke8(at + 2, (image.read8(at + 2) & 0x0f) | (PCIE_TYPE.pcieToPciBridge << 4));
  return {
    ...root,
    rid: 0x0100,
    kind: "bridge",
    parent: root.rid,
    config: image.toBytes(),
    image,
    requesterIds: "secondary-bus",
  };
}
