import type { DecodedFields } from "../config-space/decode-capability.ts";
import type { BusNumbers, SubsystemIds } from "./inspect-function.ts";
import type {
  AcsSummary,
  AriSummary,
  AtsSummary,
  CxlSummary,
  PasidSummary,
  PcieSummary,
  PriSummary,
  SriovSummary,
} from "./summaries.ts";

/** A capability as text names it. */
export interface DescribedCapability {
  /** Byte offset, hexadecimal without 0x. */
  readonly offset: string;
  /** `lspci`'s words, with the details that it puts on the same line. */
  readonly name: string;
  /** Version of an extended capability. */
  readonly version?: number;
  /** Register fields that the text tells, named as `inspect` names them. */
  readonly fields?: DecodedFields;
}

/** The parts of Device Capabilities 2 that `lspci -vv` prints. */
export interface DescribedDeviceCapabilities2 {
  /** End-End TLP Prefix Supported. */
  readonly eetlpPrefix?: boolean;
  /** Max End-End TLP Prefixes, 1 to 4. */
  readonly maxEetlpPrefixes?: number;
  /** ARI Forwarding Supported. */
  readonly ariFwd?: boolean;
}

/**
 * One function as decoded text tells of it: everything but its address may be unknown. What is absent is not known, which is
 * not the same as "is not there"; only `capabilities` says what is there.
 */
export interface DescribedFunction {
  /** `dddd:bb:dd.f`, lower case. */
  readonly bdf: string;
  /** The rest of its first line. */
  readonly title?: string;
  /** Vendor ID, four hexadecimal digits. */
  readonly vendor?: string;
  /** Device ID, four hexadecimal digits. */
  readonly device?: string;
  /** Device IDs that the name fits, where it fits several. */
  readonly deviceCandidates?: readonly string[];
  /** Where the ids come from, when not from the text itself. */
  readonly idsFrom?: string;
  /** Base class and sub-class, four hexadecimal digits. */
  readonly class?: string;
  /** Programming interface, two hexadecimal digits. */
  readonly progIf?: string;
  /** Revision ID, two hexadecimal digits. */
  readonly revision?: string;
  /** Subsystem ids. */
  readonly subsystem?: SubsystemIds;
  /** Kernel driver in use. */
  readonly driver?: string;
  /** IOMMU group number as Linux made it. */
  readonly iommuGroup?: string;
  /** NUMA node. */
  readonly numaNode?: number;
  /** Addresses of the ports above it, from the root down. */
  readonly path?: readonly string[];
  /** Header Type bits 6:0. */
  readonly headerType?: number;
  /** Fields of the header that the text tells, named as the codecs `pci-header` and `pci-bridge-header` name them. */
  readonly header?: DecodedFields;
  /** Header Type bit 7. Text does not print it. */
  readonly multiFunction?: boolean;
  /** Whether the text lists more than one function of the slot. */
  readonly severalFunctionsSeen?: boolean;
  /** In the order of the text; empty also where the text has no capability data at all. */
  readonly capabilities: readonly DescribedCapability[];
  /** Bridges. */
  readonly bridge?: BusNumbers;
  /** PCI Express capability. */
  readonly pcie?: Partial<PcieSummary>;
  /** Device Capabilities 2. */
  readonly devCap2?: DescribedDeviceCapabilities2;
  /** Address Translation Services. */
  readonly ats?: Partial<AtsSummary>;
  /** Page Request Interface. */
  readonly pri?: Partial<PriSummary>;
  /** Process Address Space ID. */
  readonly pasid?: Partial<PasidSummary>;
  /** Access Control Services. */
  readonly acs?: AcsSummary;
  /** Alternative Routing-ID Interpretation. */
  readonly ari?: Partial<AriSummary>;
  /** Single Root I/O Virtualization. */
  readonly sriov?: Partial<SriovSummary>;
  /** PCIe DVSEC for CXL devices. */
  readonly cxl?: Partial<CxlSummary>;
  /** The DPC capability line, as `lspci` prints it. */
  readonly dpcCap?: string;
}

/**
 * The PCI functions of one machine, as decoded text (`lspci -vvv`) tells of them. A JSON file of this shape, or
 * the reader of `lspci -vvv`, gives it.
 */
export interface MachineDescription {
  /** What the machine is called. */
  readonly machine?: string;
  /** The kernel under which the text was made. */
  readonly kernel?: string;
  /** Where the text comes from. */
  readonly source?: string;
  /** The functions in the order of the text. */
  readonly devices: readonly DescribedFunction[];
}
