import type { DecodedFields } from "../config-space/decode-capability.ts";
import {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ARI,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_DVSEC,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "../config-space/extended-layouts.ts";
import { CAP_ID_EXP, PCIE_TYPE } from "../config-space/standard-layouts.ts";

/** PCI Express, in the words of `lspci`. */
export interface PcieSummary {
  /** Device/Port Type. */
  readonly type: string;
  /** Capability version, 1 or 2. */
  readonly capVersion: number;
  /** Slot Implemented; only on ports with a link below them. */
  readonly slot?: boolean;
  /** Function Level Reset Capability. */
  readonly flr: boolean;
  /** End-End TLP Prefix Supported, which PASID needs on the way; version 2 only. */
  readonly eetlpPrefix?: boolean;
  /** Max End-End TLP Prefixes, 1 to 4; only when supported. */
  readonly maxEetlpPrefixes?: number;
  /** ARI Forwarding Supported; ports of version 2 only. */
  readonly ariFwd?: boolean;
}

/** Address Translation Services. */
export interface AtsSummary {
  /** Invalidate Queue Depth as in the register: 0 means 32. */
  readonly invalidateQueueDepth: number;
  /** Page Aligned Request. */
  readonly pageAlignedRequest: boolean;
  /** Global Invalidate Supported. */
  readonly globalInvalidate: boolean;
  /** Relaxed Ordering Supported. */
  readonly relaxedOrdering: boolean;
  /** ATS Enable. */
  readonly enable: boolean;
  /** STU: translations are of 2^(12+STU) bytes at least. */
  readonly smallestTranslationUnit: number;
}

/** Page Request Interface. */
export interface PriSummary {
  /** PRI Enable. */
  readonly enable: boolean;
  /** Status bits that are set: `RF`, `UPRGI`, `Stopped`, `PASID` (PRG Response PASID Required). */
  readonly status: readonly string[];
  /** Outstanding Page Request Capacity. */
  readonly outstandingCapacity: number;
  /** Outstanding Page Request Allocation. */
  readonly outstandingAllocation: number;
}

/** Process Address Space ID. */
export interface PasidSummary {
  /** Execute Permission Supported. */
  readonly execSupported: boolean;
  /** Privileged Mode Supported. */
  readonly privSupported: boolean;
  /** Max PASID Width in bits. */
  readonly maxPasidWidth: number;
  /** PASID Enable. */
  readonly enable: boolean;
  /** Execute Permission Enable. */
  readonly execEnable: boolean;
  /** Privileged Mode Enable. */
  readonly privEnable: boolean;
}

/** Access Control Services: the bits that are set, by `lspci`'s short names. */
export interface AcsSummary {
  /** What the function can do. */
  readonly capability: readonly string[];
  /** What is enabled. */
  readonly control: readonly string[];
}

/** Alternative Routing-ID Interpretation. */
export interface AriSummary {
  /** MFVC Function Groups Capability. */
  readonly mfvc: boolean;
  /** ACS Function Groups Capability. */
  readonly acs: boolean;
  /** Next Function Number, 0 at the end. */
  readonly nextFunction: number;
}

/** Single Root I/O Virtualization. */
export interface SriovSummary {
  /** VF Enable. */
  readonly enable: boolean;
  /** InitialVFs. */
  readonly initialVFs: number;
  /** TotalVFs. */
  readonly totalVFs: number;
  /** NumVFs. */
  readonly numVFs: number;
  /** First VF Offset. */
  readonly vfOffset: number;
  /** VF Stride. */
  readonly vfStride: number;
  /** VF Device ID, four hexadecimal digits. */
  readonly vfDeviceId: string;
}

/** PCIe DVSEC for CXL devices. */
export interface CxlSummary {
  /** Cache_Capable. */
  readonly cache: boolean;
  /** IO_Capable. */
  readonly io: boolean;
  /** Mem_Capable. */
  readonly mem: boolean;
  /** Mem_HwInit_Mode. */
  readonly memHwInit: boolean;
  /** HDM_Count. */
  readonly hdmCount: number;
  /** Viral_Capable. */
  readonly viral: boolean;
  /** CXL_Reset_Capable. */
  readonly resetCapable: boolean;
  /** CONFIG_LOCK. */
  readonly locked: boolean;
  /** The control register. */
  readonly control: {
    /** Cache_Enable. */
    readonly cacheEnable: boolean;
    /** IO_Enable. */
    readonly ioEnable: boolean;
    /** Mem_Enable. */
    readonly memEnable: boolean;
    /** Viral_Enable. */
    readonly viral: boolean;
  };
}

/** All summaries of one function; a capability that it lacks has none. */
export interface Summaries {
  pcie?: PcieSummary;
  ats?: AtsSummary;
  pri?: PriSummary;
  pasid?: PasidSummary;
  acs?: AcsSummary;
  ari?: AriSummary;
  sriov?: SriovSummary;
  cxl?: CxlSummary;
}

interface Capability {
  readonly id: number;
  readonly extended: boolean;
  readonly fields: DecodedFields;
}

const pcieTypes: Readonly<Record<number, string>> = {
  [PCIE_TYPE.endpoint]: "Endpoint",
  [PCIE_TYPE.legacyEndpoint]: "Legacy Endpoint",
  [PCIE_TYPE.rootPort]: "Root Port",
  [PCIE_TYPE.upstreamPort]: "Upstream Port",
  [PCIE_TYPE.downstreamPort]: "Downstream Port",
  [PCIE_TYPE.pcieToPciBridge]: "PCI-Express to PCI/PCI-X Bridge",
  [PCIE_TYPE.pciToPcieBridge]: "PCI/PCI-X to PCI-Express Bridge",
  [PCIE_TYPE.integratedEndpoint]: "Root Complex Integrated Endpoint",
  [PCIE_TYPE.eventCollector]: "Root Complex Event Collector",
};

const acsNames: readonly (readonly [string, string])[] = [
  ["sourceValidation", "SrcValid"],
  ["translationBlocking", "TransBlk"],
  ["p2pRequestRedirect", "ReqRedir"],
  ["p2pCompletionRedirect", "CmpltRedir"],
  ["upstreamForwarding", "UpstreamFwd"],
  ["p2pEgressControl", "EgressCtrl"],
  ["directTranslatedP2p", "DirectTrans"],
];

const priStatusNames: readonly (readonly [string, string])[] = [
  ["responseFailure", "RF"],
  ["unexpectedPageRequestGroupIndex", "UPRGI"],
  ["stopped", "Stopped"],
  ["prgResponsePasidRequired", "PASID"],
];

/** Sums up the capabilities that decide about translation and isolation. One that the dump cuts off has no summary. */
export function summarize(capabilities: readonly Capability[]): Summaries {
  const result: Summaries = {};
  const find = (isExtended: boolean, id: number, lastField: string): DecodedFields | undefined =>
    capabilities.find(
      ({ extended, id: candidate, fields }) => extended === isExtended && candidate === id && lastField in fields,
    )?.fields;
  const pcie = find(false, CAP_ID_EXP, "deviceCapabilities.functionLevelReset");
  const ats = find(true, EXT_CAP_ID_ATS, "control.enable");
  const pri = find(true, EXT_CAP_ID_PRI, "outstandingAllocation");
  const pasid = find(true, EXT_CAP_ID_PASID, "control.enable");
  const acs = find(true, EXT_CAP_ID_ACS, "control.sourceValidation");
  const ari = find(true, EXT_CAP_ID_ARI, "capability.nextFunction");
  const sriov = find(true, EXT_CAP_ID_SRIOV, "vfDeviceId");
  // The field exists in the layout of the CXL device DVSEC alone.
  const cxl = find(true, EXT_CAP_ID_DVSEC, "lock.configLock");
  if (pcie !== undefined) {
    result.pcie = pcieSummary(pcie);
  }
  if (ats !== undefined) {
    result.ats = atsSummary(ats);
  }
  if (pri !== undefined) {
    result.pri = priSummary(pri);
  }
  if (pasid !== undefined) {
    result.pasid = pasidSummary(pasid);
  }
  if (acs !== undefined) {
    result.acs = { capability: setBits(acs, "capability", acsNames), control: setBits(acs, "control", acsNames) };
  }
  if (ari !== undefined) {
    result.ari = ariSummary(ari);
  }
  if (sriov !== undefined) {
    result.sriov = sriovSummary(sriov);
  }
  if (cxl !== undefined) {
    result.cxl = cxlSummary(cxl);
  }
  return result;
}

function pcieSummary(fields: DecodedFields): PcieSummary {
  const type = number(fields, "flags.type");
  const hasPortBelow =
    type === PCIE_TYPE.rootPort || type === PCIE_TYPE.downstreamPort || type === PCIE_TYPE.pciToPcieBridge;
  const isVersion2 = fields["deviceCapabilities2.endEndTlpPrefix"] !== undefined;
  const hasPrefix = flag(fields, "deviceCapabilities2.endEndTlpPrefix");
  return {
    type: pcieTypes[type] ?? `Unknown type ${type}`,
    capVersion: number(fields, "flags.version"),
    ...(hasPortBelow ? { slot: flag(fields, "flags.slot") } : {}),
    flr: flag(fields, "deviceCapabilities.functionLevelReset"),
    ...(isVersion2 ? { eetlpPrefix: hasPrefix } : {}),
    ...(hasPrefix ? { maxEetlpPrefixes: number(fields, "deviceCapabilities2.maxEndEndTlpPrefixes") || 4 } : {}),
    ...(isVersion2 && hasPortBelow ? { ariFwd: flag(fields, "deviceCapabilities2.ariForwarding") } : {}),
  };
}

function atsSummary(fields: DecodedFields): AtsSummary {
  return {
    invalidateQueueDepth: number(fields, "capability.invalidateQueueDepth"),
    pageAlignedRequest: flag(fields, "capability.pageAlignedRequest"),
    globalInvalidate: flag(fields, "capability.globalInvalidateSupported"),
    relaxedOrdering: flag(fields, "capability.relaxedOrderingSupported"),
    enable: flag(fields, "control.enable"),
    smallestTranslationUnit: number(fields, "control.stu"),
  };
}

function priSummary(fields: DecodedFields): PriSummary {
  return {
    enable: flag(fields, "control.enable"),
    status: setBits(fields, "status", priStatusNames),
    outstandingCapacity: number(fields, "outstandingCapacity"),
    outstandingAllocation: number(fields, "outstandingAllocation"),
  };
}

function pasidSummary(fields: DecodedFields): PasidSummary {
  return {
    execSupported: flag(fields, "capability.executePermission"),
    privSupported: flag(fields, "capability.privilegedMode"),
    maxPasidWidth: number(fields, "capability.maxPasidWidth"),
    enable: flag(fields, "control.enable"),
    execEnable: flag(fields, "control.executePermissionEnable"),
    privEnable: flag(fields, "control.privilegedModeEnable"),
  };
}

function ariSummary(fields: DecodedFields): AriSummary {
  return {
    mfvc: flag(fields, "capability.mfvcFunctionGroups"),
    acs: flag(fields, "capability.acsFunctionGroups"),
    nextFunction: number(fields, "capability.nextFunction"),
  };
}

function sriovSummary(fields: DecodedFields): SriovSummary {
  return {
    enable: flag(fields, "control.vfEnable"),
    initialVFs: number(fields, "initialVfs"),
    totalVFs: number(fields, "totalVfs"),
    numVFs: number(fields, "numVfs"),
    vfOffset: number(fields, "firstVfOffset"),
    vfStride: number(fields, "vfStride"),
    vfDeviceId: number(fields, "vfDeviceId").toString(16).padStart(4, "0"),
  };
}

function cxlSummary(fields: DecodedFields): CxlSummary {
  return {
    cache: flag(fields, "capability.cacheCapable"),
    io: flag(fields, "capability.ioCapable"),
    mem: flag(fields, "capability.memCapable"),
    memHwInit: flag(fields, "capability.memHwInit"),
    hdmCount: number(fields, "capability.hdmCount"),
    viral: flag(fields, "capability.viralCapable"),
    resetCapable: flag(fields, "capability.cxlResetCapable"),
    locked: flag(fields, "lock.configLock"),
    control: {
      cacheEnable: flag(fields, "control.cacheEnable"),
      ioEnable: flag(fields, "control.ioEnable"),
      memEnable: flag(fields, "control.memEnable"),
      viral: flag(fields, "control.viralEnable"),
    },
  };
}

function number(fields: DecodedFields, name: string): number {
  return fields[name] ?? 0;
}

function flag(fields: DecodedFields, name: string): boolean {
  return fields[name] === 1;
}

function setBits(
  fields: DecodedFields,
  register: string,
  names: readonly (readonly [string, string])[],
): readonly string[] {
  return names.filter(([field]) => flag(fields, `${register}.${field}`)).map(([, name]) => name);
}
