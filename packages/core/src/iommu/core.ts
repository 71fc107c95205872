import type { Digest } from "../sim/digest.ts";
import { KernelError } from "../sim/errors.ts";
import { Lock, withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import type { Trace } from "../sim/trace.ts";
import { blockingDomain, deferredAttach, requireCoreDomain, setGroupDomain, setGroupDomainNoFail } from "./attach.ts";
import { storeType, typeOfWord } from "./default-domain.ts";
import { Device } from "./device.ts";
import { DmaApi } from "./dma-api.ts";
import type { Group } from "./group.ts";
import type { LifecycleHooks } from "./hooks.ts";
import { attachByUser61, probeAddedDevice61, probeBus61, releaseDevice61, storeType61 } from "./linux-6-1.ts";
import { claimDevice, claimGroup, releaseDevice, releaseGroup, unuseDefaultDomain, useDefaultDomain } from "./owner.ts";
import { attachPasid, detachPasid, replacePasid } from "./pasid.ts";
import { deinitDevice, probeAddedDevice, probeBus, setByCore } from "./probe.ts";
import type { KernelProfile } from "./profile.ts";
import { type CoreRules, coreRules } from "./rules.ts";
import { resetDone, resetPrepare } from "./reset.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, groupOf, iommuOf } from "./state.ts";
import type { BusDevice, DeviceFeature, Domain, IommuDriver, Pasid, ProcessMemory } from "./types.ts";

/**
 * Linux's IOMMU core of one platform: devices, groups, domains, ownership and resets. It knows no vendor and reads no
 * config space; drivers come through {@link IommuCore.registerDriver}, devices through the {@link BusDevice} port.
 *
 * Every method that changes something is an operation: run it with the platform, or `yield*` it inside another one.
 */
export class IommuCore {
  /** The kernel that runs. */
  readonly kernel: KernelProfile;
  /** The DMA API. */
  readonly dma: DmaApi;
  readonly #state: CoreState;
  #nextDomain = 1;

  constructor(kernel: KernelProfile, trace: Trace, hooks: readonly LifecycleHooks[]) {
    this.kernel = kernel;
    this.#state = {
      kernel,
      rules: coreRules(kernel.id),
      trace,
      hooks,
      devices: [],
      groups: [],
      driver: undefined,
      probeLock: new Lock("iommu_probe_device_lock"),
      nextDevice: 1,
    };
    this.dma = new DmaApi({
      beforeMap: (device, domain) => deferredAttach(this.#state, device, domain),
      msiWithoutWindow: this.#state.rules.msiWithoutWindow,
    });
  }

  /** Which of the kernel's rules differ from other versions. */
  get rules(): CoreRules {
    return this.#state.rules;
  }

  /** All devices the bus has added, in that order. */
  get devices(): readonly Device[] {
    return this.#state.devices;
  }

  /** All groups that have members. */
  get groups(): readonly Group[] {
    return this.#state.groups.filter((group) => group.members.length > 0);
  }

  /** The registered driver. */
  get driver(): IommuDriver | undefined {
    return this.#state.driver;
  }

  /** The next domain number; vendor drivers take one for each domain they make. */
  newDomainId(): number {
    const id = this.#nextDomain;
    this.#nextDomain += 1;
    return id;
  }

  /** The device with this bus name. */
  deviceNamed(name: string): Device | undefined {
    return this.#state.devices.find((device) => device.name === name);
  }

  /**
   * An IOMMU driver is ready: probes every device there is (`iommu_device_register()`).
   *
   * @throws KernelError any probe error but ENODEV: the driver is unregistered and no device has an IOMMU
   */
  *registerDriver(driver: IommuDriver): Op<void> {
    this.#state.driver = driver;
    try {
      if (!this.#waitsForBind(driver)) {
        yield* this.#is61 ? probeBus61(this.#state, driver) : probeBus(this.#state, driver);
      }
    } catch (error) {
      const failure = errnoOf(error);
      for (const device of this.#state.devices) {
        yield* this.#release(device);
      }
      this.#state.driver = undefined;
      throw failure;
    }
  }

  /** The bus found a device (`device_add()`). A failing probe leaves it without an IOMMU, as the kernel does. */
  *addDevice(bus: BusDevice): Op<Device> {
    const device = new Device(this.#state.nextDevice, bus);
    this.#state.nextDevice += 1;
    this.#state.devices.push(device);
    const { driver } = this.#state;
    if (driver !== undefined && !this.#waitsForBind(driver)) {
      try {
        yield* this.#probeAdded(device, driver);
      } catch (error) {
        errnoOf(error);
      }
    }
    return device;
  }

  /** The device leaves (`iommu_release_device()`). */
  *removeDevice(device: Device): Op<void> {
    yield* this.#release(device);
    const index = this.#state.devices.indexOf(device);
    if (index >= 0) {
      this.#state.devices.splice(index, 1);
    }
  }

  /**
   * A driver starts to bind and the bus configures the device's DMA: 6.1 and 6.12 probe a device behind an IOMMU that
   * firmware describes only now. As in the kernel no errno but EPROBE_DEFER comes out of it.
   *
   * Source: Linux 6.12 `acpi_iommu_configure_id()`, `of_iommu_configure()`.
   */
  *probeAtBind(device: Device): Op<void> {
    const { driver } = this.#state;
    if (driver === undefined || !this.#waitsForBind(driver) || device.group !== undefined) {
      return;
    }
    try {
      yield* this.#probeAdded(device, driver);
    } catch (error) {
      if (errnoOf(error).errno === "EPROBE_DEFER") {
        throw error;
      }
    }
  }

  /** A driver that uses the DMA API binds. @throws KernelError EPROBE_DEFER, EBUSY */
  useDefaultDomain(device: Device): Op<void> {
    return useDefaultDomain(this.#state, device);
  }

  /** It unbinds. */
  unuseDefaultDomain(device: Device): Op<void> {
    return unuseDefaultDomain(this.#state, device);
  }

  /** A write to sysfs `type`: `identity`, `DMA`, `DMA-FQ`, `auto`. @throws KernelError EINVAL, EPERM, EBUSY */
  *storeType(group: Group, value: string): Op<void> {
    const target = typeOfWord(group, value);
    yield* this.#is61 ? storeType61(this.#state, group, target) : storeType(this.#state, group, target);
  }

  /** A user takes a group. @throws KernelError EPERM, EBUSY, EINVAL */
  claimGroup(group: Group, owner: string): Op<void> {
    return claimGroup(this.#state, group, owner);
  }

  /** The user lets go. */
  releaseGroup(group: Group): Op<void> {
    return releaseGroup(this.#state, group);
  }

  /** A user takes one device. @throws KernelError EPERM, EBUSY, EINVAL */
  claimDevice(device: Device, owner: string): Op<void> {
    return claimDevice(this.#state, device, owner);
  }

  /** The user lets go of one device. */
  releaseDevice(device: Device): Op<void> {
    return releaseDevice(this.#state, device);
  }

  /**
   * A user attaches a domain to a group (`iommu_attach_group()`).
   *
   * @throws KernelError EBUSY when it is neither on its default nor on the blocking domain, EINVAL for a foreign domain
   */
  *attachGroup(domain: Domain, group: Group): Op<void> {
    yield* withLock(group.mutex, () =>
      this.#is61 ? attachByUser61(this.#state, domain, group) : this.#attachByUser(domain, group),
    );
  }

  get #is61(): boolean {
    return this.#state.rules.flows === "6.1";
  }

  #waitsForBind(driver: IommuDriver): boolean {
    return this.#state.rules.firmwareProbe === "driver-bind" && driver.firmwareDescribed === true;
  }

  #probeAdded(device: Device, driver: IommuDriver): Op<void> {
    return this.#is61 ? probeAddedDevice61(this.#state, device, driver) : probeAddedDevice(this.#state, device, driver);
  }

  #release(device: Device): Op<void> {
    return this.#is61 ? releaseDevice61(this.#state, device) : deinitDevice(this.#state, device);
  }

  *#attachByUser(domain: Domain, group: Group): Op<void> {
    requireCoreDomain(group);
    for (const { device } of group.members) {
      if (iommuOf(device).driver !== domain.driver) {
        throw new KernelError("EINVAL", `the domain belongs to ${domain.driver.name}`);
      }
    }
    yield* setGroupDomain(this.#state, group, domain, { mustSucceed: false, via: "user" });
  }

  /** Back to the blocking domain of an owned group, else to the default (`iommu_detach_group()`). */
  *detachGroup(group: Group): Op<void> {
    yield* withLock(group.mutex, () => this.#setCoreDomain(group));
  }

  *#setCoreDomain(group: Group): Op<void> {
    const domain = group.owner === undefined ? group.defaultDomain : group.blockingDomain;
    if (domain !== undefined) {
      yield* setGroupDomainNoFail(this.#state, group, domain, "user");
    }
  }

  /** The core's own attach of any domain to a group, outside the user interfaces (`__iommu_group_set_domain()`). */
  setGroupDomain(group: Group, domain: Domain): Op<void> {
    return setByCore(this.#state, group, domain);
  }

  /** The domain a claim and a reset attach to this group. */
  blockingDomain(group: Group): Domain {
    return blockingDomain(group);
  }

  /** A new paging domain of a user. @throws KernelError EOPNOTSUPP when the driver has none that PASIDs can use */
  allocPaging(device: Device, options: { readonly pasid: boolean }): Domain {
    return iommuOf(device).driver.allocPaging(device, { type: "UNMANAGED", pasid: options.pasid });
  }

  /** A domain over a process's page table (`iommu_sva_bind_device()`). @throws KernelError */
  allocSva(device: Device, process: ProcessMemory): Domain {
    const { driver } = iommuOf(device);
    if (driver.allocSva === undefined) {
      throw new KernelError("EOPNOTSUPP", `${driver.name} has no SVA`);
    }
    return driver.allocSva(device, process);
  }

  /**
   * A device driver asks for page requests or SVA (`iommu_dev_enable_feature()`, until 6.12; later kernels need no asking
   * and this does nothing).
   *
   * @throws KernelError ENODEV where the IOMMU driver has no such feature; the driver's errno
   */
  *enableFeature(device: Device, feature: DeviceFeature): Op<void> {
    if (!this.#state.rules.deviceFeatures) {
      return;
    }
    const { driver } = iommuOf(device);
    if (driver.enableFeature === undefined) {
      throw new KernelError("ENODEV", `${driver.name} has no ${feature}`);
    }
    yield* driver.enableFeature(device, feature);
  }

  /** The device driver needs it no more. @throws KernelError as {@link IommuCore.enableFeature} */
  *disableFeature(device: Device, feature: DeviceFeature): Op<void> {
    const { driver } = iommuOf(device);
    if (this.#state.rules.deviceFeatures && driver.disableFeature !== undefined) {
      yield* driver.disableFeature(device, feature);
    }
  }

  /** Attaches a domain to a PASID. @throws KernelError */
  attachPasid(domain: Domain, device: Device, pasid: Pasid): Op<void> {
    return attachPasid(this.#state, domain, device, pasid);
  }

  /** Replaces the domain of a PASID. @throws KernelError */
  replacePasid(domain: Domain, device: Device, pasid: Pasid): Op<void> {
    return replacePasid(this.#state, domain, device, pasid);
  }

  /** Takes a PASID away. */
  detachPasid(device: Device, pasid: Pasid): Op<void> {
    return detachPasid(this.#state, device, pasid);
  }

  /** `pci_dev_reset_iommu_prepare()`. @throws KernelError */
  resetPrepare(device: Device): Op<void> {
    return resetPrepare(this.#state, device);
  }

  /** `pci_dev_reset_iommu_done()`. */
  resetDone(device: Device): Op<void> {
    return resetDone(this.#state, device);
  }

  /**
   * What a driver may believe of its device's RID: the blocking domain while the device is staged for reset.
   *
   * Source: Linux 7.2 `iommu_driver_get_domain_for_dev()`.
   */
  driverDomain(device: Device): Domain | undefined {
    const group = groupOf(device);
    return group.member(device)?.blocked === true ? group.blockingDomain : group.domain;
  }

  /** Writes what the core believes of its devices and groups, and which DMA addresses are handed out. */
  digest(into: Digest): void {
    const { devices, driver, groups, nextDevice, probeLock } = this.#state;
    into.text(driver?.name ?? "");
    into.number(nextDevice);
    into.number(this.#nextDomain);
    probeLock.digest(into);
    into.number(devices.length);
    for (const device of devices) {
      device.digest(into);
    }
    into.number(groups.length);
    for (const group of groups) {
      group.digest(into);
      if (group.defaultDomain !== undefined) {
        this.dma.digest(group.defaultDomain, into);
      }
    }
  }
}
