import type { Device, Group, GroupHint, IommuCore } from "@iommu-lab/core";
import { ACS_ISOLATION, pciAcsEnabled, pciAcsPathEnabled } from "./acs.ts";
import { pciDevsAreDmaAliases, pciForEachDmaAlias } from "./dma-alias.ts";
import { PciDev, pciDev } from "./pci-dev.ts";

/** The functions of a platform as the search sees them, and the devfns it has been at. */
class Search {
  readonly #devices: readonly Device[];
  readonly #visited = new Set<number>();

  constructor(core: IommuCore) {
    this.#devices = core.devices;
  }

  groupOf(dev: PciDev): Group | undefined {
    return this.#devices.find(({ bus }) => bus === dev)?.group;
  }

  /** The function's group, or that of a function of its bus with which it shares a requester ID. */
  aliasGroup(dev: PciDev): Group | undefined {
    const devfn = dev.rid & 0xff;
    if (this.#visited.has(devfn)) {
      return undefined;
    }
    this.#visited.add(devfn);
    const own = this.groupOf(dev);
    if (own !== undefined) {
      return own;
    }
    for (const other of this.#others(dev)) {
      if (pciDevsAreDmaAliases(dev, other)) {
        const found = this.aliasGroup(other) ?? this.functionAliasGroup(other);
        if (found !== undefined) {
          return found;
        }
      }
    }
    return undefined;
  }

  /** For a function that its slot does not keep apart: the group of another such function, or of its aliases. */
  functionAliasGroup(dev: PciDev): Group | undefined {
    if (!dev.multifunction || pciAcsEnabled(dev, ACS_ISOLATION)) {
      return undefined;
    }
    for (const other of this.#others(dev)) {
      if (other.rid >>> 3 === dev.rid >>> 3 && !pciAcsEnabled(other, ACS_ISOLATION)) {
        const found = this.aliasGroup(other);
        if (found !== undefined) {
          return found;
        }
      }
    }
    return undefined;
  }

  *#others(dev: PciDev): Iterable<PciDev> {
    for (const { bus } of this.#devices) {
      if (bus instanceof PciDev && bus !== dev && bus.busNumber === dev.busNumber && bus.bridge === dev.bridge) {
        yield bus;
      }
    }
  }
}

/**
 * The group of a PCI function: functions that share a requester ID, that can reach each other without passing the IOMMU,
 * or that sit in one slot without being kept apart belong together.
 *
 * Source: Linux 7.2 `pci_device_group()`.
 */
export function pciDeviceGroup(device: Device, core: IommuCore): GroupHint {
  const search = new Search(core);
  let dev = pciDev(device);
  for (const alias of pciForEachDmaAlias(dev)) {
    dev = alias.dev;
    const group = search.groupOf(dev);
    if (group !== undefined) {
      return group;
    }
  }
  for (let above = dev.bridge; above !== undefined; above = above.bridge) {
    if (pciAcsPathEnabled(above, undefined, ACS_ISOLATION)) {
      break;
    }
    dev = above;
    const group = search.groupOf(dev);
    if (group !== undefined) {
      return group;
    }
  }
  return search.aliasGroup(dev) ?? search.functionAliasGroup(dev) ?? "new";
}
