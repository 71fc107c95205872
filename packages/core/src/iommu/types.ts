import type { PageTableFormat } from "../page-table/format.ts";
import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import type { Group } from "./group.ts";

/** A PASID: 1 … 2^20-1. Index 0 stands for "no PASID". */
export type Pasid = number;

/**
 * What a domain is. `DMA` and `DMA-FQ` belong to the DMA API (strict and lazy), `UNMANAGED` is a paging domain of a user
 * (VFIO, iommufd, a driver), `SVA` is a process's own page table.
 */
export type DomainType = "IDENTITY" | "BLOCKED" | "DMA" | "DMA-FQ" | "UNMANAGED" | "SVA";

/**
 * A translation a device can be attached to. As in the kernel, the operations are the domain's, and they are the
 * vendor's code. BLOCKED and IDENTITY are usually one static object of the driver.
 */
export interface Domain {
  /** Number on this platform, from 1; for printing. */
  readonly id: number;
  /** The core turns a live `DMA` domain into `DMA-FQ` in place (sysfs `type`); everything else is fixed. */
  type: DomainType;
  /** The driver it belongs to; the core refuses domains of another one. */
  readonly driver: IommuDriver;
  /**
   * Makes it the translation of the device's requests without PASID (`attach_dev`). `old` = what the core believes is
   * attached now; always undefined before 7.2, where a driver looks at the group (`iommu_get_domain_for_dev()`).
   *
   * @throws KernelError; the driver must then leave the device as the kernel's would
   */
  attach(device: Device, old: Domain | undefined): Op<void>;
  /** The same for a PASID (`set_dev_pasid`). Absent = EOPNOTSUPP. On BLOCKED it removes the PASID. */
  setPasid?(device: Device, pasid: Pasid, old: Domain | undefined): Op<void>;
  /** Maps pages (see {@link PageTable.map}). Absent on domains without a table of their own. */
  map?(page: number, target: number, count: number, prot: number): Op<void>;
  /** Unmaps pages and invalidates IOTLB, then ATCs (`iotlb_sync`). @returns how many pages were mapped */
  unmap?(page: number, count: number): Op<number>;
  /** Invalidates everything cached of the domain (`flush_iotlb_all`). */
  flushAll?(): Op<void>;
  /** What a page is mapped to, by the domain's table (`iova_to_phys`): a host page number. */
  lookup?(page: number): number | undefined;
  /** First page number beyond what can be mapped. */
  readonly endPage?: number;
  /** Gives its tables back. The core calls it when nothing is attached any more. */
  free?(): void;
}

/** A region that firmware or hardware keeps for itself. */
export interface ReservedRegion {
  /** First page number. */
  readonly page: number;
  /** Number of pages. */
  readonly count: number;
  /** Union of the `PROT_` bits. */
  readonly prot: number;
  /** As in sysfs: `direct` and `direct-relaxable` are mapped 1:1, `msi` is translated by hardware, `sw-msi` is a window. */
  readonly type: "direct" | "direct-relaxable" | "reserved" | "msi" | "sw-msi";
}

/** Which group a device belongs to: one that exists, or a new one. */
export type GroupHint = Group | "new";

/** What the core asks for when it wants a paging domain. */
export interface PagingRequest {
  /** Who maps in it. */
  readonly type: "DMA" | "DMA-FQ" | "UNMANAGED";
  /** The domain must be attachable to PASIDs, and live beside them on the RID (`IOMMU_HWPT_ALLOC_PASID`). */
  readonly pasid: boolean;
}

/** What a device driver asked for before it shared a process (`enum iommu_dev_features`, until 6.12). */
export type DeviceFeature = "iopf" | "sva";

/** The address space of a process, shared with devices by SVA. */
export interface ProcessMemory {
  /** For printing. */
  readonly name: string;
  /** Physical address of its top table. */
  readonly root: number;
  /** Format of its tables. */
  readonly formatName: string;
}

/**
 * What a vendor's kernel driver does. It mirrors the kernel's `iommu_ops`, so that a reader of the kernel knows where to
 * look.
 */
export interface IommuDriver {
  /** Such as `arm-smmu-v3`, `intel-iommu`, `amd-iommu`. */
  readonly name: string;
  /** `probe_device`. @throws KernelError ENODEV when the device is not behind this driver's hardware */
  probeDevice(device: Device): Op<void>;
  /** `probe_finalize`, outside all locks, after the first default attach. */
  probeFinalize?(device: Device): Op<void>;
  /** `release_device`, after the release domain was attached. */
  releaseDevice?(device: Device): Op<void>;
  /** `device_group`. */
  deviceGroup(device: Device): GroupHint;
  /** `def_domain_type`; undefined = no opinion. */
  defaultDomainType?(device: Device): DomainType | undefined;
  /** `get_resv_regions`. */
  reservedRegions(device: Device): readonly ReservedRegion[];
  /** `is_attach_deferred`. */
  isAttachDeferred?(device: Device): boolean;
  /** PASIDs the unit serving the device can take; the core takes the minimum with the device's own number. */
  maxPasids(device: Device): number;
  /** The static IDENTITY domain. */
  readonly identity?: Domain;
  /** An IDENTITY domain of the device's own, where the driver has no static one (AMD until 6.12). */
  allocIdentity?(device: Device): Domain;
  /** The static BLOCKED domain. */
  readonly blocked?: Domain;
  /** What the core attaches when the device goes away. */
  readonly releaseDomain?: Domain;
  /** `domain_alloc_paging_flags`. @throws KernelError EOPNOTSUPP for a request it cannot serve */
  allocPaging(device: Device, request: PagingRequest): Domain;
  /**
   * Whether this architecture's distribution kernel flushes lazily: the default domain is then `DMA-FQ` instead of `DMA`
   * (Debian: x86 yes unless the driver forces strict, arm64 no). Default false.
   */
  readonly lazyByDefault?: boolean;
  /** The page-table format of the CPUs beside this IOMMU: what a process shared by SVA is written in. */
  readonly processFormat?: PageTableFormat;
  /** `remove_dev_pasid`: takes a PASID away where BLOCKED does not (6.12). */
  removePasid?(device: Device, pasid: Pasid, domain: Domain): Op<void>;
  /**
   * Firmware describes which devices this IOMMU serves (device tree, IORT): 6.1 and 6.12 then probe a device when a
   * driver starts to bind to it. Default false.
   */
  readonly firmwareDescribed?: boolean;
  /** `dev_enable_feat`, until 6.12. @throws KernelError */
  enableFeature?(device: Device, feature: DeviceFeature): Op<void>;
  /** `dev_disable_feat`, until 6.12. @throws KernelError */
  disableFeature?(device: Device, feature: DeviceFeature): Op<void>;
  /** `domain_alloc_sva`; absent = no SVA. @throws KernelError */
  allocSva?(device: Device, process: ProcessMemory): Domain;
  /** What the driver's own variable says of ATS, for observers: it can differ from the wire. */
  believesAtsEnabled(device: Device): boolean;
}

/**
 * All that the IOMMU core knows of a device's bus: the port that `pci` implements. The core itself reads no config
 * space.
 */
export interface BusDevice {
  /** Such as `0000:01:00.0`. */
  readonly name: string;
  /** Whether it still answers. */
  present(): boolean;
  /** Below an external-facing port. */
  readonly untrusted: boolean;
  /** `pci_ats_supported()`: the gate of reset staging. */
  atsSupported(): boolean;
  /** PASIDs the device can send (2^width), 0 without the capability. */
  maxPasids(): number;
  /** Whether the two share a requester ID on the bus. */
  sharesAlias(other: BusDevice): boolean;
  /** `bus->dma_configure` as far as it is the bus's own work; run before the first probe of a device without a driver. */
  dmaConfigure?(): Op<void>;
}
