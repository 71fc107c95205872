import type {
  Device,
  DeviceDriver,
  Digest,
  IommuCore,
  KernelProfile,
  LifecycleHooks,
  Op,
  Trace,
} from "@iommu-lab/core";
import { KernelError, KernelOops } from "@iommu-lab/core";
import type { Rid } from "../fabric/request.ts";
import { pciClearMaster, pciSetMaster } from "./bus-master.ts";
import { parseRid } from "../topology/description.ts";
import type { Topology } from "../topology/topology.ts";
import { applyDmaAliasQuirks } from "./dma-alias-quirks.ts";
import { type ScanContext, pciAddFunction, pciParameter, scanBus } from "./enumerate.ts";
import { PciDev, pciDev } from "./pci-dev.ts";
import { type PciFacts, type PciPlatform, pciPlatform } from "./pci-platform.ts";
import { pciProfile } from "./pci-profile.ts";
import type { ResetObserver } from "./reset-context.ts";
import { PciBusResets } from "./bus-resets.ts";
import { PciResets } from "./resets.ts";
import { pciDisableSriov, pciEnableSriov, pciSriovNumVfs, pciSriovTotalVfs } from "./sriov.ts";

const CLASS = 8;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;
const SLOT_IMPLEMENTED = 0x100;
const SLOT_CAPABILITIES = 0x14;
const HOTPLUG_CAPABLE = 0x40;

/** The driver that Linux binds to ports; it leaves DMA ownership of their group to others. */
const portDriver: DeviceDriver = { name: "pcieport", managesDma: true };

/** The PCI bus as Linux runs it: the scan, binding and unbinding of drivers, resets and removal. */
export class PciBus {
  /** Every function the kernel knows, in the order of the scan. */
  readonly devices: Device[] = [];
  readonly #topology: Topology;
  readonly #core: IommuCore;
  readonly #platform: PciPlatform;
  readonly #trace: Trace;
  readonly #hooks: readonly LifecycleHooks[];
  /** Resets of single functions, and their methods. */
  readonly resets: PciResets;
  /** Resets of whole buses and links, which the IOMMU is not told. */
  readonly busResets: PciBusResets;
  /** Functions that a scan has found so far and not added yet. */
  readonly #enumerating: PciDev[] = [];
  #acsRequested = false;

  constructor(
    topology: Topology,
    core: IommuCore,
    kernel: KernelProfile,
    trace: Trace,
    hooks: readonly LifecycleHooks[],
    facts: PciFacts = {},
  ) {
    this.#topology = topology;
    this.#core = core;
    this.#trace = trace;
    this.#hooks = hooks;
    this.#platform = pciPlatform({
      profile: pciProfile(kernel),
      facts,
      parameter: pciParameter(kernel),
      acsRequested: () => this.#acsRequested || core.driver !== undefined,
      neighbour: (_dev, rid) => this.#known(rid),
    });
    this.busResets = new PciBusResets((bus) => this.#functions().filter((dev) => dev.busNumber === bus));
    this.resets = new PciResets({
      core,
      onBus: (dev) => this.#functions().filter((other) => other.busNumber === dev.busNumber),
      acpiReset: (name) => facts.acpiResets?.get(name),
    });
  }

  /**
   * Firmware's tables show an IOMMU: ACS is wanted from now on. Kernels that enable ACS at enumeration need this before the
   * scan; a device tree tells them too late (`of_iommu_configure()`). A registered IOMMU driver asks by itself.
   *
   * Source: Linux 7.2 `pci_request_acs()`.
   */
  requestAcs(): void {
    this.#acsRequested = true;
  }

  /** The device at an address. @throws InputError for a malformed one */
  deviceAt(address: Rid | string): Device | undefined {
    const rid = parseRid(address);
    return this.devices.find((device) => pciDev(device).rid === rid);
  }

  /**
   * Scans the machine and adds what is new: bus by bus, then the VFs of each PF. At boot, and again by a write to sysfs
   * `rescan`.
   *
   * Source: Linux 7.2 `pci_scan_root_bus_bridge()`, `pci_scan_slot()`, `pci_rescan_bus()`, `pci_iov_add_virtfn()`.
   */
  *scan(): Op<void> {
    const found: { readonly dev: PciDev; readonly fn: number }[] = [];
    const context: ScanContext = {
      functionAt: (rid) => this.#topology.functionAt(rid),
      isExternalFacing: (rid) => this.#topology.ports.some((port) => port.rid === rid && port.externalFacing),
      trace: this.#trace,
      platform: this.#platform,
      segment: this.#topology.segment,
      known: (rid) => this.#known(rid),
      found: (dev, fn) => found.push({ dev, fn }),
    };
    for (const bus of this.#topology.rootBuses) {
      yield* scanBus(context, bus, undefined);
    }
    for (const { dev } of found) {
      yield* this.#discoverResets(dev);
    }
    this.#enumerating.length = 0;
    for (const { dev, fn } of found) {
      this.devices.push(yield* this.#core.addDevice(dev));
      // After the device is added, and so after its group is chosen when the IOMMU driver is there already.
      dev.multifunction ||= fn !== 0;
      applyDmaAliasQuirks(dev, "final");
    }
    yield* this.#addVirtualFunctions();
  }

  /** Binds the port driver to every port, as the kernel does when the bus is scanned. */
  *bindPorts(): Op<void> {
    for (const device of this.devices) {
      const dev = pciDev(device);
      if (dev.headerType === 1 && dev.pcieCap !== 0 && device.driver === undefined) {
        yield* this.bind(device, portDriver);
        dev.hotplugSlot = this.#hasHotplugSlot(dev);
      }
    }
  }

  /**
   * A driver binds: ACS is enabled, the default domain claimed unless the driver manages DMA itself, then the driver
   * turns Bus Master on.
   *
   * Source: Linux 7.2 `really_probe()`, `pci_dma_configure()`.
   *
   * @throws KernelError EBUSY when another driver is bound or the group is owned, EPROBE_DEFER
   */
  *bind(device: Device, driver: DeviceDriver): Op<void> {
    const dev = pciDev(device);
    yield dev.lock.exclusive;
    try {
      yield* this.#probe(device, dev, driver);
    } catch (error) {
      if (!(error instanceof KernelOops)) {
        dev.lock.release();
      }
      if (error instanceof KernelError) {
        this.#traceBind(device, driver, error.errno);
      }
      throw error;
    }
    dev.lock.release();
    this.#traceBind(device, driver, "0");
  }

  /**
   * The driver unbinds: it turns Bus Master off, as drivers do with `pci_disable_device()`, then gives the default domain
   * back. No domain changes.
   *
   * Source: Linux 7.2 `__device_release_driver()`, `pci_dma_cleanup()`.
   */
  *unbind(device: Device): Op<void> {
    const { driver } = device;
    if (driver === undefined) {
      return;
    }
    const dev = pciDev(device);
    yield dev.lock.exclusive;
    yield* pciClearMaster(dev);
    if (!driver.managesDma) {
      yield* this.#core.unuseDefaultDomain(device);
    }
    device.driver = undefined;
    dev.lock.release();
    for (const hook of this.#hooks) {
      hook.unbind?.(device);
    }
    if (this.#trace.active) {
      this.#trace.emit("driver:unbind", { device: device.name, driver: driver.name });
    }
  }

  /**
   * Resets a function by the first of its methods that fits (`pci_reset_function()`); see {@link PciBus.resets} for more.
   *
   * @param observer called when the IOMMU blocks the function, when it lets it through again, and when config space is
   * restored
   * @throws KernelError ENOTTY without a method, or what the reset returned
   */
  resetFunction(device: Device, observer?: ResetObserver): Op<void> {
    return this.resets.resetFunction(device, observer);
  }

  /**
   * A write to sysfs `sriov_numvfs`. The bound driver is taken to agree, as drivers with `sriov_configure` do.
   *
   * Source: Linux 7.2 `sriov_numvfs_store()`, `sriov_enable()`, `sriov_disable()`.
   *
   * @throws KernelError ERANGE above TotalVFs, ENOENT without a driver, EBUSY when VFs are enabled already, and what
   * {@link pciEnableSriov} throws
   */
  *setNumVfs(device: Device, count: number): Op<void> {
    const dev = pciDev(device);
    if (count > pciSriovTotalVfs(dev)) {
      throw new KernelError("ERANGE", `${dev.name} has at most ${pciSriovTotalVfs(dev)} VFs`);
    }
    const now = pciSriovNumVfs(dev);
    if (count === now) {
      return;
    }
    if (device.driver === undefined) {
      throw new KernelError("ENOENT", `${dev.name}: no driver bound to device; cannot configure SR-IOV`);
    }
    if (count === 0) {
      yield* this.#removeVirtualFunctions(dev);
      yield* pciDisableSriov(dev);
      return;
    }
    if (now !== 0) {
      throw new KernelError("EBUSY", `${dev.name}: ${now} VFs already enabled`);
    }
    yield* pciEnableSriov(dev, count);
    yield* this.#addVirtualFunctions();
  }

  /**
   * sysfs `remove`: driver unbound, IOMMU released, forgotten; everything below a bridge, and the VFs of a PF, before it, the
   * last first.
   *
   * Source: Linux 7.2 `pci_stop_and_remove_bus_device()`.
   */
  *remove(device: Device): Op<void> {
    const dev = pciDev(device);
    const below = this.devices.filter((other) => {
      const { bridge, physfn } = pciDev(other);
      return bridge === dev || physfn === dev;
    });
    for (const other of below.toReversed()) {
      if (this.devices.includes(other)) {
        yield* this.remove(other);
      }
    }
    yield* this.unbind(device);
    yield* this.#core.removeDevice(device);
    const index = this.devices.indexOf(device);
    if (index >= 0) {
      this.devices.splice(index, 1);
    }
  }

  /** Writes what the kernel believes of each function, and which driver is bound. */
  digest(into: Digest): void {
    for (const device of this.devices) {
      pciDev(device).digest(into);
      into.text(device.driver?.name ?? "");
    }
  }

  #known(rid: Rid): PciDev | undefined {
    const device = this.deviceAt(rid);
    return device === undefined ? undefined : pciDev(device);
  }

  /** Whether pciehp drives the slot below a port. Source: Linux 7.2 `get_port_device_capability()`, `pciehp_probe()`. */
  #hasHotplugSlot(port: PciDev): boolean {
    const isDownstream = port.pcieType === TYPE_ROOT_PORT || port.pcieType === TYPE_DOWNSTREAM;
    const hasSlot = isDownstream && (port.read16(port.pcieCap + 2) & SLOT_IMPLEMENTED) !== 0;
    const isCapable = hasSlot && (port.read32(port.pcieCap + SLOT_CAPABILITIES) & HOTPLUG_CAPABLE) !== 0;
    return isCapable && (this.#platform.facts.nativeHotplug ?? true);
  }

  /** Every function on any bus, those included that are enumerated but not added yet. */
  #functions(): PciDev[] {
    return [...this.devices.map((device) => pciDev(device)), ...this.#enumerating];
  }

  /** A function counts among those on its bus once it has been looked at. Source: Linux 7.2 `pci_device_add()`. */
  *#discoverResets(dev: PciDev): Op<void> {
    yield* this.resets.discover(dev);
    dev.hasResetFiles = dev.resetMethods.length > 0;
    this.#enumerating.push(dev);
  }

  *#removeVirtualFunctions(physfn: PciDev): Op<void> {
    for (const device of this.devices.filter((one) => pciDev(one).physfn === physfn)) {
      yield* this.remove(device);
    }
  }

  *#addVirtualFunctions(): Op<void> {
    for (const endpoint of this.#topology.endpoints) {
      const physfn = endpoint.physfn === undefined ? undefined : this.#known(endpoint.physfn.rid);
      // Vendor and Device ID of a VF read as all ones in any case; a VF that is not enabled answers nothing.
      const isThere = physfn !== undefined && endpoint.readConfig(CLASS, 4) !== 0xffffffff;
      if (!isThere || this.#known(endpoint.rid) !== undefined) {
        continue;
      }
      const dev = new PciDev({
        function: endpoint,
        trace: this.#trace,
        physfn,
        platform: this.#platform,
        segment: this.#topology.segment,
        ...(physfn.bridge === undefined ? {} : { bridge: physfn.bridge }),
      });
      yield* pciAddFunction(dev);
      yield* this.#discoverResets(dev);
      this.#enumerating.length = 0;
      this.devices.push(yield* this.#core.addDevice(dev));
    }
  }

  *#probe(device: Device, dev: PciDev, driver: DeviceDriver): Op<void> {
    if (device.driver !== undefined) {
      throw new KernelError("EBUSY", `${device.name} is bound to ${device.driver.name}`);
    }
    device.driver = driver;
    try {
      yield* dev.dmaConfigure();
      yield* this.#core.probeAtBind(device);
      if (!driver.managesDma) {
        yield* this.#core.useDefaultDomain(device);
      }
    } catch (error) {
      device.driver = undefined;
      throw error;
    }
    try {
      for (const hook of this.#hooks) {
        hook.bind?.(device);
      }
    } catch (error) {
      if (!driver.managesDma) {
        yield* this.#core.unuseDefaultDomain(device);
      }
      device.driver = undefined;
      throw error;
    }
    yield* pciSetMaster(dev);
  }

  #traceBind(device: Device, driver: DeviceDriver, result: string): void {
    if (this.#trace.active) {
      this.#trace.emit("driver:bind", { device: device.name, driver: driver.name, result });
    }
  }
}
