/**
 * Intel VT-d: the remapping hardware, bit exact, and Linux's driver for it.
 *
 * @packageDocumentation
 */
export { vtdLayouts } from "./codecs/layouts.ts";
export { type FirmwareOptions, type IntegratedAtc, type ReservedMemory, buildDmar } from "./firmware/dmar-build.ts";
export { type NewDmarStructure, type NewDmarTable, encodeDmar } from "./firmware/dmar-encode.ts";
export {
  ALL_PORTS,
  ATC_REQUIRED,
  type Andd,
  DMAR_TYPE,
  type DeviceScope,
  type DmarStructure,
  type DmarStructureBase,
  type DmarTable,
  type Drhd,
  INCLUDE_PCI_ALL,
  type PathHop,
  type Rhsa,
  type Rmrr,
  SCOPE_TYPE,
  type ScopeList,
  type UnknownStructure,
  decodeDmar,
} from "./firmware/dmar.ts";
export {
  type AtsStatement,
  type DmarRegion,
  type ScopeMatch,
  type ScopedDevice,
  atsStatement,
  matchScope,
  regionsOf,
  unitOf,
  unitsInKernelOrder,
} from "./firmware/scope-match.ts";
export { type CachePolicies } from "./hardware/cache-policy.ts";
export type { CachePolicy, ExplainedAtsPolicy } from "@iommu-lab/pci";
export { type Register64, VtdUnit, type VtdUnitOptions, type VtdUnitPorts } from "./hardware/vtd-unit.ts";
export { type InterruptSink } from "./interrupt.ts";
export { ALL_PAGES_ORDER, type AlignedRange, alignedRange, codePages, decodePages } from "./layout/address-range.ts";
export { type Capabilities, decodeCapabilities } from "./layout/capabilities.ts";
export {
  type ContextEntry,
  decodeContextEntry,
  describeContextEntry,
  encodeContextEntry,
} from "./layout/context-entry.ts";
export { describeDescriptor, descriptorName, descriptorType } from "./layout/descriptor-text.ts";
export {
  type DeviceTlbTarget,
  GRANULARITY_DOMAIN,
  GRANULARITY_GLOBAL,
  GRANULARITY_PASID,
  GRANULARITY_SELECTIVE,
  PC_DOMAIN,
  PC_GLOBAL,
  PC_PASID,
  type WaitOptions,
  contextCacheInvalidation,
  deviceTlbInvalidation,
  hostPermissionInvalidation,
  interruptEntryInvalidation,
  invalidationWait,
  iotlbInvalidation,
  iotlbPageInvalidation,
  pageGroupResponse,
  pasidCacheInvalidation,
  pasidDeviceTlbInvalidation,
  pasidIotlbInvalidation,
  pasidIotlbPageInvalidation,
} from "./layout/descriptor.ts";
export { FAULT_REASONS, type FaultAnswer, type FaultReason } from "./layout/fault-reason.ts";
export { type FaultAccess, type FaultRecord, decodeFaultRecord, encodeFaultRecord } from "./layout/fault-record.ts";
export { type PageRequestDescriptor, decodePageRequest, encodePageRequest } from "./layout/page-request.ts";
export {
  EMPTY_PASID_ENTRY,
  type PasidDirectoryEntry,
  type PasidEntry,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  describePasidDirectoryEntry,
  describePasidEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  pasidDirectoryOffset,
  pasidEntryOffset,
} from "./layout/pasid-entry.ts";
export {
  type InvalidationQueueAddress,
  type RootTableAddress,
  decodeInvalidationQueueAddress,
  decodeRootTableAddress,
  encodeInvalidationQueueAddress,
  encodeRootTableAddress,
} from "./layout/registers.ts";
export {
  type RootEntry,
  type ScalableRootEntry,
  decodeRootEntry,
  decodeScalableRootEntry,
  describeRootEntry,
  encodeRootEntry,
  encodeScalableRootEntry,
} from "./layout/root-entry.ts";
export {
  type ScalableContextEntry,
  decodeScalableContext,
  describeScalableContext,
  encodeScalableContext,
} from "./layout/scalable-context-entry.ts";
export { secondStage } from "./layout/second-stage.ts";
export { VTD_UNIT, type VtdOptions, vtd } from "./plugin.ts";
export {
  ATS_SLOT,
  atsPolicyOf,
  vtdLegacyWithPaging,
  vtdScalableAtProbe,
  vtdWithAnyDomain,
  vtdTrackPasids,
} from "./policy/ats-policies.ts";
export { type RawRegister, type VtdFeatures } from "./unit-registers.ts";
