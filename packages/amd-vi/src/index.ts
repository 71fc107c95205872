/**
 * AMD-Vi: the hardware, bit exact, and Linux's driver for it.
 *
 * @packageDocumentation
 */
export { amdviLayouts } from "./codecs/layouts.ts";
export {
  type DeviceAlias,
  type DeviceRange,
  type DeviceSetting,
  type FirmwareDescription,
  type UnitDescription,
  type UnityMap,
} from "./firmware/description.ts";
export { IVHD_ENTRY, type IvhdEntry, type IvhdEntryBase } from "./firmware/ivhd-entry.ts";
export { type IvrsBlockFields, type IvrsFields, encodeIvrs } from "./firmware/ivrs-encode.ts";
export {
  type IvhdBlock,
  type IvmdBlock,
  type IvrsBlock,
  type IvrsBlockBase,
  type IvrsTable,
  type UnknownBlock,
  decodeIvrs,
} from "./firmware/ivrs.ts";
export {
  type AcpiDevice,
  type LinuxIvrs,
  type SpecialDevice,
  linuxIvrs,
  targetIvhdType,
} from "./firmware/linux-view.ts";
export { AmdIommu, type AmdIommuOptions, type AmdIommuPorts } from "./hardware/amd-iommu.ts";
export { type CachePolicies } from "./hardware/cache-policy.ts";
export type { CachePolicy, ExplainedAtsPolicy } from "@iommu-lab/pci";
export { type OpenPoints, defaultOpenPoints } from "./hardware/open-points.ts";
export { type InterruptLine } from "./interrupt.ts";
export { commandName, commandOpcode, describeCommand, iotlbPasid } from "./layout/command-text.ts";
export {
  type IotlbTarget,
  type PagesTarget,
  completePprRequest,
  completionWaitInterrupt,
  completionWaitStore,
  invalidateDevtabEntry,
  invalidateInterruptTable,
  invalidateIommuAll,
  invalidateIommuPages,
  invalidateIotlbPages,
} from "./layout/command.ts";
export {
  DTE_BYTES,
  type DeviceTableEntry,
  EMPTY_DTE,
  decodeDte,
  describeDte,
  encodeDte,
} from "./layout/device-table-entry.ts";
export { describeEvent, eventName } from "./layout/event-text.ts";
export {
  EVENT,
  EVENT_GN,
  EVENT_I,
  EVENT_NX,
  EVENT_PE,
  EVENT_PR,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  EVENT_US,
  type LogEvent,
  decodeEvent,
  encodeEvent,
  encodeInvalidPprRequest,
  eventType,
} from "./layout/event.ts";
export {
  type FeatureField,
  type FeatureFlag,
  type FeatureOptions,
  type Features,
  decodeFeatures,
  encodeFeatureRegisters,
  encodeFeatures,
} from "./layout/features.ts";
export { decodeGcr3Entry, describeGcr3Entry, encodeGcr3Entry, gcr3Capacity, gcr3Index } from "./layout/gcr3-entry.ts";
export {
  type HostLeaf,
  amdV1,
  codedSizeLog2,
  defaultSizeLog2,
  encodeHostLeaf,
  encodeHostTable,
  hostAddress,
} from "./layout/host-page-table.ts";
export { ALL_PAGES, type PageRange, decodePageRange, describePageRange, encodePageRange } from "./layout/page-range.ts";
export { type PprLogEntry, decodePprEntry, encodePprEntry } from "./layout/ppr-log-entry.ts";
export {
  type RegisterRegion,
  decodeBufferBase,
  decodeDeviceTableBase,
  encodeBufferBase,
  encodeDeviceTableBase,
  invalidationTimeout,
} from "./layout/registers.ts";
export { AMD_ATS_SLOT, AMD_IOMMUS, type AmdViOptions, amdvi } from "./plugin.ts";
export { amdIdentityAtsOff, amdWithAnyTranslation } from "./policy.ts";
