import type { Rid } from "../fabric/request.ts";
import type { PciDev } from "./pci-dev.ts";

/** Why the IOMMU may see a requester ID. */
export type DmaAliasRule =
  /** The function's own. */
  | "own"
  /** The ID of the function on another bus that carries its DMA. */
  | "real-dma-device"
  /** A quirk names another devfn of the bus. */
  | "quirk"
  /** A PCIe-to-PCI bridge sends what is behind it as (secondary bus, 0.0). */
  | "pcie-to-pci-bridge"
  /** A PCI-to-PCIe or conventional bridge sends it as its own. */
  | "bridge";

/** One requester ID under which the IOMMU may see a function's DMA. */
export interface DmaAlias {
  /** The function or bridge that uses the ID. */
  readonly dev: PciDev;
  /** The requester ID. */
  readonly rid: Rid;
  /** Why. */
  readonly rule: DmaAliasRule;
}

const TYPE_ROOT_PORT = 4;
const TYPE_UPSTREAM = 5;
const TYPE_DOWNSTREAM = 6;
const TYPE_PCIE_TO_PCI = 7;
const TYPE_PCI_TO_PCIE = 8;

/**
 * All requester IDs of a function's DMA, from the function towards the root: its own, those of its quirks, and those
 * that conventional buses and bridges above it put in their place.
 *
 * Source: Linux 7.2 `pci_for_each_dma_alias()`; the same in 6.1 and 6.12.
 */
export function pciForEachDmaAlias(start: PciDev): readonly DmaAlias[] {
  const dev = start.realDmaDev ?? start;
  const aliases: DmaAlias[] = [{ dev, rid: dev.rid, rule: dev === start ? "own" : "real-dma-device" }];
  for (const devfn of dev.dmaAliases) {
    aliases.push({ dev, rid: (dev.busNumber << 8) | devfn, rule: "quirk" });
  }
  for (let bridge = dev.bridge; bridge !== undefined; bridge = bridge.bridge) {
    if (bridge.bridgeAlias === "translation-root") {
      break;
    }
    const alias = aliasOfBridge(bridge);
    if (alias !== undefined) {
      aliases.push(alias);
    }
  }
  return aliases;
}

function aliasOfBridge(bridge: PciDev): DmaAlias | undefined {
  const secondary: DmaAlias = { dev: bridge, rid: bridge.subordinateBus << 8, rule: "pcie-to-pci-bridge" };
  const own: DmaAlias = { dev: bridge, rid: bridge.rid, rule: "bridge" };
  if (bridge.pcieCap === 0) {
    return bridge.bridgeAlias === "hidden-pcie" ? secondary : own;
  }
  switch (bridge.pcieType) {
    case TYPE_ROOT_PORT:
    case TYPE_UPSTREAM:
    case TYPE_DOWNSTREAM:
      return undefined;
    case TYPE_PCIE_TO_PCI:
      return bridge.bridgeAlias === "none" ? undefined : secondary;
    case TYPE_PCI_TO_PCIE:
      return own;
    default:
      return undefined;
  }
}

/** The same as numbers alone. */
export function requesterIds(dev: PciDev): readonly Rid[] {
  return pciForEachDmaAlias(dev).map(({ rid }) => rid);
}

/**
 * Whether one of the two uses the other's ID on their bus, or sends all its DMA as the other.
 *
 * Source: Linux 7.2 `pci_devs_are_dma_aliases()`.
 */
export function pciDevsAreDmaAliases(one: PciDev, other: PciDev): boolean {
  return (
    one.dmaAliases.includes(other.rid & 0xff) ||
    other.dmaAliases.includes(one.rid & 0xff) ||
    one.realDmaDev === other ||
    other.realDmaDev === one
  );
}
