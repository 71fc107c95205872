import type { CapabilityEntry } from "../config-space/capability-list.ts";
import { capabilityName } from "../config-space/capability-names.ts";
import { ConfigSpace } from "../config-space/config-space.ts";
import { type DecodedFields, decodeCapability } from "../config-space/decode-capability.ts";
import {
  type AcsSummary,
  type AriSummary,
  type AtsSummary,
  type CxlSummary,
  type PasidSummary,
  type PcieSummary,
  type PriSummary,
  type SriovSummary,
  summarize,
} from "./summaries.ts";

/** One capability of an inspected function. */
export interface InspectedCapability {
  /** Capability id. */
  readonly id: number;
  /** Its name in `lspci`'s words, without details. */
  readonly name: string;
  /** Byte offset of its header. */
  readonly offset: number;
  /** Whether it is an extended capability. */
  readonly extended: boolean;
  /** Version of an extended capability. */
  readonly version?: number;
  /** Every field that the model knows, `register.field`, as the number in the bits. */
  readonly fields: DecodedFields;
}

/** Who made the board, four hexadecimal digits each. */
export interface SubsystemIds {
  /** Subsystem Vendor ID. */
  readonly vendor: string;
  /** Subsystem ID. */
  readonly device: string;
}

/** Bus numbers of a bridge, two hexadecimal digits each. */
export interface BusNumbers {
  /** The bus it is on. */
  readonly primary: string;
  /** The bus right below it. */
  readonly secondary: string;
  /** The highest bus below it. */
  readonly subordinate: string;
}

/**
 * One function, decoded: an element of `functions` in `inspect@1`. Strings are hexadecimal as `lspci -n` prints them (ids,
 * class, bus numbers); numbers are numbers. The summaries use the words of `lspci -vvv`.
 */
export interface InspectedFunction {
  /** `dddd:bb:dd.f`. */
  readonly bdf: string;
  /** Vendor ID, four digits. */
  readonly vendor: string;
  /** Device ID, four digits. */
  readonly device: string;
  /** Revision ID, two digits. */
  readonly revision: string;
  /** Base class and sub-class, four digits. */
  readonly class: string;
  /** Programming interface, two digits. */
  readonly progIf: string;
  /** Subsystem ids, from the header or, on a bridge, from the Subsystem capability. */
  readonly subsystem?: SubsystemIds;
  /** How many bytes the dump has. */
  readonly configBytes: number;
  /** Header Type bits 6:0: 0 endpoint, 1 bridge, 2 CardBus. */
  readonly headerType: number;
  /** Header Type bit 7. */
  readonly multiFunction: boolean;
  /** Header types 1 and 2. */
  readonly bridge?: BusNumbers;
  /** Standard list in list order, then the extended list in list order. */
  readonly capabilities: readonly InspectedCapability[];
  /** PCI Express capability. */
  readonly pcie?: PcieSummary;
  /** Address Translation Services. */
  readonly ats?: AtsSummary;
  /** Page Request Interface. */
  readonly pri?: PriSummary;
  /** Process Address Space ID. */
  readonly pasid?: PasidSummary;
  /** Access Control Services. */
  readonly acs?: AcsSummary;
  /** Alternative Routing-ID Interpretation. */
  readonly ari?: AriSummary;
  /** Single Root I/O Virtualization. */
  readonly sriov?: SriovSummary;
  /** PCIe DVSEC for CXL devices, vendor 1e98 only. */
  readonly cxl?: CxlSummary;
  /** What is wrong with the function or its dump. */
  readonly warnings: readonly string[];
}

/**
 * Decodes the config space of one function.
 *
 * @param bdf - its name, copied into the result
 * @param bytes - 1 to 4096 bytes from offset 0; what is missing is not invented, but named in the warnings
 * @throws InputError when there are no bytes, or more than 4096
 */
export function inspectFunction(bdf: string, bytes: Uint8Array): InspectedFunction {
  const config = new ConfigSpace(bytes);
  const { entries, warnings } = config.capabilities();
  const headerType = config.read8(0x0e) & 0x7f;
  const capabilities = entries.map((entry) => inspectCapability(config, entry, bytes.length));
  const subsystem = findSubsystem(config, headerType, capabilities);
  return {
    bdf,
    vendor: hexDigits(config.read16(0x00), 4),
    device: hexDigits(config.read16(0x02), 4),
    revision: hexDigits(config.read8(0x08), 2),
    class: hexDigits(config.read16(0x0a), 4),
    progIf: hexDigits(config.read8(0x09), 2),
    ...(subsystem === undefined ? {} : { subsystem }),
    configBytes: bytes.length,
    headerType,
    multiFunction: (config.read8(0x0e) & 0x80) !== 0,
    ...(headerType === 1 || headerType === 2 ? { bridge: busNumbers(config) } : {}),
    capabilities,
    ...summarize(capabilities),
    warnings: [...functionWarnings(config, headerType, bytes.length), ...warnings],
  };
}

function inspectCapability(config: ConfigSpace, entry: CapabilityEntry, present: number): InspectedCapability {
  return {
    id: entry.id,
    name: capabilityName(entry),
    offset: entry.offset,
    extended: entry.extended,
    ...(entry.extended ? { version: entry.version } : {}),
    fields: decodeCapability(config, entry, present),
  };
}

function busNumbers(config: ConfigSpace): BusNumbers {
  return {
    primary: hexDigits(config.read8(0x18), 2),
    secondary: hexDigits(config.read8(0x19), 2),
    subordinate: hexDigits(config.read8(0x1a), 2),
  };
}

function findSubsystem(
  config: ConfigSpace,
  headerType: number,
  capabilities: readonly InspectedCapability[],
): SubsystemIds | undefined {
  const fields = capabilities.find((capability) => capability.id === 0x0d && !capability.extended)?.fields;
  const vendor = headerType === 0 ? config.read16(0x2c) : fields?.["subsystemVendorId"];
  const device = headerType === 0 ? config.read16(0x2e) : fields?.["subsystemId"];
  if (vendor === undefined || device === undefined || vendor === 0 || vendor === 0xffff) {
    return undefined;
  }
  return { vendor: hexDigits(vendor, 4), device: hexDigits(device, 4) };
}

function functionWarnings(config: ConfigSpace, headerType: number, present: number): string[] {
  const warnings: string[] = [];
  if (present < 0x40) {
    warnings.push(`only ${present} bytes: the header has 64`);
  }
  if (config.read32(0) === 0xffffffff) {
    warnings.push("all ones: the function did not answer when the dump was made");
  } else if (headerType > 2) {
    warnings.push(`unknown header type 0x${headerType.toString(16)}`);
  }
  return warnings;
}

function hexDigits(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
