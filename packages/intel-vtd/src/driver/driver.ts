import type {
  Device,
  DeviceFeature,
  Domain,
  DomainType,
  GroupHint,
  IommuCore,
  IommuDriver,
  Op,
  PageTableFormat,
  PagingRequest,
  ProcessMemory,
  ReservedRegion,
} from "@iommu-lab/core";
import { KernelError, PROT_READ, PROT_WRITE, x86_64 } from "@iommu-lab/core";
import type { AtsPolicy, PciDev } from "@iommu-lab/pci";
import { pciDev, pciDeviceGroup } from "@iommu-lab/pci";
import { AtsControl, decided } from "./ats-control.ts";
import { Attachments61 } from "./attachments-6-1.ts";
import { Attachments } from "./attachments.ts";
import type { DeviceInfo } from "./device-info.ts";
import type { DmarView } from "./dmar-view.ts";
import { disablePageRequests, enablePageRequests } from "./page-requests.ts";
import { PagingDomain, type RidOperations } from "./paging-domain.ts";
import { choosePagingTable } from "./paging-table.ts";
import { PasidAttachments } from "./pasid-attachments.ts";
import { finalizeDevice, probeDevice, releaseDevice } from "./probe.ts";
import type { ServedUnit } from "./served-unit.ts";
import { BlockedDomain, IdentityDomain } from "./static-domains.ts";
import { SvaDomain } from "./sva-domain.ts";
import type { VtdVersion } from "./version.ts";

/** `IOAPIC_RANGE_START` and length, in pages. */
const MSI_PAGE = 0xfee00;
const MSI_PAGES = 0x100;
const PAGE_BYTES = 4096;
const CLASS_ISA_BRIDGE = 0x0601;
const CLASS_USB = 0x0c03;
const BASE_CLASS_DISPLAY = 0x03;
/** First 16 MiB, for floppies behind ISA bridges (`CONFIG_INTEL_IOMMU_FLOPPY_WA`). */
const FLOPPY_PAGES = 0x1000;

/** What the driver is built from. */
export interface IntelIommuDriverParts {
  readonly core: IommuCore;
  readonly version: VtdVersion;
  readonly policy: AtsPolicy;
  /** The DMAR. */
  readonly firmware: DmarView;
  /** Which unit serves a function (`device_lookup_iommu()`); undefined = none. */
  readonly unitOf: (dev: PciDev) => ServedUnit | undefined;
  /** Lazy flushing was not switched off. */
  readonly lazy: boolean;
}

/** Linux's VT-d driver (`intel_iommu_ops`). */
export class IntelIommuDriver implements IommuDriver {
  readonly name = "intel-iommu";
  readonly identity: IdentityDomain;
  readonly blocked?: BlockedDomain;
  readonly releaseDomain?: BlockedDomain;
  readonly lazyByDefault: boolean;
  readonly processFormat: PageTableFormat = x86_64;
  readonly #core: IommuCore;
  readonly #parts: IntelIommuDriverParts;
  readonly #ats: AtsControl;
  readonly #infos = new Map<Device, DeviceInfo>();
  readonly #attachments: RidOperations;
  readonly #pasids: PasidAttachments;

  constructor(parts: IntelIommuDriverParts) {
    this.#core = parts.core;
    this.#parts = parts;
    this.lazyByDefault = parts.lazy;
    this.#ats = new AtsControl(parts.policy, parts.version);
    const infoOf = (device: Device): DeviceInfo => this.infoOf(device);
    this.#attachments =
      parts.version.context === "attach"
        ? new Attachments61(this.#ats, infoOf, (device) => this.#hasLockedRegion(device))
        : new Attachments(this.#ats, infoOf, parts.version);
    this.#pasids = new PasidAttachments(this.#ats, infoOf, parts.version);
    const attachments = this.#attachments;
    const pasids = this.#pasids;
    const operations = {
      attachIdentity: (device: Device) => attachments.attachIdentity(device),
      attachBlocked: (device: Device) => attachments.attachBlocked(device),
      setIdentityPasid: pasids.setIdentityPasid.bind(pasids),
      removePasid: pasids.removePasid.bind(pasids),
    };
    this.identity = new IdentityDomain(parts.core.newDomainId(), this, operations);
    if (parts.version.blockedDomain) {
      this.blocked = new BlockedDomain(parts.core.newDomainId(), this, operations);
      this.releaseDomain = this.blocked;
    }
  }

  /** `dev_iommu_priv_get()`. @throws KernelError ENODEV for a device that was not probed */
  infoOf(device: Device): DeviceInfo {
    const info = this.#infos.get(device);
    if (info === undefined) {
      throw new KernelError("ENODEV", `${device.name} is not served by ${this.name}`);
    }
    return info;
  }

  /** Whether a probed device with this requester ID still answers config reads (`device_rbtree_find()`). */
  devicePresent(rid: number): boolean {
    for (const info of this.#infos.values()) {
      if (info.rid === rid && info.dev.atsSupported()) {
        return info.dev.present();
      }
    }
    return false;
  }

  *probeDevice(device: Device): Op<void> {
    const dev = pciDev(device);
    const unit = this.#parts.unitOf(dev);
    if (unit === undefined) {
      throw new KernelError("ENODEV", `no remapping unit serves ${device.name}`);
    }
    this.#infos.set(device, yield* probeDevice(device, dev, unit, this.#parts));
  }

  *probeFinalize(device: Device): Op<void> {
    yield* finalizeDevice(this.infoOf(device), this.#ats, this.#parts.version);
  }

  *releaseDevice(device: Device): Op<void> {
    yield* releaseDevice(this.infoOf(device), this.#ats, this.#attachments, this.#parts.version);
    this.#infos.delete(device);
  }

  deviceGroup(device: Device): GroupHint {
    return pciDeviceGroup(device, this.#core);
  }

  /** Source: Linux 7.2 `device_def_domain_type()`, without its quirks. */
  defaultDomainType(device: Device): DomainType | undefined {
    const info = this.infoOf(device);
    if (info.unit.iommu.caps.pt) {
      return undefined;
    }
    decided(info, {
      rule: "vtd-no-pass-through",
      input: "ECAP.PT=0",
      answer: "DMA",
      reason: "ECAP.PT=0: the unit has no pass-through translation, so IDENTITY is not possible",
      source: "Linux 7.2 device_def_domain_type()",
      basis: "source",
    });
    return "DMA";
  }

  /** Source: Linux 7.2 `intel_iommu_get_resv_regions()`. */
  reservedRegions(device: Device): readonly ReservedRegion[] {
    const dev = pciDev(device);
    const prot = PROT_READ | PROT_WRITE;
    const type = relaxable(dev) ? "direct-relaxable" : "direct";
    const regions = this.#parts.firmware.regions(dev).map(({ base, limit }): ReservedRegion => {
      const page = Math.floor(base / PAGE_BYTES);
      return { page, count: Math.ceil((limit + 1) / PAGE_BYTES) - page, prot, type };
    });
    if (dev.class >>> 8 === CLASS_ISA_BRIDGE) {
      regions.push({ page: 0, count: FLOPPY_PAGES, prot, type: "direct-relaxable" });
    }
    return [...regions, { page: MSI_PAGE, count: MSI_PAGES, prot: 0, type: "msi" }];
  }

  maxPasids(device: Device): number {
    const { iommu } = this.infoOf(device).unit;
    return iommu.pasidSupported ? 2 ** iommu.caps.pasidBits : 0;
  }

  /** Source: Linux 7.2 `intel_iommu_domain_alloc_paging_flags()`. @throws KernelError EOPNOTSUPP */
  allocPaging(device: Device, request: PagingRequest): PagingDomain {
    const { unit } = this.infoOf(device);
    const shape = choosePagingTable(unit.iommu);
    const operations = {
      attachPaging: this.#attachments.attachPaging.bind(this.#attachments),
      setPagingPasid: this.#pasids.setPagingPasid.bind(this.#pasids),
    };
    const { batches } = this.#parts.version;
    return new PagingDomain(this.#core.newDomainId(), request.type, this, operations, unit, shape, batches);
  }

  /** Source: Linux 6.12 `intel_iommu_remove_dev_pasid()`. */
  removePasid(device: Device, pasid: number, domain: Domain): Op<void> {
    return this.#pasids.removePasid(device, pasid, domain);
  }

  /**
   * A device driver asks for page requests or for SVA before it shares a process.
   *
   * Source: Linux 6.12 `intel_iommu_dev_enable_feat()`.
   *
   * @throws KernelError ENODEV, EBUSY, EINVAL
   */
  *enableFeature(device: Device, feature: DeviceFeature): Op<void> {
    const info = this.infoOf(device);
    if (feature === "iopf") {
      yield* enablePageRequests(info, this.#ats);
    } else {
      this.#pasids.checkSva(info, false);
    }
  }

  /** Source: Linux 6.12 `intel_iommu_dev_disable_feat()`. @throws KernelError EINVAL when it is not on */
  *disableFeature(device: Device, feature: DeviceFeature): Op<void> {
    if (feature === "iopf") {
      yield* disablePageRequests(this.infoOf(device), this.#ats);
    }
  }

  /**
   * Source: Linux 7.2 `intel_svm_domain_alloc()`. Before, the check was made when the feature was enabled.
   *
   * @throws KernelError ENODEV, EINVAL
   */
  allocSva(device: Device, process: ProcessMemory): SvaDomain {
    if (this.#parts.version.pageRequests === "finalize") {
      this.#pasids.checkSva(this.infoOf(device), true);
    }
    return new SvaDomain(this.#core.newDomainId(), this, this.#pasids, process);
  }

  /** Source: Linux 6.1 `device_is_rmrr_locked()`. */
  #hasLockedRegion(device: Device): boolean {
    return this.reservedRegions(device).some(({ type }) => type === "direct");
  }

  believesAtsEnabled(device: Device): boolean {
    return this.#infos.get(device)?.atsEnabled ?? false;
  }
}

/** RMRRs of USB and graphics devices are left over from boot. Source: Linux 7.2 `device_rmrr_is_relaxable()`. */
function relaxable(dev: PciDev): boolean {
  return dev.class >>> 8 === CLASS_USB || dev.class >>> 16 === BASE_CLASS_DISPLAY;
}
