import type {
  Device,
  Digest,
  Digestible,
  Domain,
  DomainType,
  GroupHint,
  IommuCore,
  IommuDriver,
  Op,
  PageTableFormat,
  PagingRequest,
  ProcessMemory,
  Pasid,
  ReservedRegion,
} from "@iommu-lab/core";
import { KernelError, Lock, PROT_MMIO, PROT_NOEXEC, PROT_WRITE } from "@iommu-lab/core";
import type { AtsPolicy } from "@iommu-lab/pci";
import { PciDev, pciDeviceGroup, pciForEachDmaAlias } from "@iommu-lab/pci";
import { vmsav8_64Process } from "../layout/vmsav8-64.ts";
import { AsidAllocator } from "./asid-allocator.ts";
import type { SmmuFirmwareView, SmmuNode } from "../firmware/firmware-view.ts";
import { disableDevice, resetDevice } from "./device-reset.ts";
import { IdentityDomain61, detachDevice } from "./linux-6-1.ts";
import { BlockedDomain, IdentityDomain, SvaDomain } from "./domains.ts";
import type { DriverContext } from "./driver-context.ts";
import { Master } from "./master.ts";
import { removePasid } from "./pasid-attach.ts";
import type { TrackedDomain } from "./tracked-domain.ts";
import type { DriverVersion } from "./version.ts";
import type { DriverPorts } from "./ports.ts";
import { OWNER } from "./ports.ts";
import { installBypassStes } from "./reserved-memory.ts";
import { disablePasid, enablePasid, insertMaster, removeMaster } from "./probe.ts";
import type { SmmuDescription } from "./smmu-device.ts";
import { SmmuDevice } from "./smmu-device.ts";

/** Where doorbells of a user's domain go: `MSI_IOVA_BASE`, 1 MiB. */
const MSI_WINDOW: ReservedRegion = {
  page: 0x8000,
  count: 0x100,
  prot: PROT_WRITE | PROT_NOEXEC | PROT_MMIO,
  type: "sw-msi",
};

/** What a kernel starts from. */
export interface SmmuBoot {
  /** Reads what firmware left: once, when the driver starts. */
  readonly readFirmware: () => SmmuFirmwareView;
  /** Name of an SMMU in traces, by its place in the firmware's list. */
  readonly nameOf: (index: number) => string;
  /** The kernel runs at EL2 (VHE). */
  readonly vhe: boolean;
  /** Firmware asked to keep the PCI configuration it made: only then do reserved ranges of PCI functions count. */
  readonly preservesConfig: boolean;
}

/** HiSilicon's PCIe tune and trace device works with IDENTITY alone. */
const HISI_PTT = { vendor: 0x19e5, device: 0xa12e } as const;

/** Linux's SMMUv3 driver (`drivers/iommu/arm/arm-smmu-v3`). */
export class ArmSmmuV3Driver implements IommuDriver, DriverContext, Digestible {
  readonly name: string = OWNER;
  readonly processFormat: PageTableFormat = vmsav8_64Process;
  /** The static IDENTITY domain; absent where each group has its own (6.1). */
  readonly identity?: Domain;
  /** The static BLOCKED domain; absent where an empty paging domain stands for it (6.1). */
  readonly blocked?: Domain;
  /** What the core attaches when a function goes; absent where the driver does it itself. */
  readonly releaseDomain?: Domain;
  readonly policy: AtsPolicy;
  readonly version: DriverVersion;
  /** A device tree or an IORT says which devices it serves. */
  readonly firmwareDescribed = true;
  readonly asidLock: Lock = new Lock("arm_smmu_asid_lock");
  readonly asids: AsidAllocator = new AsidAllocator();
  readonly domains: Map<number, TrackedDomain> = new Map();
  readonly #core: IommuCore;
  readonly #ports: DriverPorts;
  readonly #boot: SmmuBoot;
  readonly #smmus: SmmuDevice[] = [];
  #firmware: SmmuFirmwareView | undefined;
  readonly #masters = new Map<Device, Master>();

  constructor(boot: SmmuBoot, ports: DriverPorts, policy: AtsPolicy) {
    this.#boot = boot;
    this.#ports = ports;
    this.#core = ports.core;
    this.policy = policy;
    this.version = ports.version;
    if (this.version.staticDomains) {
      this.identity = new IdentityDomain(this);
      this.blocked = new BlockedDomain(this);
      if (this.version.releasedBy === "core") {
        this.releaseDomain = this.blocked;
      }
    }
  }

  /** As the domains see it. */
  get driver(): IommuDriver {
    return this;
  }

  /** The SMMUs that are up. */
  get smmus(): readonly SmmuDevice[] {
    return this.#smmus;
  }

  /**
   * Probes and brings up every SMMU, then lets the core probe all devices. When that fails the SMMUs are turned off
   * again and their devices stay without translation.
   *
   * Source: Linux 7.2 `arm_smmu_device_probe()`, `arm_smmu_disable_action()`.
   */
  *start(): Op<void> {
    try {
      const firmware = this.#boot.readFirmware();
      this.#firmware = firmware;
      for (const [index, node] of firmware.smmus.entries()) {
        const smmu = new SmmuDevice(this.#describe(firmware, node, index), this.#ports);
        this.#smmus.push(smmu);
        installBypassStes(smmu, firmware.reservedOf(index));
        yield* resetDevice(smmu);
      }
      yield* this.#core.registerDriver(this);
    } catch (error) {
      if (!(error instanceof KernelError)) {
        throw error;
      }
      const { trace } = this.#ports;
      if (trace.active) {
        trace.emit("warn", { where: "arm_smmu_device_probe", what: `Failed to register iommu: ${error.message}` });
      }
      for (const smmu of this.#smmus.splice(0)) {
        yield* disableDevice(smmu);
      }
    }
  }

  /**
   * Source: Linux 7.2 `arm_smmu_probe_device()`.
   *
   * @throws KernelError ENODEV when no SMMU serves the function or an alias of it is taken, ERANGE, EOPNOTSUPP when ATS
   * is required and cannot be had
   */
  *probeDevice(device: Device): Op<void> {
    const { bus } = device;
    if (!(bus instanceof PciDev)) {
      throw new KernelError("ENODEV", `${device.name} is no PCI function`);
    }
    const master = new Master(device, bus, ...this.#streamsOf(device, bus));
    yield* insertMaster(master);
    yield* enablePasid(master);
    try {
      yield* this.version.prepareAts(master, this.policy);
    } catch (error) {
      yield* disablePasid(master);
      removeMaster(master);
      throw error;
    }
    this.#masters.set(device, master);
  }

  /** Source: Linux 7.2, 6.12 and 6.1 `arm_smmu_release_device()`. */
  *releaseDevice(device: Device): Op<void> {
    const master = this.masterOf(device);
    if (this.version.releasedBy === "detach") {
      yield* detachDevice(master);
    } else if (this.version.releasedBy === "driver") {
      const last = device.iommu?.requireDirect === true ? this.identity : this.blocked;
      yield* last?.attach(device, this.ridDomainOf(device)) ?? [];
    }
    yield* disablePasid(master);
    removeMaster(master);
    master.cdTable.free();
    this.#masters.delete(device);
  }

  /** An IDENTITY domain for one group. Source: Linux 6.1 `arm_smmu_domain_alloc()`. */
  allocIdentity(_device: Device): Domain {
    return new IdentityDomain61(this);
  }

  /** Source: Linux 6.12 `arm_smmu_remove_dev_pasid()`. */
  *removePasid(device: Device, pasid: Pasid, domain: Domain): Op<void> {
    yield* removePasid(this, device, pasid, domain);
  }

  deviceGroup(device: Device): GroupHint {
    return pciDeviceGroup(device, this.#core);
  }

  /** Source: Linux 7.2 `arm_smmu_def_domain_type()`. */
  defaultDomainType(device: Device): DomainType | undefined {
    const { pci } = this.masterOf(device);
    return pci.vendor === HISI_PTT.vendor && pci.device === HISI_PTT.device ? "IDENTITY" : undefined;
  }

  /** Source: Linux 7.2 `arm_smmu_get_resv_regions()`, `iort_rmr_has_dev()`. */
  reservedRegions(device: Device): readonly ReservedRegion[] {
    const master = this.#masters.get(device);
    if (master === undefined || this.#firmware === undefined || !this.#boot.preservesConfig) {
      return [MSI_WINDOW];
    }
    const regions = this.#firmware.reservedOf(master.smmu.description.index, master.streams);
    return [MSI_WINDOW, ...regions.map(({ page, count, prot, type }) => ({ page, count, prot, type }))];
  }

  maxPasids(device: Device): number {
    return 2 ** this.masterOf(device).smmu.features.substreamIdBits;
  }

  /**
   * Stage 1 for every request. Source: Linux 7.2 `arm_smmu_domain_alloc_paging_flags()`.
   *
   * @throws KernelError EOPNOTSUPP for an SMMU without stage 1
   */
  allocPaging(device: Device, request: PagingRequest): Domain {
    const { smmu } = this.masterOf(device);
    if (!smmu.features.stage1) {
      throw new KernelError("EOPNOTSUPP", `${smmu.name} has no stage 1`);
    }
    return this.version.newPaging(this, smmu, request.type);
  }

  /**
   * Source: Linux 7.2 `arm_smmu_sva_domain_alloc()`.
   *
   * @throws KernelError EOPNOTSUPP for an SMMU that cannot share the CPUs' tables, EINVAL for tables of another format
   */
  allocSva(device: Device, process: ProcessMemory): Domain {
    const { smmu } = this.masterOf(device);
    if (!smmu.features.sva) {
      throw new KernelError("EOPNOTSUPP", `${smmu.name} cannot share address spaces`);
    }
    if (process.formatName !== vmsav8_64Process.name) {
      throw new KernelError("EINVAL", `an SMMU does not read ${process.formatName} tables`);
    }
    return new SvaDomain(this, smmu, process);
  }

  /** Writes all that the driver keeps outside memory: SMMUs, functions, domains, tags, its lock. */
  digest(into: Digest): void {
    this.asidLock.digest(into);
    this.asids.digest(into);
    for (const smmu of this.#smmus) {
      smmu.digest(into);
    }
    into.number(this.#masters.size);
    for (const [, master] of [...this.#masters].toSorted(([a], [b]) => a.id - b.id)) {
      master.digest(into);
    }
    into.number(this.domains.size);
    for (const domain of this.domains.values()) {
      domain.digest(into);
    }
  }

  believesAtsEnabled(device: Device): boolean {
    return this.#masters.get(device)?.atsEnabled ?? false;
  }

  masterOf(device: Device): Master {
    const master = this.#masters.get(device);
    if (master === undefined) {
      throw new KernelError("ENODEV", `no SMMU serves ${device.name}`);
    }
    return master;
  }

  ridDomainOf(device: Device): Domain | undefined {
    return this.#core.driverDomain(device);
  }

  newDomainId(): number {
    return this.#core.newDomainId();
  }

  /**
   * The SMMU and the StreamIDs of a function, ascending.
   *
   * Source: Linux 7.2 `iort_pci_iommu_init()`, `acpi_iommu_fwspec_init()`, `arm_smmu_insert_master()`.
   *
   * @throws KernelError ENODEV when no SMMU is in its way, EINVAL when its aliases go to different ones
   */
  #streamsOf(device: Device, bus: PciDev): [SmmuDevice, readonly number[]] {
    const ids = new Set<number>();
    let smmu: SmmuDevice | undefined;
    for (const { rid } of pciForEachDmaAlias(bus)) {
      const stream = this.#firmware?.streamOf(rid);
      const found = stream === undefined ? undefined : this.#smmus[stream.smmu];
      if (stream === undefined || found === undefined) {
        throw new KernelError("ENODEV", `no SMMU serves ${device.name}`);
      }
      if (smmu !== undefined && smmu !== found) {
        throw new KernelError("EINVAL", `the requester IDs of ${device.name} go to different SMMUs`);
      }
      smmu = found;
      ids.add(stream.sid);
    }
    if (smmu === undefined) {
      throw new KernelError("ENODEV", `no SMMU serves ${device.name}`);
    }
    return [smmu, [...ids].toSorted((a, b) => a - b)];
  }

  #describe(firmware: SmmuFirmwareView, node: SmmuNode, index: number): SmmuDescription {
    const { base, coherent, httu } = node;
    const { rootComplexAts } = firmware;
    return { name: this.#boot.nameOf(index), index, base, coherent, httu, vhe: this.#boot.vhe, rootComplexAts };
  }
}
