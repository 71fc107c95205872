import type { Rid } from "../fabric/request.ts";
import type { PciDev } from "./pci-dev.ts";

/** One requester ID under which the IOMMU may see a function's DMA. */
export interface DmaAlias {
  /** The function or bridge that uses the ID. */
  readonly dev: PciDev;
  /** The requester ID. */
  readonly rid: Rid;
}

const TYPE_PCIE_TO_PCI = 7;
const TYPE_PCI_TO_PCIE = 8;

/**
 * All requester IDs of a function's DMA, from the function towards the root: its own, those of its quirks, and those
 * that conventional buses and bridges above it put in their place.
 *
 * Source: Linux 7.2 `pci_for_each_dma_alias()`.
 */
export function pciForEachDmaAlias(dev: PciDev): readonly DmaAlias[] {
  const aliases: DmaAlias[] = [{ dev, rid: dev.rid }];
  for (const devfn of dev.dmaAliases) {
    aliases.push({ dev, rid: (dev.busNumber << 8) | devfn });
  }
  for (let bridge = dev.bridge; bridge !== undefined; bridge = bridge.bridge) {
    if (bridge.pcieCap === 0 || bridge.pcieType === TYPE_PCI_TO_PCIE) {
      aliases.push({ dev: bridge, rid: bridge.rid });
    } else if (bridge.pcieType === TYPE_PCIE_TO_PCI) {
      aliases.push({ dev: bridge, rid: bridge.subordinateBus << 8 });
    }
  }
  return aliases;
}

/** The same as numbers alone. */
export function requesterIds(dev: PciDev): readonly Rid[] {
  return pciForEachDmaAlias(dev).map(({ rid }) => rid);
}

/** Whether one of the two uses the other's ID on their bus. Source: Linux 7.2 `pci_devs_are_dma_aliases()`. */
export function pciDevsAreDmaAliases(one: PciDev, other: PciDev): boolean {
  return one.dmaAliases.includes(other.rid & 0xff) || other.dmaAliases.includes(one.rid & 0xff);
}
