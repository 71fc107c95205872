import type { Device, Domain, Group, IommuCore, PageTableFormat, Platform, StartedOp } from "@iommu-lab/core";
import { KernelError, PROT_READ, PROT_WRITE, Process } from "@iommu-lab/core";
import { type CxlCache, cxlCache } from "@iommu-lab/cxl";
import {
  type Endpoint,
  FABRIC,
  type Fabric,
  NO_PASID,
  PCI_BUS,
  type PciBus,
  type Rid,
  pciClearMaster,
  pciDev,
  pciSetMaster,
} from "@iommu-lab/pci";

/** What a scenario is played on: how to make the platform, and which function is looked at. */
export interface Subject {
  /** Column id: `backend/kernel/device[+policy…]`. */
  readonly id: string;
  /** The function under test. */
  readonly rid: Rid;
  /** Host page of the interrupt doorbell when the IOMMU translates MSIs. */
  readonly doorbell?: number;
  /** A platform that is powered on and not booted. `cmdline` is what the scenario needs, to be joined with its own. */
  create(cmdline: string): Platform;
}

/** How far a function reset has come. */
export type ResetPhase = "none" | "prepared" | "done" | "restored";

const RW = PROT_READ | PROT_WRITE;
const PAGE = 4096;
/** Where user domains and processes have their buffer. */
const USER_PAGE = 0x12345;

/**
 * One play of a scenario: a platform, the function under test, an ordinary driver for it, a user who may own it, and the
 * memory they use. Everything a step does goes through the kernel's interfaces; everything the device does is a TLP.
 */
export class Stage {
  /** The machine. */
  readonly platform: Platform;
  /** Requester ID of the function under test. */
  readonly rid: Rid;
  /** Host page of the interrupt doorbell when the IOMMU translates MSIs. */
  readonly doorbell: number | undefined;
  /** Linux's IOMMU core. */
  readonly core: IommuCore;
  /** Linux's PCI bus. */
  readonly bus: PciBus;
  /** The way to memory. */
  readonly fabric: Fabric;
  /** The function under test, as silicon. */
  readonly endpoint: Endpoint;
  /** Its CXL.cache agent, when it has one. */
  readonly cxl: CxlCache | undefined;
  /** Host page of the driver's buffer. */
  readonly buffer: number;
  /** Host page of the buffer that PASIDs use. */
  readonly userBuffer: number;
  /** Host page that no domain ever maps. */
  readonly canary: number;
  /** Interrupt messages that reached the doorbell. */
  interrupts = 0;
  /** Page number at which the RID uses, or last used, its buffer. */
  target: number;
  /** The same for PASIDs. */
  readonly pasidTargets: Map<number, number> = new Map();
  /** Page number of the driver's interrupt message; undefined while it has no vector. */
  msiPage: number | undefined;
  #device: Device | undefined;
  #mapped: number | undefined;
  #ridDomain: Domain | undefined;
  #userDomains = new Map<number, Domain>();
  #reset: StartedOp<void> | undefined;
  #phase: ResetPhase = "none";

  constructor(subject: Subject, cmdline: string) {
    this.platform = subject.create(cmdline);
    this.rid = subject.rid;
    this.doorbell = subject.doorbell;
    const { host, memory } = this.platform;
    this.core = this.platform.iommu;
    this.bus = host.get(PCI_BUS);
    this.fabric = host.get(FABRIC);
    this.endpoint = this.fabric.endpoint(subject.rid);
    if (subject.doorbell !== undefined) {
      this.fabric.addDoorbell(subject.doorbell, () => {
        this.interrupts += 1;
      });
    }
    this.cxl = cxlCache(host, subject.rid);
    this.buffer = memory.allocate(PAGE, PAGE, "driver", "DMA buffer") / PAGE;
    this.userBuffer = memory.allocate(PAGE, PAGE, "user", "shared buffer") / PAGE;
    this.canary = memory.allocate(PAGE, PAGE, "kernel", "canary") / PAGE;
    this.target = this.buffer;
  }

  /** The device as the kernel knows it. @throws KernelError ENODEV before boot and after its removal */
  get device(): Device {
    if (this.#device === undefined) {
      throw new KernelError("ENODEV", "the function is not known to the kernel");
    }
    return this.#device;
  }

  /** Whether the kernel knows it now. */
  get known(): boolean {
    return this.#device !== undefined;
  }

  /** Its group. @throws KernelError ENODEV without one */
  get group(): Group {
    const { group } = this.device;
    if (group === undefined) {
      throw new KernelError("ENODEV", `${this.device.name} is in no IOMMU group`);
    }
    return group;
  }

  /** How far the reset under way has come. */
  get resetPhase(): ResetPhase {
    return this.#phase;
  }

  /** Boots the kernel. */
  boot(): void {
    this.platform.boot();
    this.#device = this.bus.deviceAt(this.rid);
  }

  /** Binds the device's own driver: it maps a buffer, gets an interrupt vector, and lets the device work. */
  bind(): void {
    const { device, platform } = this;
    platform.run(this.bus.bind(device, { name: "driver", managesDma: false }));
    this.#mapped = platform.run(this.core.dma.map(device, this.buffer, 1, RW));
    this.target = this.#mapped;
    if (this.doorbell !== undefined) {
      this.msiPage = platform.run(this.core.dma.prepareMsi(device, this.doorbell));
    }
    this.work();
  }

  /** The driver lets the device read and write its buffer, as an honest device does it. */
  work(): void {
    this.endpoint.dmaWrite(this.target, 0, 0x600d, NO_PASID);
    this.endpoint.dmaRead(this.target, 0, NO_PASID);
    this.cxl?.read(this.target, 0, NO_PASID);
    this.platform.scheduler.settle();
  }

  /** Unbinds the driver: buffer unmapped, vector given back. */
  unbind(): void {
    const { device, platform } = this;
    if (this.#mapped !== undefined) {
      platform.run(this.core.dma.unmap(device, this.#mapped, 1));
      this.#mapped = undefined;
    }
    this.msiPage = undefined;
    platform.run(this.bus.unbind(device));
  }

  /** Whether the driver is bound. */
  get bound(): boolean {
    return this.#device?.driver !== undefined;
  }

  /** Writes the group's sysfs `type`. @throws KernelError */
  storeType(value: string): void {
    this.platform.run(this.core.storeType(this.group, value));
  }

  /** A user (VFIO, iommufd) takes the group and turns the function's Bus Master on. @throws KernelError */
  claim(): void {
    this.platform.run(this.core.claimGroup(this.group, "user"));
    this.platform.run(pciSetMaster(pciDev(this.device)));
  }

  /** The user turns Bus Master off and lets go. */
  release(): void {
    this.platform.run(pciClearMaster(pciDev(this.device)));
    this.platform.run(this.core.releaseGroup(this.group));
  }

  /**
   * Attaches a PASID: a paging domain with one page mapped, or the address space of a process where the driver takes
   * only that; then the device works with it, for which Bus Master is turned on where no driver has done so.
   *
   * @throws KernelError
   */
  attachPasid(pasid: number): void {
    const { device, platform, core } = this;
    const domain = this.#pasidDomain(device);
    platform.run(core.attachPasid(domain, device, pasid));
    this.#userDomains.set(pasid, domain);
    this.pasidTargets.set(pasid, USER_PAGE);
    platform.run(pciSetMaster(pciDev(device)));
    this.endpoint.dmaWrite(USER_PAGE, 0, 0x600d, pasid);
    this.platform.scheduler.settle();
  }

  /** Takes the PASID away and frees its domain. */
  detachPasid(pasid: number): void {
    this.platform.run(this.core.detachPasid(this.device, pasid));
    this.#userDomains.get(pasid)?.free?.();
    this.#userDomains.delete(pasid);
  }

  /** Puts the RID on a translated domain by the core's own attach, unless its default domain is one already. */
  translateRid(): void {
    const { core, device, group, platform } = this;
    if (group.domain?.type === "DMA" || group.domain?.type === "DMA-FQ") {
      return;
    }
    this.#ridDomain = core.allocPaging(device, { pasid: true });
    platform.run(core.setGroupDomain(group, this.#ridDomain));
  }

  /** Ends ownership, puts the RID back on the default domain and takes the PASID away, where there is any of it. */
  backToDefault(pasid: number): void {
    const { core, group, platform } = this;
    if (group.owner !== undefined) {
      this.release();
    }
    if (group.defaultDomain !== undefined && group.domain !== group.defaultDomain) {
      platform.run(core.setGroupDomain(group, group.defaultDomain));
    }
    this.#ridDomain?.free?.();
    this.#ridDomain = undefined;
    if (group.pasids.has(pasid)) {
      this.detachPasid(pasid);
    }
  }

  #pasidDomain(device: Device): Domain {
    const { core, platform } = this;
    const domain = core.allocPaging(device, { pasid: true });
    if (domain.setPasid !== undefined && domain.map !== undefined) {
      platform.run(domain.map(USER_PAGE, this.userBuffer, 1, RW));
      return domain;
    }
    domain.free?.();
    return core.allocSva(device, this.#process(core.driver?.processFormat));
  }

  #process(format: PageTableFormat | undefined): Process {
    if (format === undefined) {
      throw new KernelError("EOPNOTSUPP", "the platform names no CPU page-table format");
    }
    const process = new Process(this.platform.memory, format, "process");
    process.table.map(USER_PAGE, this.userBuffer, 1, RW);
    return process;
  }

  /** Runs the reset of the function (FLR) as far as `phase`. @throws KernelError */
  resetTo(phase: Exclude<ResetPhase, "none">): void {
    const { scheduler } = this.platform;
    this.#reset ??= scheduler.start(
      this.bus.resetFunction(this.device, (reached) => {
        this.#phase = reached;
      }),
      "reset",
    );
    const order: readonly ResetPhase[] = ["none", "prepared", "done", "restored"];
    const stop = {
      name: `reset ${phase}`,
      holds: () => order.indexOf(this.#phase) >= order.indexOf(phase),
    };
    const ended = scheduler.advance(this.#reset, phase === "restored" ? undefined : stop);
    if (ended) {
      this.#reset = undefined;
      this.#phase = "none";
    }
  }

  /** sysfs `remove`: the kernel forgets the function; it stays powered. */
  remove(): void {
    this.platform.run(this.bus.remove(this.device));
    this.#device = undefined;
  }
}
