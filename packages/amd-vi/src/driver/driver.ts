import type {
  Device,
  Domain,
  DomainType,
  GroupHint,
  IommuDriver,
  Op,
  PageTableFormat,
  PagingRequest,
  Pasid,
  ProcessMemory,
  ReservedRegion,
} from "@iommu-lab/core";
import { KernelError, PROT_READ, PROT_WRITE, x86_64 } from "@iommu-lab/core";
import { pciDev, pciDeviceGroup } from "@iommu-lab/pci";
import { decideAts } from "./ats-decision.ts";
import { BlockedDomain, IdentityDomain, PagingDomain, SvaDomain } from "./domains.ts";
import { inRange } from "../firmware/description.ts";
import { detachDevice61 } from "./attachment-6-1.ts";
import { detachDevice } from "./attachment.ts";
import { removePasid } from "./pasid-attachment.ts";
import { probeDevice } from "./probe.ts";
import { ProtectionDomain } from "./protection-domain.ts";
import type { DeviceData } from "./device-data.ts";
import type { DriverState } from "./state.ts";

/** FEE0_0000 … FEEF_FFFF: interrupts. */
const MSI_REGION: ReservedRegion = { page: 0xfee00, count: 0x100, prot: 0, type: "msi" };
/** FD_0000_0000 … FF_FFFF_FFFF: HyperTransport. */
const HT_REGION: ReservedRegion = { page: 0xfd00000, count: 0x300000, prot: 0, type: "reserved" };

/**
 * Linux's driver of AMD-Vi.
 *
 * Source: Linux 7.2 drivers/iommu/amd, `amd_iommu_ops`.
 */
export class AmdIommuDriver implements IommuDriver {
  readonly name = "amd-iommu";
  readonly identity?: IdentityDomain;
  readonly blocked?: BlockedDomain;
  readonly releaseDomain?: Domain;
  readonly processFormat: PageTableFormat = x86_64;
  readonly #state: DriverState;

  constructor(state: DriverState) {
    this.#state = state;
    const { identity, blockedDomain, release } = state.version;
    if (identity === "static") {
      this.identity = new IdentityDomain(state, this);
    }
    if (blockedDomain) {
      this.blocked = new BlockedDomain(state, this);
    }
    if (release === "domain" && this.blocked !== undefined) {
      this.releaseDomain = this.blocked;
    }
  }

  /** Source: Linux 6.12 `amd_iommu_domain_alloc()`. */
  allocIdentity(): Domain {
    return new IdentityDomain(this.#state, this);
  }

  /** False when a unit has NpCache or the command line wants every unmap flushed. */
  get lazyByDefault(): boolean {
    return !this.#state.strict;
  }

  /** Source: Linux 7.2 `amd_iommu_probe_device()`. @throws KernelError ENODEV */
  probeDevice(device: Device): Op<void> {
    return probeDevice(this.#state, device);
  }

  /**
   * Source: Linux 7.2 `amd_iommu_release_device()`: the release domain should have unbound the device; with IDENTITY as
   * release domain (a direct region) it has bound it, and ATS stays on. Before 7.2 the driver unbinds it itself
   * (`amd_iommu_uninit_device()`).
   */
  *releaseDevice(device: Device): Op<void> {
    const data = this.#state.dataOf(device);
    if (this.#state.version.release === "detach") {
      yield* unbind(this.#state, data);
      this.#state.forget(device);
      return;
    }
    if (data.domain === undefined) {
      decideAts(this.#state, data, "release", "BLOCKED", data.gcr3.pasidCount);
    } else {
      this.#state.warn("amd_iommu_release_device", `${device.name} is still attached`);
      this.#state.decide(device.name, {
        rule: "amd-release-bound",
        input: `release: RID on ${data.domain.type}`,
        answer: data.atsEnabled ? "ATS on" : "ATS off",
        reason: `the device has a direct region: it is released on ${data.domain.type} and nothing is cleared`,
        source: "Linux 7.2 amd_iommu_release_device()",
        basis: "recorded",
      });
    }
    this.#state.forget(device);
  }

  /** Source: Linux 7.2 `amd_iommu_device_group()`. */
  deviceGroup(device: Device): GroupHint {
    return pciDeviceGroup(device, this.#state.core);
  }

  /** Source: Linux 7.2 `amd_iommu_def_domain_type()`. */
  defaultDomainType(device: Device): DomainType | undefined {
    const { pasidSupported } = this.#state.dataOf(device);
    const { memoryEncryption } = this.#state.commandLine;
    const { untrusted } = device.bus;
    const wish = untrusted ? "DMA" : pasidSupported && !memoryEncryption ? "IDENTITY" : undefined;
    this.#state.decide(device.name, {
      rule: "amd-def-domain-type",
      input: `untrusted=${untrusted}, PASID recorded=${pasidSupported}, memory encryption=${memoryEncryption}`,
      answer: wish ?? "no opinion",
      reason: explainWish(wish, pasidSupported),
      source: "Linux 7.2 amd_iommu_def_domain_type()",
      basis: untrusted || memoryEncryption ? "source" : "recorded",
    });
    return wish;
  }

  /** Source: Linux 7.2 `amd_iommu_get_resv_regions()`. */
  reservedRegions(device: Device): readonly ReservedRegion[] {
    const { rid } = pciDev(device);
    const { firmware, features } = this.#state;
    const direct = firmware.unityMaps
      .filter((map) => inRange(map, rid))
      .map(({ page, count, read, write }): ReservedRegion => {
        const prot = (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0);
        return { page, count, prot, type: "direct" };
      });
    return [...direct, MSI_REGION, ...(features.htRangeIgnore ? [] : [HT_REGION])];
  }

  /** PASIDs of the unit; 0 without GTSup. Source: Linux 7.2 `iommu_init_pci()`. */
  maxPasids(device: Device): number {
    return this.#state.dataOf(device).unit.maxPasids;
  }

  /**
   * Source: Linux 7.2 `amd_iommu_domain_alloc_paging_flags()`.
   *
   * @throws KernelError EOPNOTSUPP for PASID-compatible domains without PASID support
   */
  allocPaging(device: Device, request: PagingRequest): Domain {
    const mode = this.#tableMode(device, request);
    return new PagingDomain(this.#state, this, request.type, mode);
  }

  /** Source: Linux 7.2 `amd_iommu_domain_alloc_sva()`. @throws KernelError EINVAL for other than x86-64 tables */
  allocSva(device: Device, process: ProcessMemory): Domain {
    if (!this.#state.version.sva) {
      throw new KernelError("EOPNOTSUPP", `${device.name}: this kernel shares processes through another interface`);
    }
    if (process.formatName !== x86_64.name) {
      throw new KernelError("EINVAL", `${device.name}: ${process.formatName} is no guest page table`);
    }
    return new SvaDomain(this.#state, this, process);
  }

  believesAtsEnabled(device: Device): boolean {
    return this.#state.probed(device)?.atsEnabled ?? false;
  }

  /** Takes a PASID away. Source: Linux 6.12 `amd_iommu_remove_dev_pasid()`. @throws KernelOops when the GCR3 table is gone */
  *removePasid(device: Device, pasid: Pasid, domain: Domain): Op<void> {
    if (domain instanceof ProtectionDomain) {
      yield* removePasid(this.#state, this.#state.dataOf(device), domain, pasid);
    }
  }

  #tableMode(device: Device, request: PagingRequest): "v1" | "v2" {
    if (this.#state.version.usersGetV1 && request.type === "UNMANAGED" && !request.pasid) {
      return "v1";
    }
    const { pageTable, pasidSupported } = this.#state;
    if (request.pasid && !pasidSupported) {
      throw new KernelError("EOPNOTSUPP", "amd_iommu_domain_alloc_paging_flags: no PASID support");
    }
    const mode = request.pasid || pageTable === "v2" ? "v2" : "v1";
    this.#state.decide(device.name, {
      rule: "amd-page-table",
      input: `PASID-compatible=${request.pasid}, default ${pageTable}`,
      answer: mode,
      reason: request.pasid
        ? "PASIDs can live beside a guest (v2) table alone"
        : `no flag: the default page table, ${mode}`,
      source: "Linux 7.2 amd_iommu_domain_alloc_paging_flags()",
      basis: mode === "v1" ? "recorded" : "source",
    });
    return mode;
  }
}

/** Source: Linux 6.12 `amd_iommu_uninit_device()`, `amd_iommu_release_device()`. */
function* unbind(state: DriverState, device: DeviceData): Op<void> {
  decideAts(state, device, "release", "BLOCKED", device.gcr3.pasidCount);
  if (device.domain !== undefined) {
    yield* state.version.attach === "6.1" ? detachDevice61(state, device) : detachDevice(state, device);
  }
  yield* device.unit.completionWait();
}

function explainWish(wish: DomainType | undefined, pasidSupported: boolean): string {
  if (wish === "DMA") {
    return "an untrusted device is always translated";
  }
  if (wish === "IDENTITY") {
    return "a device with PASIDs is identity-mapped by default";
  }
  return pasidSupported
    ? "memory encryption: such a device may lack the encryption bit in its addresses"
    : "no PASID capability was recorded";
}
