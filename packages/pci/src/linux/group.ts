import type { Device, Group, GroupHint, IommuCore } from "@iommu-lab/core";
import { ACS_ISOLATION } from "./acs-flags.ts";
import { type AcsVerdict, pciAcsEnabled, pciAcsPathGap, pciAcsVerdict } from "./acs.ts";
import { type DmaAlias, pciDevsAreDmaAliases, pciForEachDmaAlias } from "./dma-alias.ts";
import { PciDev, pciDev } from "./pci-dev.ts";

/** One decision on the way from a function to its group. */
export type GroupDecision =
  | RequesterIdDecision
  | PathDecision
  | IsolatedPathDecision
  | AliasDecision
  | SlotDecision
  | NewGroupDecision;

/** DMA of the function may appear under a requester ID of another one, so the two belong together. */
export interface RequesterIdDecision {
  /** The rule. */
  readonly rule: "requester-id";
  /** The function. */
  readonly dev: PciDev;
  /** The other requester ID, and whose it is. */
  readonly alias: DmaAlias;
}

/** Something on the way to the root does not isolate: the function belongs together with a bridge above it. */
export interface PathDecision {
  /** The rule. */
  readonly rule: "path";
  /** The function. */
  readonly dev: PciDev;
  /** The bridge it belongs together with. */
  readonly bridge: PciDev;
  /** What does not isolate, from that bridge on. */
  readonly hop: PciDev;
  /** Why it does not. */
  readonly verdict: AcsVerdict;
}

/** All from the bridge to the root isolate. */
export interface IsolatedPathDecision {
  /** The rule. */
  readonly rule: "path-isolated";
  /** The function. */
  readonly dev: PciDev;
  /** The first bridge of the way. */
  readonly bridge: PciDev;
}

/** Two functions of one bus use one requester ID. */
export interface AliasDecision {
  /** The rule. */
  readonly rule: "alias";
  /** The function. */
  readonly dev: PciDev;
  /** The other one. */
  readonly other: PciDev;
}

/** Two functions of one slot are both not isolated. */
export interface SlotDecision {
  /** The rule. */
  readonly rule: "slot";
  /** The function. */
  readonly dev: PciDev;
  /** The other one. */
  readonly other: PciDev;
  /** Why the function is not isolated. */
  readonly verdict: AcsVerdict;
  /** Why the other one is not. */
  readonly otherVerdict: AcsVerdict;
}

/** The function is the first of a new group. */
export interface NewGroupDecision {
  /** The rule. */
  readonly rule: "new";
  /** The function. */
  readonly dev: PciDev;
  /** Why its slot does not matter, or that it is the first there. */
  readonly verdict: AcsVerdict;
}

/** Where the search for a group looks, and whom it tells of its decisions. */
export interface GroupSearch<G> {
  /** All functions the kernel knows, in its order. */
  readonly devices: Iterable<PciDev>;
  /** The group that a function has already. */
  groupOf(dev: PciDev): G | undefined;
  /** Told of each decision that brought the function nearer to its group. */
  decided?(decision: GroupDecision): void;
}

/** Looks for groups of functions of one bus, and remembers the devfns it has been at. */
class BusSearch<G> {
  readonly #search: GroupSearch<G>;
  readonly #visited = new Set<number>();

  constructor(search: GroupSearch<G>) {
    this.#search = search;
  }

  /** The function's group, or that of a function of its bus with which it shares a requester ID. */
  aliasGroup(dev: PciDev): G | undefined {
    const devfn = dev.rid & 0xff;
    if (this.#visited.has(devfn)) {
      return undefined;
    }
    this.#visited.add(devfn);
    const own = this.#search.groupOf(dev);
    if (own !== undefined) {
      return own;
    }
    for (const other of this.#others(dev)) {
      if (pciDevsAreDmaAliases(dev, other)) {
        const found = this.aliasGroup(other) ?? this.functionAliasGroup(other);
        if (found !== undefined) {
          this.#search.decided?.({ rule: "alias", dev, other });
          return found;
        }
      }
    }
    return undefined;
  }

  /** For a function that its slot does not keep apart: the group of another such function, or of its aliases. */
  functionAliasGroup(dev: PciDev): G | undefined {
    if (!dev.multifunction || pciAcsEnabled(dev, ACS_ISOLATION)) {
      return undefined;
    }
    for (const other of this.#others(dev)) {
      if (other.rid >>> 3 === dev.rid >>> 3 && !pciAcsEnabled(other, ACS_ISOLATION)) {
        const found = this.aliasGroup(other);
        if (found !== undefined) {
          const verdict = pciAcsVerdict(dev, ACS_ISOLATION);
          const otherVerdict = pciAcsVerdict(other, ACS_ISOLATION);
          this.#search.decided?.({ rule: "slot", dev, other, verdict, otherVerdict });
          return found;
        }
      }
    }
    return undefined;
  }

  *#others(dev: PciDev): Iterable<PciDev> {
    for (const other of this.#search.devices) {
      if (
        other !== dev &&
        other.busNumber === dev.busNumber &&
        other.bridge === dev.bridge &&
        other.segment === dev.segment
      ) {
        yield other;
      }
    }
  }
}

/**
 * Finds the group that a function joins; undefined = it starts one. Functions that share a requester ID, that can reach each
 * other without passing the IOMMU, or that sit in one slot without being kept apart belong together.
 *
 * Source: Linux 7.2 `pci_device_group()`, `get_pci_alias_group()`, `get_pci_function_alias_group()`; the same in 6.1 and
 * 6.12.
 */
export function findPciGroup<G>(start: PciDev, search: GroupSearch<G>): G | undefined {
  let dev = start;
  for (const alias of pciForEachDmaAlias(start)) {
    if (alias.dev !== dev) {
      search.decided?.({ rule: "requester-id", dev: start, alias });
    }
    ({ dev } = alias);
    const group = search.groupOf(dev);
    if (group !== undefined) {
      return group;
    }
  }
  for (let bridge = dev.bridge; bridge !== undefined; bridge = bridge.bridge) {
    const gap = pciAcsPathGap(bridge, ACS_ISOLATION);
    if (gap === undefined) {
      search.decided?.({ rule: "path-isolated", dev, bridge });
      break;
    }
    search.decided?.({ rule: "path", dev, bridge, hop: gap.dev, verdict: gap.verdict });
    dev = bridge;
    const group = search.groupOf(dev);
    if (group !== undefined) {
      return group;
    }
  }
  const onBus = new BusSearch(search);
  const found = onBus.aliasGroup(dev) ?? onBus.functionAliasGroup(dev);
  if (found === undefined) {
    search.decided?.({ rule: "new", dev, verdict: pciAcsVerdict(dev, ACS_ISOLATION) });
  }
  return found;
}

/**
 * The group of a PCI function, for a driver's `device_group`.
 *
 * Source: Linux 7.2 `pci_device_group()`.
 */
export function pciDeviceGroup(device: Device, core: IommuCore): GroupHint {
  const groups = new Map<PciDev, Group | undefined>();
  for (const { bus, group } of core.devices) {
    if (bus instanceof PciDev) {
      groups.set(bus, group);
    }
  }
  const devices = [...groups.keys()];
  return findPciGroup(pciDev(device), { devices, groupOf: (dev) => groups.get(dev) }) ?? "new";
}
