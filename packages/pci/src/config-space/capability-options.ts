import { InputError } from "@iommu-lab/core";
import { type ConfigBuilder, expectRange } from "./config-builder.ts";
import {
  CXL_DVSEC_DEVICE,
  CXL_DVSEC_FLEX_BUS,
  CXL_DVSEC_FUNCTION_MAP,
  CXL_DVSEC_PORT,
  DVSEC_VENDOR_CXL,
} from "./dvsec-layouts.ts";
import {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ARI,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_DPC,
  EXT_CAP_ID_DVSEC,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "./extended-layouts.ts";
import { CAP_ID_AF, CAP_ID_EXP, CAP_ID_MSI, CAP_ID_PM, PCIE_TYPE } from "./standard-layouts.ts";

/** The ATS capability of a function. */
export interface AtsOptions {
  /** Invalidate Queue Depth, 1 to 32 (32 is encoded as 0); 32 when absent. */
  readonly queueDepth?: number;
  /** Page Aligned Request; true when absent. Without it the VT-d driver of Linux leaves ATS off. */
  readonly pageAligned?: boolean;
  /** Smallest Translation Unit as firmware left it, 0 to 31: 2^(12+stu) bytes. */
  readonly stu?: number;
  /** Global Invalidate Supported. */
  readonly globalInvalidate?: boolean;
  /** Relaxed Ordering Supported. */
  readonly relaxedOrdering?: boolean;
}

/** The Page Request Interface of a function. */
export interface PriOptions {
  /** Outstanding Page Request Capacity; 32 when absent. */
  readonly capacity?: number;
  /** PRG Response PASID Required; true when absent. */
  readonly responsePasidRequired?: boolean;
}

/** The PASID capability of a function. */
export interface PasidOptions {
  /** Max PASID Width, 0 to 20 bits. */
  readonly width: number;
  /** Execute Permission Supported. */
  readonly exec?: boolean;
  /** Privileged Mode Supported. */
  readonly priv?: boolean;
}

/** The ACS registers of a function or port, as numbers in the layout of PCIe 6.0 §7.7.11 (SV 0, TB 1, RR 2, CR 3, UF 4, EC 5, DT 6). */
export interface AcsOptions {
  /** ACS Capability register. */
  readonly capability: number;
  /** ACS Control register; 0 when absent. */
  readonly control?: number;
}

/** The SR-IOV capability of a physical function. */
export interface SriovOptions {
  /** InitialVFs and TotalVFs. */
  readonly totalVfs: number;
  /** First VF Offset; 1 when absent. */
  readonly firstVfOffset?: number;
  /** VF Stride; 1 when absent. */
  readonly vfStride?: number;
  /** VF Device ID. */
  readonly vfDevice: number;
}

/** The PCIe DVSEC for CXL devices. */
export interface CxlDeviceOptions {
  /** Cache_Capable: the device uses CXL.cache (Type 1 or 2). */
  readonly cache: boolean;
  /** IO_Capable; true when absent. */
  readonly io?: boolean;
  /** Mem_Capable: the device has CXL.mem (Type 2 or 3). */
  readonly mem: boolean;
  /** Cache_Enable as firmware left it. */
  readonly cacheEnabled?: boolean;
  /** Mem_Enable as firmware left it. */
  readonly memEnabled?: boolean;
  /** HDM_Count, 0 to 2; 1 when absent and `mem`. */
  readonly hdmCount?: number;
  /** Cache Writeback and Invalidate Capable; true when absent and `cache`. */
  readonly cacheWritebackInvalidate?: boolean;
  /** CXL Reset Capable; true when absent. */
  readonly reset?: boolean;
  /** CXL Reset Timeout: 0 = 10 ms, 1 = 100 ms, 2 = 1 s, 3 = 10 s, 4 = 100 s; 0 when absent. */
  readonly resetTimeout?: number;
  /** Function numbers that a CXL reset leaves alone (Non-CXL Function Map); no map when absent. */
  readonly nonCxlFunctions?: readonly number[];
}

/** The CXL DVSEC for ports. */
export interface CxlPortOptions {
  /** Unmask SBR: a secondary bus reset reaches the CXL device below. */
  readonly unmaskSbr?: boolean;
}

/** The PCI Express capability. */
export interface PcieOptions {
  /** Device/Port Type, see `PCIE_TYPE`. */
  readonly type: number;
  /** Function Level Reset Capability. */
  readonly flr: boolean;
  /** End-End TLP Prefix Supported, which requests with a PASID need. */
  readonly endEndTlpPrefix: boolean;
  /** ARI Forwarding Supported (ports). */
  readonly ariForwarding: boolean;
  /** Slot Implemented (ports). */
  readonly slot: boolean;
  /** Hot-Plug Capable, with a power controller (ports with a slot). */
  readonly hotplug: boolean;
}

/** Appends Power Management version 3. */
export function addPowerManagement(to: ConfigBuilder, noSoftReset: boolean): void {
  const at = to.standard(CAP_ID_PM, 8);
  to.set16(at + 2, 0x0003);
  to.set16(at + 4, noSoftReset ? 0x0008 : 0);
}

/** Appends PCI Advanced Features with Function Level Reset. */
export function addAdvancedFeatures(to: ConfigBuilder): void {
  const at = to.standard(CAP_ID_AF, 6);
  to.set8(at + 2, 6);
  to.set8(at + 3, 3);
}

/** Appends Downstream Port Containment with software trigger, disabled. */
export function addDpc(to: ConfigBuilder, rpExtensions: boolean): void {
  const at = to.extended(EXT_CAP_ID_DPC, 1, rpExtensions ? 0x30 : 0x0c);
  to.set16(at + 4, 0x0080 | (rpExtensions ? 0x20 : 0));
  to.set16(at + 8, 0x1f00);
}

/** Appends a 64-bit MSI capability with masking. */
export function addMsi(to: ConfigBuilder): void {
  const at = to.standard(CAP_ID_MSI, 0x18);
  to.set16(at + 2, 0x0180);
}

/** Appends the PCI Express capability, version 2. */
export function addPcie(to: ConfigBuilder, options: PcieOptions): void {
  const at = to.standard(CAP_ID_EXP, 0x3c);
  to.set16(at + 2, 0x0002 | (options.type << 4) | (options.slot ? 0x100 : 0));
  to.set32(at + 4, (0x8000 | (options.flr ? 0x1000_0000 : 0)) >>> 0);
  if (options.type === PCIE_TYPE.rootPort) {
    // Root Capabilities: Request Retry Status can be shown to software.
    to.set16(at + 0x1e, 1);
  }
  // Reset values of Device Control: relaxed ordering and no-snoop allowed, 512-byte reads.
  to.set16(at + 8, 0x2810);
  to.set32(at + 0x24, (options.endEndTlpPrefix ? 0x0060_0000 : 0) | (options.ariForwarding ? 0x20 : 0));
  if (options.type !== PCIE_TYPE.integratedEndpoint && options.type !== PCIE_TYPE.eventCollector) {
    // A link that trained to 16 GT/s, 16 lanes; a port reports that it is active.
    to.set32(at + 0x0c, 0x0000_0104 | (options.slot ? 0x0010_0000 : 0));
    to.set16(at + 0x12, 0x0104 | (options.slot ? 0x2000 : 0));
    if (options.hotplug) {
      // Power Controller Present, Hot-Plug Surprise, Hot-Plug Capable; a card is there.
      to.set32(at + 0x14, 0x0000_0062);
      to.set16(at + 0x1a, 0x0040);
    }
    to.set32(at + 0x2c, 0x0000_001e);
    to.set16(at + 0x30, 0x0004);
  }
}

/** Appends ATS, disabled. */
export function addAts(to: ConfigBuilder, options: AtsOptions): void {
  const { queueDepth = 32, stu = 0 } = options;
  expectRange("ats.queueDepth", queueDepth, 1, 32);
  expectRange("ats.stu", stu, 0, 31);
  const at = to.extended(EXT_CAP_ID_ATS, 1, 8);
  to.set16(
    at + 4,
    (queueDepth & 0x1f) |
      ((options.pageAligned ?? true) ? 0x20 : 0) |
      (options.globalInvalidate === true ? 0x40 : 0) |
      (options.relaxedOrdering === true ? 0x80 : 0),
  );
  to.set16(at + 6, stu);
}

/** Appends PASID, disabled. */
export function addPasid(to: ConfigBuilder, options: PasidOptions): void {
  expectRange("pasid.width", options.width, 0, 20);
  const at = to.extended(EXT_CAP_ID_PASID, 1, 8);
  to.set16(at + 4, (options.width << 8) | (options.exec === true ? 2 : 0) | (options.priv === true ? 4 : 0));
}

/** Appends PRI, disabled and stopped. */
export function addPri(to: ConfigBuilder, options: PriOptions): void {
  const { capacity = 32 } = options;
  expectRange("pri.capacity", capacity, 1, 0xffffffff);
  const at = to.extended(EXT_CAP_ID_PRI, 1, 16);
  to.set16(at + 6, 0x0100 | ((options.responsePasidRequired ?? true) ? 0x8000 : 0));
  to.set32(at + 8, capacity);
}

/** Appends ACS. */
export function addAcs(to: ConfigBuilder, options: AcsOptions): void {
  const { capability, control = 0 } = options;
  expectRange("acs.capability", capability, 0, 0xffff);
  if ((control & ~capability) !== 0) {
    throw new InputError(
      `acs.control 0x${control.toString(16)} enables what acs.capability 0x${capability.toString(16)} lacks`,
    );
  }
  const at = to.extended(EXT_CAP_ID_ACS, 1, 12);
  to.set16(at + 4, capability);
  to.set16(at + 6, control);
}

/** Appends ARI with the number of the next function, 0 for none. */
export function addAri(to: ConfigBuilder, nextFunction: number): void {
  expectRange("ari.nextFunction", nextFunction, 0, 255);
  const at = to.extended(EXT_CAP_ID_ARI, 1, 8);
  to.set16(at + 4, nextFunction << 8);
}

/** Appends SR-IOV with no VF enabled. */
export function addSriov(to: ConfigBuilder, options: SriovOptions): void {
  expectRange("sriov.totalVfs", options.totalVfs, 1, 0xffff);
  expectRange("sriov.vfDevice", options.vfDevice, 0, 0xffff);
  const at = to.extended(EXT_CAP_ID_SRIOV, 1, 0x40);
  to.set16(at + 0xc, options.totalVfs);
  to.set16(at + 0xe, options.totalVfs);
  to.set16(at + 0x14, options.firstVfOffset ?? 1);
  to.set16(at + 0x16, options.vfStride ?? 1);
  to.set16(at + 0x1a, options.vfDevice);
  to.set32(at + 0x1c, 0x553);
  to.set32(at + 0x20, 1);
}

/** Appends the DVSECs of a CXL device: the device itself and its Flex Bus port. */
export function addCxlDevice(to: ConfigBuilder, options: CxlDeviceOptions): void {
  const { io = true, reset = true, resetTimeout = 0, cacheWritebackInvalidate = options.cache } = options;
  const { hdmCount = options.mem ? 1 : 0 } = options;
  expectRange("cxl.hdmCount", hdmCount, 0, 2);
  expectRange("cxl.resetTimeout", resetTimeout, 0, 4);
  const protocols = (options.cache ? 1 : 0) | (io ? 2 : 0) | (options.mem ? 4 : 0);
  const at = addDvsec(to, CXL_DVSEC_DEVICE, 2, 0x3c);
  to.set16(
    at + 0xa,
    protocols | (hdmCount << 4) | (cacheWritebackInvalidate ? 0x40 : 0) | (reset ? 0x80 : 0) | (resetTimeout << 8),
  );
  to.set16(at + 0xc, (options.cacheEnabled === true ? 1 : 0) | (io ? 2 : 0) | (options.memEnabled === true ? 4 : 0));
  addFunctionMap(to, options.nonCxlFunctions);
  addFlexBus(to, protocols);
}

function addFunctionMap(to: ConfigBuilder, functions: readonly number[] | undefined): void {
  if (functions === undefined) {
    return;
  }
  const at = addDvsec(to, CXL_DVSEC_FUNCTION_MAP, 0, 0x2c);
  const words = new Uint32Array(8);
  for (const fn of functions) {
    expectRange("cxl.nonCxlFunctions", fn, 0, 255);
    words[fn & 7] = ((words[fn & 7] ?? 0) | (1 << (fn >>> 3))) >>> 0;
  }
  words.forEach((word, index) => to.set32(at + 0xc + 4 * index, word));
}

/** Appends the DVSECs of a CXL root port or switch downstream port. */
export function addCxlPort(to: ConfigBuilder, options: CxlPortOptions): void {
  const at = addDvsec(to, CXL_DVSEC_PORT, 0, 0x28);
  to.set16(at + 0xa, 1);
  to.set16(at + 0xc, options.unmaskSbr === true ? 1 : 0);
  addFlexBus(to, 7);
}

function addFlexBus(to: ConfigBuilder, protocols: number): void {
  const at = addDvsec(to, CXL_DVSEC_FLEX_BUS, 2, 0x20);
  for (const register of [0xa, 0xc, 0xe]) {
    to.set16(at + register, protocols | 0x20);
  }
}

function addDvsec(to: ConfigBuilder, id: number, revision: number, length: number): number {
  const at = to.extended(EXT_CAP_ID_DVSEC, 1, length);
  to.set16(at + 4, DVSEC_VENDOR_CXL);
  to.set16(at + 6, revision | (length << 4));
  to.set16(at + 8, id);
  return at;
}
