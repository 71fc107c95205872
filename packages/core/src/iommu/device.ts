import type { Digest } from "../sim/digest.ts";
import type { Group } from "./group.ts";
import type { BusDevice, IommuDriver } from "./types.ts";

/** A device driver as the driver core sees it, reduced to its DMA habits. */
export interface DeviceDriver {
  /** Such as `nic`, `vfio-pci`, `pcieport`. */
  readonly name: string;
  /** `driver_managed_dma`: binding claims nothing for the DMA API. */
  readonly managesDma: boolean;
}

/** What the core keeps for a device that an IOMMU driver serves (`dev->iommu`). */
export interface DeviceIommu {
  /** The driver that serves it. */
  readonly driver: IommuDriver;
  /** min(device, unit); 0 = no PASID (`dev->iommu->max_pasids`). */
  maxPasids: number;
  /** A `direct` region was seen; sticky (`require_direct`). */
  requireDirect: boolean;
  /** `attach_deferred`. */
  attachDeferred: boolean;
}

/** A device as Linux's driver core knows it. */
export class Device {
  /** Number on this platform, from 1. */
  readonly id: number;
  /** Its bus's side of it. */
  readonly bus: BusDevice;
  /** Its group once it is probed. */
  group: Group | undefined;
  /** The driver bound to it. */
  driver: DeviceDriver | undefined;
  /** Set while an IOMMU driver serves it. */
  iommu: DeviceIommu | undefined;

  constructor(id: number, bus: BusDevice) {
    this.id = id;
    this.bus = bus;
  }

  /** The bus's name of the device. */
  get name(): string {
    return this.bus.name;
  }

  /** Writes what the driver core knows of it; the bus's own state is the bus's to write. */
  digest(into: Digest): void {
    const { driver, group, id, iommu } = this;
    into.number(id);
    into.number(group === undefined ? -1 : group.id);
    into.text(driver?.name ?? "");
    into.number(iommu === undefined ? -1 : iommu.maxPasids);
    into.number((iommu?.requireDirect === true ? 1 : 0) + (iommu?.attachDeferred === true ? 2 : 0));
  }
}
