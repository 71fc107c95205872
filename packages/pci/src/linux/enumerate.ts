import type { KernelProfile, Trace } from "@iommu-lab/core";
import type { PciFunction } from "../fabric/pci-function.ts";
import type { Rid } from "../fabric/request.ts";
import { PciDev } from "./pci-dev.ts";

const CAP_EXP = 0x10;
const EXT_CAP_ACS = 0x0d;
const EXT_CAP_ATS = 0x0f;
const EXT_CAP_SRIOV = 0x10;
const EXT_CAP_PRI = 0x13;
const EXT_CAP_PASID = 0x1b;
const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;
const TYPE_INTEGRATED = 9;
const DEVCAP2_EE_PREFIX = 1 << 21;

/** What the scan needs from the platform. */
export interface ScanContext {
  /** The function that answers at a config address. */
  readonly functionAt: (rid: Rid) => PciFunction | undefined;
  /** Firmware's list of external-facing ports. */
  readonly isExternalFacing: (rid: Rid) => boolean;
  readonly kernel: KernelProfile;
  readonly trace: Trace;
  readonly acsRequested: () => boolean;
  /** The function at an address if the kernel knows it already. */
  readonly known: (rid: Rid) => PciDev | undefined;
  /** Called for each new function when it is set up, in the kernel's order. */
  readonly found: (dev: PciDev) => void;
}

/** Whether the command line switches ATS off (`pci=noats`). */
function noAts(kernel: KernelProfile): boolean {
  return (kernel.parameters.get("pci") ?? "").split(",").includes("noats");
}

/**
 * Reads what the kernel keeps of a function: header, PCI Express type, and where ATS, PRI, PASID and ACS are.
 *
 * Source: Linux 7.2 `pci_setup_device()`, `pci_init_capabilities()`, `pci_configure_eetlp_prefix()`.
 */
export function pciSetupDevice(dev: PciDev, kernel: KernelProfile): void {
  const { config } = dev;
  dev.vendor = (dev.physfn ?? dev).read16(0);
  dev.device = dev.physfn === undefined ? dev.read16(2) : vfDeviceOf(dev.physfn);
  dev.class = dev.read32(8) >>> 8;
  dev.headerType = dev.read8(0x0e) & 0x7f;
  dev.multifunction = (dev.read8(0x0e) & 0x80) !== 0;
  dev.subordinateBus = dev.headerType === 1 ? dev.read8(0x19) : 0;
  dev.pcieCap = config.findCapability(CAP_EXP);
  if (dev.pcieCap !== 0) {
    dev.pcieType = (dev.read16(dev.pcieCap + 2) >>> 4) & 0xf;
    dev.devcap = dev.read32(dev.pcieCap + 4);
    dev.eetlpPrefixMax = prefixes(dev);
  }
  dev.noAts = noAts(kernel);
  dev.atsCap = dev.noAts ? 0 : config.findExtendedCapability(EXT_CAP_ATS);
  dev.priCap = config.findExtendedCapability(EXT_CAP_PRI);
  dev.pasidRequired = dev.priCap !== 0 && (dev.read16(dev.priCap + 6) & 0x8000) !== 0;
  dev.pasidCap = config.findExtendedCapability(EXT_CAP_PASID);
  dev.acsCap = config.findExtendedCapability(EXT_CAP_ACS);
  dev.acsCapabilities = dev.acsCap === 0 ? 0 : dev.read16(dev.acsCap + 4);
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
 * numbers are as firmware set them.
 *
 * Source: Linux 7.2 `pci_scan_child_bus()`, `pci_scan_slot()`.
 */
export function scanBus(context: ScanContext, bus: number, bridge: PciDev | undefined): void {
  const bridges: PciDev[] = [];
  const slots = bridge !== undefined && hasOneChild(bridge) ? 1 : 32;
  for (let slot = 0; slot < slots; slot += 1) {
    scanSlot(context, (bus << 8) | (slot << 3), bridge, bridges);
  }
  for (const one of bridges) {
    if (one.subordinateBus > bus) {
      scanBus(context, one.subordinateBus, one);
    }
  }
}

function hasOneChild(bridge: PciDev): boolean {
  return bridge.pcieCap !== 0 && (bridge.pcieType === TYPE_ROOT_PORT || bridge.pcieType === TYPE_DOWNSTREAM);
}

function scanSlot(context: ScanContext, first: Rid, bridge: PciDev | undefined, bridges: PciDev[]): void {
  let functions = 1;
  for (let fn = 0; fn < functions; fn += 1) {
    const found = context.functionAt(first + fn);
    if (found === undefined || found.readConfig(0, 2) === 0xffff) {
      continue;
    }
    const known = context.known(found.rid);
    const dev = known ?? makeDev(context, found, bridge);
    if (fn === 0 && dev.multifunction) {
      functions = 8;
    }
    if (known === undefined) {
      context.found(dev);
    }
    if (dev.headerType === 1) {
      bridges.push(dev);
    }
  }
}

function makeDev(context: ScanContext, found: PciFunction, bridge: PciDev | undefined): PciDev {
  const dev = new PciDev({
    function: found,
    trace: context.trace,
    externalFacing: context.isExternalFacing(found.rid),
    acsRequested: context.acsRequested,
    ...(bridge === undefined ? {} : { bridge }),
  });
  pciSetupDevice(dev, context.kernel);
  return dev;
}
