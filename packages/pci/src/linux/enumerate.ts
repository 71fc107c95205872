import type { KernelProfile, Op, Trace } from "@iommu-lab/core";
import type { PciFunction } from "../fabric/pci-function.ts";
import type { Rid } from "../fabric/request.ts";
import { ACS_SV } from "./acs-flags.ts";
import { pciEnableAcs } from "./acs-enable.ts";
import { applyDmaAliasQuirks } from "./dma-alias-quirks.ts";
import { PciDev } from "./pci-dev.ts";
import type { PciPlatform } from "./pci-platform.ts";

const CAP_EXP = 0x10;
const CAP_SUBSYSTEM = 0x0d;
const EXT_CAP_ACS = 0x0d;
const EXT_CAP_ARI = 0x0e;
const EXT_CAP_ATS = 0x0f;
const EXT_CAP_SRIOV = 0x10;
const EXT_CAP_PRI = 0x13;
const EXT_CAP_PASID = 0x1b;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;
const TYPE_INTEGRATED = 9;
const DEVCAP2_ARI_FORWARDING = 1 << 5;
const DEVCAP2_EE_PREFIX = 1 << 21;
const IDT = 0x111d;

/** What the scan needs from the platform. */
export interface ScanContext {
  /** The function that answers at a config address. */
  readonly functionAt: (rid: Rid) => PciFunction | undefined;
  /** Firmware's list of external-facing ports. */
  readonly isExternalFacing: (rid: Rid) => boolean;
  readonly trace: Trace;
  readonly platform: PciPlatform;
  readonly segment: number;
  /** The function at an address if the kernel knows it already. */
  readonly known: (rid: Rid) => PciDev | undefined;
  /** Called for each new function when it is set up, in the kernel's order, with its number in the slot (or device). */
  readonly found: (dev: PciDev, fn: number) => void;
  /** Called for a bridge whose secondary bus cannot be scanned, with the reason. */
  readonly skipped?: (bridge: PciDev, reason: string) => void;
}

/** Whether the command line switches ATS off (`pci=noats`). */
function noAts(platform: PciPlatform): boolean {
  return platform.parameter.split(",").includes("noats");
}

/** The value of `pci=` of a kernel. */
export function pciParameter(kernel: KernelProfile): string {
  return kernel.parameters.get("pci") ?? "";
}

/**
 * Reads what the kernel keeps of a function: header, PCI Express type, and where ATS, PRI, PASID and ACS are; quirks of
 * its ids follow.
 *
 * Source: Linux 7.2 `pci_setup_device()`, `pci_device_add()`, `pci_init_capabilities()`, `pci_configure_eetlp_prefix()`.
 */
export function pciSetupDevice(dev: PciDev): void {
  const { config } = dev;
  dev.vendor = (dev.physfn ?? dev).read16(0);
  dev.device = dev.physfn === undefined ? dev.read16(2) : vfDeviceOf(dev.physfn);
  dev.class = dev.read32(8) >>> 8;
  dev.headerType = dev.read8(0x0e) & 0x7f;
  // A VF never has siblings in the kernel's eyes (`pci_iov_add_virtfn()`).
  dev.multifunction = dev.physfn === undefined && (dev.read8(0x0e) & 0x80) !== 0;
  dev.subordinateBus = dev.headerType === 0 ? 0 : dev.read8(0x19);
  readSubsystem(dev);
  dev.immediatelyReady = (dev.read16(6) & 1) !== 0;
  dev.pcieCap = config.findCapability(CAP_EXP);
  if (dev.pcieCap !== 0) {
    dev.pcieType = (dev.read16(dev.pcieCap + 2) >>> 4) & 0xf;
    dev.devcap = dev.read32(dev.pcieCap + 4);
    dev.eetlpPrefixMax = prefixes(dev);
  }
  dev.noAts = noAts(dev.platform);
  dev.atsCap = dev.noAts ? 0 : config.findExtendedCapability(EXT_CAP_ATS);
  dev.priCap = config.findExtendedCapability(EXT_CAP_PRI);
  dev.pasidRequired = dev.priCap !== 0 && (dev.read16(dev.priCap + 6) & 0x8000) !== 0;
  dev.pasidCap = config.findExtendedCapability(EXT_CAP_PASID);
  applyDmaAliasQuirks(dev, "header");
  readAcs(dev);
}

/** Source: Linux 7.2 `pci_acs_init()`, `pci_disable_broken_acs_cap()`. */
function readAcs(dev: PciDev): void {
  dev.acsCap = dev.config.findExtendedCapability(EXT_CAP_ACS);
  dev.acsCapabilities = dev.acsCap === 0 ? 0 : dev.read16(dev.acsCap + 4);
  const broken = dev.vendor === IDT && (dev.device === 0x80b5 || dev.device === 0x8090);
  if (broken && dev.platform.profile.ignoresBrokenSourceValidation) {
    dev.acsCapabilities &= ~ACS_SV;
  }
}

function readSubsystem(dev: PciDev): void {
  const capability = dev.headerType === 1 ? dev.config.findCapability(CAP_SUBSYSTEM) : 0;
  if (dev.headerType === 0 || capability !== 0) {
    const at = dev.headerType === 0 ? 0x2c : capability + 4;
    dev.subsystemVendor = dev.read16(at);
    dev.subsystemDevice = dev.read16(at + 2);
  }
}

function vfDeviceOf(physfn: PciDev): number {
  const at = physfn.config.findExtendedCapability(EXT_CAP_SRIOV);
  return at === 0 ? physfn.device : physfn.read16(at + 0x1a);
}

/** Prefixes need support at the function and at every bridge above it; 0 in the register means 4. */
function prefixes(dev: PciDev): number {
  const capabilities = dev.read32(dev.pcieCap + 0x24);
  if ((capabilities & DEVCAP2_EE_PREFIX) === 0) {
    return 0;
  }
  const own = (capabilities >>> 22) & 3 || 4;
  if (dev.pcieType === TYPE_ROOT_PORT || dev.pcieType === TYPE_INTEGRATED) {
    return own;
  }
  return dev.bridge !== undefined && dev.bridge.eetlpPrefixMax > 0 ? own : 0;
}

/**
 * Scans a bus and everything below it: first all functions of the bus, then what is behind its bridges, whose bus
 * numbers are as firmware set them. A bus that two bridges claim is scanned below the first.
 *
 * Source: Linux 7.2 `pci_scan_child_bus()`, `pci_scan_bridge_extend()`, `pci_scan_slot()`.
 */
export function* scanBus(
  context: ScanContext,
  bus: number,
  bridge: PciDev | undefined,
  scanned: Set<number> = new Set(),
): Op<void> {
  scanned.add(bus);
  const bridges: PciDev[] = [];
  const slots = bridge !== undefined && hasOneChild(bridge) ? 1 : 32;
  for (let slot = 0; slot < slots; slot += 1) {
    yield* scanSlot(context, (bus << 8) | (slot << 3), bridge, bridges);
  }
  for (const one of bridges) {
    const secondary = one.subordinateBus;
    if (secondary <= bus) {
      context.skipped?.(one, `leads to bus ${hex(secondary)}, which is not above its own`);
    } else if (scanned.has(secondary)) {
      context.skipped?.(one, `leads to bus ${hex(secondary)}, which another bridge leads to as well`);
    } else {
      yield* scanBus(context, secondary, one, scanned);
    }
  }
}

function hex(bus: number): string {
  return bus.toString(16).padStart(2, "0");
}

function hasOneChild(bridge: PciDev): boolean {
  return bridge.pcieCap !== 0 && (bridge.pcieType === TYPE_ROOT_PORT || bridge.pcieType === TYPE_DOWNSTREAM);
}

function* scanSlot(context: ScanContext, first: Rid, bridge: PciDev | undefined, bridges: PciDev[]): Op<void> {
  let ari = false;
  let fn = 0;
  while (fn >= 0) {
    const found = context.functionAt(first + fn);
    const answers = found !== undefined && found.readConfig(0, 2) !== 0xffff;
    if (!answers && (fn === 0 || ari)) {
      return;
    }
    const dev = answers ? yield* foundFunction(context, found, fn, bridge) : undefined;
    if (dev !== undefined && dev.headerType !== 0) {
      bridges.push(dev);
    }
    if (fn === 0 && dev !== undefined) {
      ari = hasAri(dev) && bridge !== undefined && forwardsAri(bridge);
    }
    fn = ari ? nextAriFunction(dev, fn) : nextFunction(dev, fn);
  }
}

function* foundFunction(context: ScanContext, found: PciFunction, fn: number, bridge: PciDev | undefined): Op<PciDev> {
  const known = context.known(found.rid);
  if (known !== undefined) {
    return known;
  }
  const dev = yield* makeDev(context, found, bridge);
  context.found(dev, fn);
  return dev;
}

/** The function to look for after this one; -1 = none. Source: Linux 7.2 `next_fn()`. */
function nextFunction(dev: PciDev | undefined, fn: number): number {
  const single = fn === 0 && dev?.multifunction === false;
  return fn >= 7 || single ? -1 : fn + 1;
}

/**
 * The same with ARI forwarding on: the functions of a device form a list, which may go beyond 7.
 *
 * Source: Linux 7.2 `next_ari_fn()`, `pci_configure_ari()`.
 */
function nextAriFunction(dev: PciDev | undefined, fn: number): number {
  const at = dev?.config.findExtendedCapability(EXT_CAP_ARI) ?? 0;
  const next = dev === undefined || at === 0 ? 0 : dev.read16(at + 4) >>> 8;
  return next > fn ? next : -1;
}

function hasAri(dev: PciDev): boolean {
  return dev.pcieCap !== 0 && dev.config.findExtendedCapability(EXT_CAP_ARI) !== 0;
}

function forwardsAri(bridge: PciDev): boolean {
  return bridge.pcieCap !== 0 && (bridge.read32(bridge.pcieCap + 0x24) & DEVCAP2_ARI_FORWARDING) !== 0;
}

function* makeDev(context: ScanContext, found: PciFunction, bridge: PciDev | undefined): Op<PciDev> {
  const dev = new PciDev({
    function: found,
    trace: context.trace,
    externalFacing: context.isExternalFacing(found.rid),
    platform: context.platform,
    segment: context.segment,
    ...(bridge === undefined ? {} : { bridge }),
  });
  yield* pciAddFunction(dev);
  return dev;
}

/** Sets a new function up, and enables its ACS in kernels that do so at enumeration. Source: Linux 6.12 `pci_acs_init()`. */
export function* pciAddFunction(dev: PciDev): Op<void> {
  pciSetupDevice(dev);
  if (dev.platform.profile.acsEnabledAt === "enumeration") {
    yield* pciEnableAcs(dev);
  }
}
