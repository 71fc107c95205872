/**
 * Intel VT-d: the remapping hardware, bit exact, and Linux's driver for it.
 *
 * @packageDocumentation
 */
export { type Atsr } from "./driver/ats-firmware.ts";
export { type CachePolicy } from "./hardware/translation-caches.ts";
export { type AlignedRange, alignedRange } from "./layout/address-range.ts";
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
  type WaitOptions,
  contextCacheInvalidation,
  deviceTlbInvalidation,
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
  type PasidDirectoryEntry,
  type PasidEntry,
  decodePasidDirectoryEntry,
  decodePasidEntry,
  describePasidDirectoryEntry,
  describePasidEntry,
  encodePasidDirectoryEntry,
  encodePasidEntry,
} from "./layout/pasid-entry.ts";
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
export { type Words, fromQwords, qwordStrings } from "./layout/words.ts";
export { VTD_UNIT, type VtdHardware, type VtdOptions, vtd } from "./plugin.ts";
export {
  ATS_SLOT,
  atsPolicyOf,
  vtdLegacyWithPaging,
  vtdScalableAtProbe,
  vtdTrackPasids,
} from "./policy/ats-policies.ts";
export { type RawRegister, type VtdFeatures } from "./unit-registers.ts";
