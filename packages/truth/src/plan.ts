import type { Device, DeviceDriver, Group, IommuCore, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciBus } from "@iommu-lab/pci";

/** The kernel's interfaces that phases use. */
export interface Kernel {
  readonly core: IommuCore;
  readonly bus: PciBus;
  /** Addresses of all functions of the machine, whether the kernel knows them now or not. */
  readonly functions: ReadonlySet<string>;
  /** The device at an address; undefined when the model has none there. */
  deviceAt(address: string): Device | undefined;
}

/** How a device stood when a phase began, as far as the recording tells; undefined where it does not. */
export interface Start {
  /** `none` or a driver's name. */
  readonly driver: string | undefined;
  /** The group's type. */
  readonly type: string | undefined;
}

/** How a phase is played. */
export interface Plan {
  /** Addresses of the devices that are compared afterwards. */
  readonly targets: readonly string[];
  /** Where devices must stand first. */
  readonly starts: readonly (readonly [Device, Start])[];
  /** Does what the phase's command did. Throws KernelError what the command would have printed. */
  run(): Op<void>;
}

/** A driver. Port drivers and VFIO do not claim the group for the DMA API: `driver_managed_dma`. */
export function driverNamed(name: string): DeviceDriver {
  return { name, managesDma: name === "pcieport" || name === "vfio-pci" };
}

/** The group of a device. @throws KernelError ENODEV without one */
export function groupOf(device: Device): Group {
  if (device.group === undefined) {
    throw new KernelError("ENODEV", `${device.name} is in no IOMMU group`);
  }
  return device.group;
}

/** A group's type as sysfs prints it. */
export function typeOf(group: Group): string {
  const type = group.defaultDomain?.type;
  if (type === undefined) {
    return "none";
  }
  return type.startsWith("DMA") ? type : type.toLowerCase();
}
