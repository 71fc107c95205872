import type { BusDevice, Device, Digest, Op, Trace } from "@iommu-lab/core";
import { Lock } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import type { PciFunction } from "../fabric/pci-function.ts";
import type { Rid } from "../fabric/request.ts";
import { pciEnableAcs } from "./acs-enable.ts";
import { requesterIds } from "./dma-alias.ts";
import { type PciPlatform, pciPlatform } from "./pci-platform.ts";
import type { ResetMethodName } from "./reset-rules.ts";
import type { SavedCapabilities } from "./saved-registers.ts";

/** What the scan of the bus knows of a function before its capabilities are read. */
export interface PciDevOptions {
  /** The function that answers its config requests. */
  readonly function: PciFunction;
  /** The platform's trace. */
  readonly trace: Trace;
  /** The bridge above it; undefined on a root bus. */
  readonly bridge?: PciDev;
  /** The PF of a VF. */
  readonly physfn?: PciDev;
  /** Firmware marks the port as external-facing. */
  readonly externalFacing?: boolean;
  /** What it shares with the other functions of the machine. Default: {@link pciPlatform}. */
  readonly platform?: PciPlatform;
  /** PCI segment (domain). Default 0. */
  readonly segment?: number;
}

/**
 * How a bridge shows in the requester ID of DMA from below it: as its kind demands; `hidden-pcie` = a conventional bridge
 * that is in truth a PCIe-to-PCI one; `none` = a PCIe-to-PCI bridge that leaves requester IDs alone; `translation-root` =
 * the IOMMU sits below it.
 */
export type BridgeAlias = "by-kind" | "hidden-pcie" | "none" | "translation-root";

/**
 * A PCI function as Linux knows it (`struct pci_dev`): what the kernel believes, which need not be what the function
 * holds. All reads and writes go through config requests.
 */
export class PciDev implements BusDevice {
  readonly name: string;
  /** Requester ID. */
  readonly rid: Rid;
  /** The function's registers. The kernel's own code reads through {@link PciDev.read16} and its like. */
  readonly config: ConfigSpace;
  /** The platform's trace. */
  readonly trace: Trace;
  /** The bridge above it; undefined on a root bus. */
  readonly bridge: PciDev | undefined;
  /** The PF of a VF. */
  readonly physfn: PciDev | undefined;
  /** It is below an external-facing port. */
  readonly untrusted: boolean;
  /** Firmware marks it as an external-facing port. */
  readonly externalFacing: boolean;
  /** What it shares with the other functions of the machine. */
  readonly platform: PciPlatform;
  /** PCI segment (domain). */
  readonly segment: number;
  /** The device lock. */
  readonly lock: Lock;

  /** Vendor ID. */
  vendor = 0;
  /** Device ID. */
  device = 0;
  /** Subsystem Vendor ID. */
  subsystemVendor = 0;
  /** Subsystem ID. */
  subsystemDevice = 0;
  /** Class code: base class 23:16, subclass 15:8, interface 7:0. */
  class = 0;
  /** Header type without the multi-function bit: 0 endpoint, 1 bridge. */
  headerType = 0;
  /** Header bit 7; functions above 0 get it when they have been added to the bus. */
  multifunction = false;
  /** Offset of the PCI Express capability; 0 = conventional PCI. */
  pcieCap = 0;
  /** Device/Port Type of the PCI Express capability. */
  pcieType = 0;
  /** Device Capabilities register. */
  devcap = 0;
  /** End-End TLP prefixes usable from here to the root; 0 = none, so no PASID. */
  eetlpPrefixMax = 0;
  /** Bus number below a bridge. */
  subordinateBus = 0;
  /** `pci=noats`. */
  noAts = false;
  /** Other devfns of its bus under which its DMA may appear (`dma_alias_mask`), in ascending order. */
  dmaAliases: readonly number[] = [];
  /** What quirks say of it as a bridge that DMA passes. */
  bridgeAlias: BridgeAlias = "by-kind";
  /** The function on another bus whose requester ID its DMA carries (`pci_real_dma_dev()`): VMD, for what is behind it. */
  realDmaDev: PciDev | undefined;
  /** ACS is on by a way of its own (`PCI_DEV_FLAGS_ACS_ENABLED_QUIRK`). */
  acsByQuirk = false;

  /** Offset of the ATS capability; 0 = none, or `pci=noats`. */
  atsCap = 0;
  /** What the kernel believes of ATS Enable. */
  atsEnabled = false;
  /** Page shift last written as STU, 0 before that. */
  atsStu = 0;
  /** Offset of the PRI capability. */
  priCap = 0;
  /** What the kernel believes of PRI Enable. */
  priEnabled = false;
  /** Outstanding Page Request Allocation last written. */
  priRequests = 0;
  /** PRG Response PASID Required, as read at enumeration. */
  pasidRequired = false;
  /** Offset of the PASID capability. */
  pasidCap = 0;
  /** What the kernel believes of PASID Enable. */
  pasidEnabled = false;
  /** Execute (bit 1) and Privileged (bit 2) features last enabled. */
  pasidFeatures = 0;
  /** Offset of the ACS capability. */
  acsCap = 0;
  /** ACS capability bits. */
  acsCapabilities = 0;
  /** Status: Immediate Readiness; it answers right after a reset. */
  immediatelyReady = false;
  /** Its reset methods, in the order in which they are tried. */
  resetMethods: readonly ResetMethodName[] = [];
  /** It had a reset method when it was added: sysfs has `reset` and `reset_method`. */
  hasResetFiles = false;
  /** Of a bridge: the kernel drives a hot-plug slot below it. */
  hotplugSlot = false;
  /** The power state that the kernel believes in. */
  currentState: "D0" | "D3hot" = "D0";
  /** Its base addresses as they were when it went into D3hot: the kernel's resources. */
  savedBases: readonly number[] = [];
  /** `pci_save_state()` ran and the state was not restored since. */
  stateSaved = false;
  /** What `pci_save_state()` took: 16 header words, then DevCtl and DevCtl2. */
  savedState: readonly number[] = [];
  /** What it took of error reporting (DPC, AER) and SR-IOV. */
  savedCapabilities: SavedCapabilities = { errors: [], sriov: [] };

  readonly #function: PciFunction;

  constructor(options: PciDevOptions) {
    this.#function = options.function;
    this.name = options.function.name;
    this.rid = options.function.rid;
    this.config = options.function.config;
    this.trace = options.trace;
    this.bridge = options.bridge;
    this.physfn = options.physfn;
    this.externalFacing = options.externalFacing ?? false;
    this.untrusted = options.bridge !== undefined && (options.bridge.untrusted || options.bridge.externalFacing);
    this.lock = new Lock(`${this.name} device lock`);
    this.platform = options.platform ?? pciPlatform();
    this.segment = options.segment ?? 0;
  }

  /** Whether it is a VF. */
  get isVirtfn(): boolean {
    return this.physfn !== undefined;
  }

  /** Bus number. */
  get busNumber(): number {
    return this.rid >>> 8;
  }

  /** Whether an IOMMU driver has asked for ACS. */
  get acsRequested(): boolean {
    return this.platform.acsRequested();
  }

  /** Reads a byte of config space; all ones when the function does not answer. */
  read8(offset: number): number {
    return this.#function.readConfig(offset, 1);
  }

  /** Reads a word of config space; all ones when the function does not answer. */
  read16(offset: number): number {
    return this.#function.readConfig(offset, 2);
  }

  /** Reads a double word of config space; all ones when the function does not answer. */
  read32(offset: number): number {
    return this.#function.readConfig(offset, 4);
  }

  /** Writes a byte of config space. Yield `preempt` before. */
  write8(offset: number, value: number, register: string): void {
    this.#write(offset, 1, value, register);
  }

  /** Writes a word of config space. Yield `preempt` before. */
  write16(offset: number, value: number, register: string): void {
    this.#write(offset, 2, value, register);
  }

  /** Writes a double word of config space. Yield `preempt` before. */
  write32(offset: number, value: number, register: string): void {
    this.#write(offset, 4, value, register);
  }

  /** The kernel's WARN about this function. */
  warn(where: string, what: string): void {
    if (this.trace.active) {
      this.trace.emit("warn", { where, what: `${this.name}: ${what}` });
    }
  }

  /** Tells the trace what an Enable bit reads now. */
  traceEnable(capability: "ats" | "pri" | "pasid", enabled: boolean): void {
    if (this.trace.active) {
      this.trace.emit("capability:enable", { device: this.name, capability, enabled });
    }
  }

  present(): boolean {
    return this.#function.present();
  }

  atsSupported(): boolean {
    return this.atsCap !== 0 && !this.untrusted;
  }

  maxPasids(): number {
    const owner = this.physfn ?? this;
    return owner.pasidCap === 0 ? 0 : 2 ** ((owner.read16(owner.pasidCap + 4) >>> 8) & 0x1f);
  }

  sharesAlias(other: BusDevice): boolean {
    if (!(other instanceof PciDev)) {
      return false;
    }
    const own = requesterIds(this);
    return requesterIds(other).some((rid) => own.includes(rid));
  }

  /**
   * What the bus does before a device is first probed by an IOMMU, and again before a driver binds: ACS is enabled, in
   * kernels that do not enable it at enumeration.
   *
   * Source: Linux 7.2 `pci_dma_configure()`; in 6.1 and 6.12 it leaves ACS alone.
   */
  *dmaConfigure(): Op<void> {
    if (this.platform.profile.acsEnabledAt === "dma-configure") {
      yield* pciEnableAcs(this);
    }
  }

  /** Writes what the kernel believes of it. */
  digest(into: Digest): void {
    into.number(this.rid);
    into.number(this.atsCap);
    into.number(this.atsStu);
    into.number(this.priRequests);
    into.number(this.pasidFeatures);
    into.number(
      (this.atsEnabled ? 1 : 0) |
        (this.priEnabled ? 2 : 0) |
        (this.pasidEnabled ? 4 : 0) |
        (this.stateSaved ? 8 : 0) |
        (this.lock.held ? 16 : 0) |
        (this.hasResetFiles ? 32 : 0) |
        (this.hotplugSlot ? 64 : 0) |
        (this.currentState === "D0" ? 0 : 128),
    );
    into.text(this.resetMethods.join(" "));
    into.text(this.savedBases.join(" "));
    for (const word of this.savedState) {
      into.number(word);
    }
    for (const { value } of [...this.savedCapabilities.errors, ...this.savedCapabilities.sriov]) {
      into.number(value);
    }
  }

  #write(offset: number, size: 1 | 2 | 4, value: number, register: string): void {
    const before = this.trace.active ? this.#function.readConfig(offset, size) : 0;
    this.#function.writeConfig(offset, size, value);
    if (this.trace.active) {
      const after = this.#function.readConfig(offset, size);
      this.trace.emit("config:write", { device: this.name, offset, size, before, after, register });
    }
  }
}

/** The PCI function behind a device. @throws Error when it is no PCI device */
export function pciDev(device: Device): PciDev {
  if (device.bus instanceof PciDev) {
    return device.bus;
  }
  throw new Error(`${device.name} is no PCI device`);
}
