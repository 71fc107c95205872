import {
  type AcsOptions,
  type AtsOptions,
  type CxlDeviceOptions,
  type CxlPortOptions,
  type PasidOptions,
  type PriOptions,
  type SriovOptions,
  addAcs,
  addAdvancedFeatures,
  addAri,
  addAts,
  addCxlDevice,
  addCxlPort,
  addDpc,
  addMsi,
  addPasid,
  addPcie,
  addPowerManagement,
  addPri,
  addSriov,
} from "./capability-options.ts";
import { ConfigBuilder, expectRange } from "./config-builder.ts";
import { PCIE_TYPE } from "./standard-layouts.ts";

/** What every function of {@link endpointConfig}, {@link rootPortConfig} and {@link switchPortConfig} can say. */
export interface FunctionOptions {
  /** Vendor ID. */
  readonly vendor?: number;
  /** Device ID. */
  readonly device?: number;
  /** Revision ID; 0 when absent. */
  readonly revision?: number;
  /** Whether the slot has several functions (Header Type bit 7). */
  readonly multiFunction?: boolean;
  /** ACS capability. */
  readonly acs?: AcsOptions;
  /** MSI capability; true when absent. */
  readonly msi?: boolean;
  /** No_Soft_Reset of Power Management: true (D3hot loses nothing) when absent. */
  readonly noSoftReset?: boolean;
}

/** An endpoint to build. */
export interface EndpointOptions extends FunctionOptions {
  /** Vendor ID. */
  readonly vendor: number;
  /** Device ID. */
  readonly device: number;
  /** Class code, 24 bits: base class, sub-class, programming interface (0x020000 Ethernet, 0x120000 accelerator). */
  readonly class: number;
  /** Device/Port Type: `PCIE_TYPE.endpoint` when absent, or `PCIE_TYPE.integratedEndpoint`, … */
  readonly pcieType?: number;
  /** Subsystem vendor and id. */
  readonly subsystem?: {
    /** Subsystem Vendor ID. */
    readonly vendor: number;
    /** Subsystem ID. */
    readonly device: number;
  };
  /** ATS capability. */
  readonly ats?: AtsOptions;
  /** PASID capability. */
  readonly pasid?: PasidOptions;
  /** Page Request Interface. */
  readonly pri?: PriOptions;
  /** Function Level Reset Capability; true when absent. */
  readonly flr?: boolean;
  /** PCI Advanced Features with Function Level Reset; false when absent. */
  readonly advancedFeatures?: boolean;
  /** ARI capability with the next function's number. */
  readonly ari?: {
    /** Next Function Number, 0 at the end. */
    readonly nextFunction: number;
  };
  /** SR-IOV capability. */
  readonly sriov?: SriovOptions;
  /** CXL device. */
  readonly cxl?: CxlDeviceOptions;
}

/** Bus numbers and services of a port. */
export interface PortOptions extends FunctionOptions {
  /** Primary bus number; 0 when absent. */
  readonly primary?: number;
  /** Secondary bus number: the bus right below. */
  readonly secondary: number;
  /** Subordinate bus number: the highest bus below. */
  readonly subordinate: number;
  /** End-End TLP Prefix Supported; true when absent. Requests with a PASID need it on the whole path. */
  readonly endEndTlpPrefix?: boolean;
  /** ARI Forwarding Supported; true when absent on a port whose lower side is a link. */
  readonly ariForwarding?: boolean;
  /** A hot-plug capable slot with a power controller; false when absent. */
  readonly hotplug?: boolean;
  /** Downstream Port Containment; false when absent. */
  readonly dpc?: boolean;
  /** CXL port. */
  readonly cxl?: CxlPortOptions;
}

/** A switch port to build. */
export interface SwitchPortOptions extends PortOptions {
  /** Which side of the switch. */
  readonly side: "upstream" | "downstream";
}

/**
 * The 4096 bytes of an endpoint after power-on, with everything disabled. Extended capabilities come in the order ATS,
 * PASID, PRI, ACS, ARI, SR-IOV, CXL; the first is at 0x100, each on a 16-byte boundary.
 *
 * @throws InputError when an option is out of range
 */
export function endpointConfig(options: EndpointOptions): Uint8Array {
  const to = new ConfigBuilder();
  const type = options.pcieType ?? PCIE_TYPE.endpoint;
  setIdentity(to, options, options.vendor, options.device, options.class, 0);
  if (options.subsystem !== undefined) {
    to.set16(0x2c, options.subsystem.vendor);
    to.set16(0x2e, options.subsystem.device);
  }
  addStandardCapabilities(to, options);
  addPcie(to, {
    type,
    flr: options.flr ?? true,
    endEndTlpPrefix: options.pasid !== undefined,
    ariForwarding: false,
    slot: false,
    hotplug: false,
  });
  if (options.advancedFeatures === true) {
    addAdvancedFeatures(to);
  }
  addTranslationServices(to, options);
  if (options.acs !== undefined) {
    addAcs(to, options.acs);
  }
  if (options.ari !== undefined) {
    addAri(to, options.ari.nextFunction);
  }
  if (options.sriov !== undefined) {
    addSriov(to, options.sriov);
  }
  if (options.cxl !== undefined) {
    addCxlDevice(to, options.cxl);
  }
  return to.bytes();
}

/**
 * The 4096 bytes of a root port with its bus numbers assigned.
 *
 * @throws InputError when an option is out of range
 */
export function rootPortConfig(options: PortOptions): Uint8Array {
  return portConfig(options, PCIE_TYPE.rootPort, 0x1b36, 0x000c);
}

/**
 * The 4096 bytes of a switch port with its bus numbers assigned.
 *
 * @throws InputError when an option is out of range
 */
export function switchPortConfig(options: SwitchPortOptions): Uint8Array {
  return options.side === "upstream"
    ? portConfig(options, PCIE_TYPE.upstreamPort, 0x104c, 0x8232)
    : portConfig(options, PCIE_TYPE.downstreamPort, 0x104c, 0x8233);
}

function portConfig(options: PortOptions, type: number, vendor: number, device: number): Uint8Array {
  expectRange("primary", options.primary ?? 0, 0, 255);
  expectRange("secondary", options.secondary, 1, 255);
  expectRange("subordinate", options.subordinate, options.secondary, 255);
  const to = new ConfigBuilder();
  const isDownstream = type !== PCIE_TYPE.upstreamPort;
  setIdentity(to, options, options.vendor ?? vendor, options.device ?? device, 0x060400, 1);
  // Memory space and bus master: what firmware leaves on a port with devices below.
  to.set16(0x04, 0x0006);
  to.set8(0x18, options.primary ?? 0);
  to.set8(0x19, options.secondary);
  to.set8(0x1a, options.subordinate);
  addStandardCapabilities(to, options);
  addPcie(to, {
    type,
    flr: false,
    endEndTlpPrefix: options.endEndTlpPrefix ?? true,
    ariForwarding: isDownstream && (options.ariForwarding ?? true),
    slot: isDownstream,
    hotplug: isDownstream && (options.hotplug ?? false),
  });
  if (options.acs !== undefined) {
    addAcs(to, options.acs);
  }
  if (options.dpc === true) {
    addDpc(to, type === PCIE_TYPE.rootPort);
  }
  if (options.cxl !== undefined) {
    addCxlPort(to, options.cxl);
  }
  return to.bytes();
}

function setIdentity(
  to: ConfigBuilder,
  options: FunctionOptions,
  vendor: number,
  device: number,
  classCode: number,
  headerType: number,
): void {
  expectRange("vendor", vendor, 0, 0xfffe);
  expectRange("device", device, 0, 0xffff);
  expectRange("class", classCode, 0, 0xffffff);
  to.set16(0x00, vendor);
  to.set16(0x02, device);
  to.set32(0x08, ((classCode << 8) | (options.revision ?? 0)) >>> 0);
  to.set8(0x0e, headerType | (options.multiFunction === true ? 0x80 : 0));
}

function addStandardCapabilities(to: ConfigBuilder, options: FunctionOptions): void {
  addPowerManagement(to, options.noSoftReset ?? true);
  if (options.msi ?? true) {
    addMsi(to);
  }
}

function addTranslationServices(to: ConfigBuilder, options: EndpointOptions): void {
  if (options.ats !== undefined) {
    addAts(to, options.ats);
  }
  if (options.pasid !== undefined) {
    addPasid(to, options.pasid);
  }
  if (options.pri !== undefined) {
    addPri(to, options.pri);
  }
}
