import type {
  Device,
  Domain,
  DomainType,
  GroupHint,
  IommuCore,
  IommuDriver,
  Op,
  Pasid,
  Platform,
  Plugin,
  ReservedRegion,
} from "@iommu-lab/core";
import { BOOT, IOMMU_CORE, KernelError, Recorder, createPlatform, linux, preempt } from "@iommu-lab/core";
import {
  AT_MASK,
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  type Endpoint,
  type EndpointOptions,
  FABRIC,
  type Fabric,
  type IommuHardware,
  PCI_BUS,
  type PageRequest,
  type PciBus,
  type PciDev,
  REQUEST_WRITE,
  type Rid,
  type TopologyDescription,
  TOPOLOGY,
  TranslateResult,
  pci,
  pciDev,
  pciDeviceGroup,
  pciDisableAts,
  pciDisablePasid,
  pciEnableAts,
  pciEnablePasid,
  pciTopology,
} from "@iommu-lab/pci";

/** What a fake IOMMU answers for one page. */
export interface FakeMapping {
  readonly host: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly sizeLog2?: number;
  readonly global?: boolean;
  readonly untranslatedOnly?: boolean;
  readonly cxlIo?: boolean;
}

/** One request as the IOMMU saw it. */
export interface SeenRequest {
  readonly rid: Rid;
  readonly pasid: number;
  readonly page: number;
  readonly offset: number;
  readonly flags: number;
}

/** An IOMMU with a table of single answers, which writes down everything it sees. */
class FakeIommu implements IommuHardware {
  readonly name = "fake0";
  /** Whether Translation Requests and Translated requests are permitted. */
  ats = true;
  /** When set, the answer to every Translation Request. */
  translationStatus: "UR" | "CA" | undefined;
  readonly seen: SeenRequest[] = [];
  readonly pageRequests: PageRequest[] = [];
  readonly completions: { readonly rid: Rid; readonly itags: number; readonly count: number }[] = [];
  readonly #mappings = new Map<string, FakeMapping>();
  readonly #result = new TranslateResult();

  map(pasid: number, page: number, mapping: FakeMapping): void {
    this.#mappings.set(`${pasid}:${page}`, mapping);
  }

  unmap(pasid: number, page: number): void {
    this.#mappings.delete(`${pasid}:${page}`);
  }

  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    this.seen.push({ rid, pasid, page, offset, flags });
    const type = flags & AT_MASK;
    if (type === AT_TRANSLATED) {
      return this.ats ? this.#result.pass(page, true, true) : this.#result.refuse("UR", "ATS is not permitted", true);
    }
    if (type === AT_TRANSLATION_REQUEST && !this.ats) {
      return this.#result.refuse("UR", "", false);
    }
    if (type === AT_TRANSLATION_REQUEST && this.translationStatus !== undefined) {
      return this.#result.refuse(this.translationStatus, "told to", false);
    }
    const mapping = this.#mappings.get(`${pasid}:${page}`);
    if (type === AT_TRANSLATION_REQUEST) {
      this.#result.pass(mapping?.host ?? 0, mapping?.read ?? false, mapping?.write ?? false, mapping?.sizeLog2);
      this.#result.global = mapping?.global ?? false;
      this.#result.untranslatedOnly = mapping?.untranslatedOnly ?? false;
      this.#result.cxlIo = mapping?.cxlIo ?? false;
      return this.#result;
    }
    const allowed = (flags & REQUEST_WRITE) === 0 ? mapping?.read : mapping?.write;
    return mapping !== undefined && allowed === true
      ? this.#result.pass(mapping.host, mapping.read, mapping.write)
      : this.#result.refuse("UR", "not mapped", true);
  }

  pageRequest(request: PageRequest): void {
    this.pageRequests.push(request);
  }

  invalidateCompletion(rid: Rid, itags: number, count: number): void {
    this.completions.push({ rid, itags, count });
  }
}

/** A NIC with everything. */
export const nic: EndpointOptions = {
  vendor: 0x1af4,
  device: 0x1041,
  class: 0x020000,
  ats: { queueDepth: 32, globalInvalidate: true },
  pasid: { width: 16, exec: true, priv: true },
  pri: { capacity: 4 },
};

/** One NIC at 01:00.0 below a root port at 00:01.0. */
export const oneNic: TopologyDescription = pciTopology({
  rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: nic } }],
});

export const NIC: Rid = 0x100;
export const ROOT_PORT: Rid = 0x08;

/** A platform with PCI functions and, unless asked otherwise, a fake IOMMU that serves all. Not booted. */
export class Machine {
  readonly platform: Platform;
  /** Registered at boot when asked for. */
  readonly driver = new FakeDriver();
  readonly fabric: Fabric;
  readonly bus: PciBus;
  readonly iommu = new FakeIommu();
  /** Host page numbers of a buffer and of one that nobody maps. */
  readonly buffer: number;
  readonly canary: number;

  constructor(
    topology: TopologyDescription = oneNic,
    options: {
      readonly iommu?: boolean;
      readonly driver?: boolean;
      readonly cmdline?: string;
      readonly plugins?: readonly Plugin[];
    } = {},
  ) {
    const kernel = linux("7.2", { cmdline: options.cmdline ?? "" });
    const driver = options.driver === true ? [this.driver.plugin()] : [];
    const plugins = [pci(topology), ...driver, ...(options.plugins ?? [])];
    this.platform = createPlatform({ kernel, plugins });
    const { host, memory } = this.platform;
    this.bus = host.get(PCI_BUS);
    this.fabric = host.get(FABRIC);
    if (options.iommu ?? true) {
      this.fabric.attachIommu(this.iommu, () => true);
    }
    this.buffer = memory.allocate(4096, 4096, "test", "buffer") / 4096;
    this.canary = memory.allocate(4096, 4096, "test", "canary") / 4096;
  }

  get nic(): Endpoint {
    return this.fabric.endpoint(NIC);
  }

  /** The bytes at an offset of a host page. */
  word(page: number, offset: number): number {
    return this.platform.memory.load32(page * 4096 + offset);
  }

  /** Writes ATS Enable and STU as software does. */
  setAts(enabled: boolean, stu: number = 0, endpoint: Endpoint = this.nic): void {
    const at = endpoint.config.findExtendedCapability(0x0f);
    endpoint.writeConfig(at + 6, 2, (enabled ? 0x8000 : 0) | stu);
  }

  setPasid(enabled: boolean, endpoint: Endpoint = this.nic): void {
    endpoint.writeConfig(endpoint.config.findExtendedCapability(0x1b) + 6, 2, enabled ? 1 : 0);
  }

  setBusMaster(enabled: boolean, endpoint: Endpoint = this.nic): void {
    endpoint.writeConfig(4, 2, enabled ? 6 : 2);
  }

  /** Sets a port's ACS control. */
  setAcs(rid: Rid, control: number): void {
    const port = this.platform.host.get(TOPOLOGY).functionAt(rid);
    if (port === undefined) {
      throw new Error("no such port");
    }
    port.writeConfig(port.config.findExtendedCapability(0x0d) + 6, 2, control);
  }

  record(): Recorder {
    return new Recorder(this.platform.trace);
  }

  /** The kernel's view of a function. */
  dev(rid: Rid = NIC): PciDev {
    return pciDev(this.device(rid));
  }

  device(rid: Rid = NIC): Device {
    const device = this.bus.deviceAt(rid);
    if (device === undefined) {
      throw new Error("the function is not known");
    }
    return device;
  }

  run<T>(op: Op<T>): T {
    return this.platform.run(op);
  }

  /** The errno with which an operation ends, `0` for success. */
  errno(op: Op<unknown>): string {
    try {
      this.run(op);
      return "0";
    } catch (error) {
      if (error instanceof KernelError) {
        return error.errno;
      }
      throw error;
    }
  }
}

class FakeDomain implements Domain {
  readonly id: number;
  type: DomainType;
  readonly driver: FakeDriver;

  constructor(driver: FakeDriver, id: number, type: DomainType) {
    this.driver = driver;
    this.id = id;
    this.type = type;
  }

  *attach(device: Device): Op<void> {
    const dev = pciDev(device);
    this.driver.log.push(`${device.name} ${this.type}`);
    if (this.driver.failing === `${device.name} ${this.type}`) {
      throw new KernelError("ENOMEM", "told to");
    }
    if (dev.headerType !== 0 || dev.atsCap === 0) {
      return;
    }
    if (this.type === "BLOCKED" && dev.atsEnabled) {
      yield* pciDisableAts(dev);
    } else if (this.type !== "BLOCKED" && !dev.atsEnabled && dev.atsSupported()) {
      yield* pciEnableAts(dev, 12);
    }
  }

  *setPasid(device: Device, pasid: Pasid): Op<void> {
    yield preempt;
    this.driver.log.push(`${device.name} PASID ${pasid} ${this.type}`);
  }
}

/** A driver that turns ATS on with any domain but BLOCKED, and PASID at probe. */
export class FakeDriver implements IommuDriver {
  readonly name = "fake";
  readonly log: string[] = [];
  /** `NAME TYPE` of an attach that fails with ENOMEM. */
  failing = "";
  readonly blocked: Domain = new FakeDomain(this, 1, "BLOCKED");
  readonly identity: Domain = new FakeDomain(this, 2, "IDENTITY");
  readonly releaseDomain: Domain = this.blocked;
  #core: IommuCore | undefined;
  #next = 3;

  /** Registers it when IOMMU drivers do. */
  plugin(): Plugin {
    return {
      name: "fake driver",
      register: (host) => {
        host.add(BOOT, {
          name: "fake driver",
          order: 300,
          run: () => {
            this.#core = host.get(IOMMU_CORE);
            return this.#core.registerDriver(this);
          },
        });
      },
    };
  }

  *probeDevice(device: Device): Op<void> {
    const dev = pciDev(device);
    try {
      yield* pciEnablePasid(dev, 6);
    } catch (error) {
      // As in the shipped drivers: the function then works without PASIDs.
      if (!(error instanceof KernelError)) {
        throw error;
      }
    }
  }

  *releaseDevice(device: Device): Op<void> {
    const dev = pciDev(device);
    if (dev.pasidEnabled) {
      yield* pciDisablePasid(dev);
    }
  }

  deviceGroup(device: Device): GroupHint {
    if (this.#core === undefined) {
      throw new Error("not registered");
    }
    return pciDeviceGroup(device, this.#core);
  }

  reservedRegions(): readonly ReservedRegion[] {
    return [];
  }

  maxPasids(): number {
    return 1024;
  }

  allocPaging(_device: Device, request: { readonly type: DomainType }): Domain {
    this.#next += 1;
    return new FakeDomain(this, this.#next, request.type);
  }

  believesAtsEnabled(device: Device): boolean {
    return pciDev(device).atsEnabled;
  }
}
