import type { Basis, Device, IommuCore } from "@iommu-lab/core";
import type { AtsPolicy, Rid } from "@iommu-lab/pci";
import type { Features } from "../layout/features.ts";
import { decodeFeatures } from "../layout/features.ts";
import type { AmdCommandLine } from "./command-line.ts";
import { DeviceData } from "./device-data.ts";
import { DeviceTable } from "./device-table.ts";
import { DomainIds } from "./domain-ids.ts";
import type { FirmwareDescription } from "../firmware/description.ts";
import { inRange } from "../firmware/description.ts";
import type { Gcr3Owner } from "./gcr3-table.ts";
import { AmdUnit } from "./unit.ts";
import type { DriverPorts } from "./unit.ts";
import type { AmdVersion } from "./version.ts";

/** What a driver is made from. */
export interface DriverSetup {
  readonly ports: DriverPorts;
  readonly core: IommuCore;
  readonly version: AmdVersion;
  readonly commandLine: AmdCommandLine;
  readonly firmware: FirmwareDescription;
  readonly policy: AtsPolicy;
}

/** A rule that was asked, for the trace. */
export interface Decision {
  readonly rule: string;
  readonly input: string;
  readonly answer: string;
  readonly reason: string;
  readonly source: string;
  readonly basis: Basis;
}

/** The driver's variables that belong to no single device or domain. */
export class DriverState implements Gcr3Owner {
  readonly ports: DriverPorts;
  readonly core: IommuCore;
  /** What the kernel that runs does otherwise than others. */
  readonly version: AmdVersion;
  readonly commandLine: AmdCommandLine;
  readonly firmware: FirmwareDescription;
  readonly policy: AtsPolicy;
  readonly units: readonly AmdUnit[];
  readonly domainIds: DomainIds = new DomainIds();
  readonly deviceTable: DeviceTable;
  /** `amd_iommu_efr` and `amd_iommu_efr2`: what all units have. */
  features: Features = decodeFeatures(0n, 0n);
  /** `amd_iommu_max_glx_val`: -1 before a unit told. */
  maxGlx = -1;
  /** `amd_iommu_iotlb_sup`: all units have IotlbSup. */
  iotlbSup = true;
  /** `amd_iommu_np_cache`. */
  npCache = false;
  /** `iommu_dma_strict`, as far as this driver sets it. */
  strict = false;
  /** `amd_iommu_pgtable`. */
  pageTable: "v1" | "v2" | "none";
  readonly #data = new Map<Rid, DeviceData>();
  readonly #probed = new Map<Device, DeviceData>();

  constructor(setup: DriverSetup) {
    this.ports = setup.ports;
    this.core = setup.core;
    this.version = setup.version;
    this.commandLine = setup.commandLine;
    this.firmware = setup.firmware;
    this.policy = setup.policy;
    this.pageTable = setup.commandLine.pageTable;
    this.units = setup.firmware.units.map((description, index) => new AmdUnit(index, description, setup.ports));
    this.deviceTable = new DeviceTable(
      setup.firmware,
      setup.ports,
      (unit, rid) => this.find(unit, rid),
      setup.version.copiesAliases,
    );
  }

  /** The unit that serves a requester ID. Source: Linux 7.2 `rlookup_amd_iommu()`, `check_device()`. */
  unitOf(rid: Rid): AmdUnit | undefined {
    if (rid > this.firmware.lastDeviceId) {
      return undefined;
    }
    return this.units.find(
      ({ description }) => rid !== description.deviceId && description.devices.some((range) => inRange(range, rid)),
    );
  }

  /** What is kept of a requester ID, made when there is nothing. Source: Linux 7.2 `find_dev_data()`. */
  find(unit: AmdUnit, rid: Rid): DeviceData {
    const known = this.#data.get(rid);
    if (known !== undefined) {
      return known;
    }
    const created = new DeviceData(rid, unit);
    this.#data.set(rid, created);
    return created;
  }

  /** What a probed device has (`dev_iommu_priv_get()`). */
  probed(device: Device): DeviceData | undefined {
    return this.#probed.get(device);
  }

  /** {@link DriverState.probed}. @throws Error for a device that was not probed */
  dataOf(device: Device): DeviceData {
    const data = this.#probed.get(device);
    if (data === undefined) {
      throw new Error(`${device.name} was not probed by the AMD driver`);
    }
    return data;
  }

  /** A device was probed. */
  setProbed(device: Device, data: DeviceData): void {
    this.#probed.set(device, data);
  }

  /** A device is gone; what is kept of its requester ID stays. */
  forget(device: Device): void {
    this.#probed.delete(device);
  }

  /** Source: Linux 7.2 `amd_iommu_v2_pgtbl_supported()`. */
  get v2Supported(): boolean {
    return this.features.gio && this.features.gt;
  }

  /** Source: Linux 7.2 `amd_iommu_gt_ppr_supported()`. */
  get gtPprSupported(): boolean {
    return this.v2Supported && this.features.ppr && this.features.eph;
  }

  /** Those of the features behind {@link DriverState.gtPprSupported} that a unit lacks. */
  get missingFeatures(): readonly string[] {
    const { gt, ppr, gio, eph } = this.features;
    const names = [!gt && "GT", !ppr && "PPR", !gio && "GIoSup", !eph && "EPHSup"];
    return names.filter((name) => name !== false);
  }

  /** The command line lets the driver look at what devices can do. Source: Linux 7.2 `iommu_init_device()`. */
  get capabilitiesPermitted(): boolean {
    return this.commandLine.passthroughDefault || !this.commandLine.forceIsolation;
  }

  /** Source: Linux 7.2 `amd_iommu_pasid_supported()`, on CPUs with 4-level tables and without SNP. */
  get pasidSupported(): boolean {
    return this.gtPprSupported;
  }

  /** Tells the trace that a rule was asked. */
  decide(device: string, decision: Decision): void {
    const { trace } = this.ports;
    if (trace.active) {
      trace.emit("decision", { device, ...decision });
    }
  }

  /** The kernel's WARN. */
  warn(where: string, what: string): void {
    const { trace } = this.ports;
    if (trace.active) {
      trace.emit("warn", { where, what });
    }
  }
}
