/**
 * PCI Express: what silicon does (config space, fabric, endpoint) and what Linux does with it.
 *
 * @packageDocumentation
 */
export { pciLayouts } from "./config-space/capability-codec.ts";
export { type CapabilityEntry, type CapabilityLists } from "./config-space/capability-list.ts";
export { capabilityName } from "./config-space/capability-names.ts";
export {
  type AcsOptions,
  type AtsOptions,
  type CxlDeviceOptions,
  type CxlPortOptions,
  type PasidOptions,
  type PriOptions,
  type SriovOptions,
} from "./config-space/capability-options.ts";
export { ConfigSpace, type ConfigWriteListener } from "./config-space/config-space.ts";
export { type DecodedFields, decodeCapability } from "./config-space/decode-capability.ts";
export {
  CXL_DVSEC_DEVICE,
  CXL_DVSEC_DEVICE_GPF,
  CXL_DVSEC_FLEX_BUS,
  CXL_DVSEC_FUNCTION_MAP,
  CXL_DVSEC_PORT,
  CXL_DVSEC_PORT_GPF,
  CXL_DVSEC_REGISTER_LOCATOR,
  DVSEC_VENDOR_CXL,
} from "./config-space/dvsec-layouts.ts";
export {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_AER,
  EXT_CAP_ID_ARI,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_DPC,
  EXT_CAP_ID_DVSEC,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
  EXT_CAP_ID_VSEC,
} from "./config-space/extended-layouts.ts";
export {
  type EndpointOptions,
  type FunctionOptions,
  type PortOptions,
  type SwitchPortOptions,
  endpointConfig,
  rootPortConfig,
  switchPortConfig,
} from "./config-space/function-config.ts";
export { type DeviceMatch, type DeviceRange } from "./config-space/device-match.ts";
export { type RegisterReader } from "./config-space/register-layout.ts";
export { type ConfigReset } from "./config-space/register-map.ts";
export {
  CAP_ID_AF,
  CAP_ID_EXP,
  CAP_ID_MSI,
  CAP_ID_MSIX,
  CAP_ID_PCIX,
  CAP_ID_PM,
  PCIE_TYPE,
} from "./config-space/standard-layouts.ts";
export { Atc, type AtcEntry, AtcHit } from "./endpoint/atc.ts";
export { BaseAddresses, type BarPlace, type MemoryRegion } from "./endpoint/base-addresses.ts";
export { type Choices, type CompletionFaults } from "./endpoint/choices.ts";
export { Endpoint, type EndpointInit } from "./endpoint/endpoint.ts";
export {
  InFlight,
  type Finished,
  type InFlightKind,
  type InFlightRequest,
  type UsedTranslation,
} from "./endpoint/in-flight.ts";
export { type InterruptResult, Interrupts, type WriteMessage } from "./endpoint/interrupts.ts";
export { type InvalidateRequest } from "./endpoint/invalidation-queue.ts";
export { type InvalidationScope } from "./endpoint/invalidation-scope.ts";
export { type InterruptMessage, MsixTable } from "./endpoint/msix-table.ts";
export { type Obeys, honest } from "./endpoint/obeys.ts";
export { type PageRequestOptions, type PageRequestResult, type PageResponse } from "./endpoint/page-requests.ts";
export { type QueueOptions, type RequestQueue } from "./endpoint/queued-requests.ts";
export { type PastTranslation, type TranslationOptions } from "./endpoint/translations.ts";
export { AcsControl, type PeerDecision } from "./fabric/acs-control.ts";
export { type CacheLimits, type CachePolicy, cacheLimits, cachePolicies, xorshift32 } from "./fabric/cache-policy.ts";
export { type RequestCount, TlpCounters } from "./fabric/counters.ts";
export { AER_ERROR, type AerError, ErrorLog, type ErrorListener } from "./fabric/error-log.ts";
export { type SriovRegisters, type VirtualFunction, VirtualFunctions } from "./endpoint/virtual-functions.ts";
export { type DoorbellListener } from "./fabric/destinations.ts";
export { Fabric } from "./fabric/fabric.ts";
export {
  type CompletionStatus,
  type Delivery,
  type IommuHardware,
  type PageRequest,
  type RootComplex,
  TranslateResult,
} from "./fabric/iommu-hardware.ts";
export { type MemoryTarget } from "./fabric/memory-target.ts";
export { DmaResult, type RequestStatus, TranslationResult, completionOf } from "./fabric/outcome.ts";
export { type PciFunction } from "./fabric/pci-function.ts";
export { Port, type PortInit, type PortKind, type RequesterIdRule } from "./fabric/port.ts";
export {
  AT_MASK,
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_SOURCE_CXL,
  REQUEST_T,
  REQUEST_WRITE,
  REQUEST_XT,
  type Rid,
  formatRid,
} from "./fabric/request.ts";
export { type Requester } from "./fabric/requester.ts";
export { type RootPeerToPeer } from "./fabric/router.ts";
export {
  type InvalidateCompletionFields,
  type TlpHeader,
  decodeInvalidateCompletion,
  invalidateCompletionHeader,
  memoryRequestHeader,
  requestPrefix,
} from "./fabric/tlp-header.ts";
export {
  type InvalidatePayload,
  type PageRange,
  type PageRequestPayload,
  type PageResponsePayload,
  type PasidPrefix,
  type TranslationEntry,
  decodeInvalidate,
  decodePageRequest,
  decodePageResponse,
  decodePasidPrefix,
  decodeTranslation,
  encodeInvalidate,
  encodePageRequest,
  encodePageResponse,
  encodePasidPrefix,
  encodeTranslation,
  wireBytes,
} from "./fabric/tlp-payload.ts";
export {
  type BusNumbers,
  type InspectedCapability,
  type InspectedFunction,
  type SubsystemIds,
  inspectFunction,
} from "./import/inspect-function.ts";
export { type DescribedConfig, describedConfig } from "./import/described-config.ts";
export { type ExportedFunction, formatLspciDump } from "./import/lspci-export.ts";
export { type SysfsConfig, parseSysfsConfig } from "./import/sysfs-config.ts";
export { type LspciVerbose, parseLspciVerbose } from "./import/lspci-verbose.ts";
export { type DumpFunction, type LspciDump, parseLspciDump } from "./import/lspci-dump.ts";
export {
  type DescribedCapability,
  type DescribedDeviceCapabilities2,
  type DescribedFunction,
  type MachineDescription,
} from "./import/machine-description.ts";
export { parseMachineJson } from "./import/machine-json.ts";
export {
  type AcsSummary,
  type AriSummary,
  type AtsSummary,
  type CxlSummary,
  type PasidSummary,
  type PcieSummary,
  type PriSummary,
  type SriovSummary,
} from "./import/summaries.ts";
export { pciEnableAcs } from "./linux/acs-enable.ts";
export {
  ACS_CR,
  ACS_DT,
  ACS_EC,
  ACS_ISOLATION,
  ACS_RR,
  ACS_SV,
  ACS_TB,
  ACS_UF,
  acsFlagNames,
  acsFlagsOf,
} from "./linux/acs-flags.ts";
export { type AcsQuirk, type AcsQuirkAnswer, acsQuirks } from "./linux/acs-quirks.ts";
export { type AcsRule, type AcsVerdict, pciAcsEnabled, pciAcsPathEnabled, pciAcsVerdict } from "./linux/acs.ts";
export {
  type AtsEvent,
  type AtsPolicy,
  type AtsState,
  type ExplainedAtsPolicy,
  atsPolicyInSlot,
  atsReason,
} from "./linux/ats-policy.ts";
export {
  pciAtsPageAligned,
  pciAtsQueueDepth,
  pciAtsRequired,
  pciAtsSupported,
  pciDisableAts,
  pciEnableAts,
  pciPrepareAts,
  pciRestoreAtsState,
} from "./linux/ats.ts";
export { pciClearMaster, pciSetMaster } from "./linux/bus-master.ts";
export { PciBusResets } from "./linux/bus-resets.ts";
export { type DmaAliasQuirk, dmaAliasQuirks } from "./linux/dma-alias-quirks.ts";
export { type DmaAlias, type DmaAliasRule, pciForEachDmaAlias } from "./linux/dma-alias.ts";
export { pciSetupDevice } from "./linux/enumerate.ts";
export {
  type ExplainedGroup,
  type ExplainedGroups,
  type GrouplessFunction,
  type GroupingOptions,
  explainGroups,
} from "./linux/explain-groups.ts";
export { type GroupChange, type Grouped, groupChanges } from "./linux/group-changes.ts";
export { type GroupReason } from "./linux/group-reason.ts";
export {
  type AliasDecision,
  type GroupDecision,
  type IsolatedPathDecision,
  type NewGroupDecision,
  type PathDecision,
  type RequesterIdDecision,
  type SlotDecision,
  type GroupSearch,
  findPciGroup,
  pciDeviceGroup,
} from "./linux/group.ts";
export { machineFacts } from "./linux/machine-facts.ts";
export {
  pciDisablePasid,
  pciEnablePasid,
  pciMaxPasids,
  pciPasidFeatures,
  pciRestorePasidState,
} from "./linux/pasid.ts";
export { PciBus } from "./linux/pci-bus.ts";
export { type BridgeAlias, PciDev, type PciDevOptions, pciDev } from "./linux/pci-dev.ts";
export {
  type AssumedAcs,
  type PciFacts,
  type PciPlatform,
  type PciPlatformOptions,
  pciPlatform,
} from "./linux/pci-platform.ts";
export { type PciProfile, pciKernels, pciProfile } from "./linux/pci-profile.ts";
export {
  pciDisablePri,
  pciEnablePri,
  pciPrgResponsePasidRequired,
  pciPriSupported,
  pciResetPri,
  pciRestorePriState,
} from "./linux/pri.ts";
export { pciSetPowerState } from "./linux/power-state.ts";
export { type ResetObserver, type ResetPoint } from "./linux/reset-context.ts";
export { type ResetMethodName, type ResetRules, resetRules } from "./linux/reset-rules.ts";
export { PciResets, type PciResetsInit, pciResetSupported } from "./linux/resets.ts";
export { pciRestoreState, pciSaveState } from "./linux/save-restore.ts";
export { type SavedCapabilities, type SavedRegister } from "./linux/saved-registers.ts";
export { pciDisableSriov, pciEnableSriov, pciSriovNumVfs, pciSriovTotalVfs } from "./linux/sriov.ts";
export { type IsolationStep, type WayToIsolation, wayToIsolation } from "./linux/way-to-isolation.ts";
export { FABRIC, PCI_BUS, type PciPluginOptions, TOPOLOGY, pci } from "./plugin.ts";
export { Dpc, type DpcListener, type DpcNotification, type DpcTrigger } from "./reset/dpc.ts";
export { type BelowPort, type LinkHold, type LinkState, PortLink } from "./reset/port-link.ts";
export { PortRegisters } from "./reset/port-registers.ts";
export { RESET_EFFECTS, RESET_TIMES, type ResetEffect, type ResetKind, type ResetTimes } from "./reset/reset-kind.ts";
export {
  type DownstreamPortSpec,
  type EndpointNode,
  type EndpointSpec,
  type FunctionAddress,
  type LinkSpec,
  type PortAcs,
  type PortNode,
  type RootPortSpec,
  type SwitchSpec,
  type TopologyDescription,
  type TopologyOptions,
  parseRid,
  pciTopology,
} from "./topology/description.ts";
export { describedFunctions } from "./topology/described-functions.ts";
export { type MachineAddress, type MachineFunction, parseMachineAddress } from "./topology/machine-function.ts";
export { type MachineTopologyOptions, machineTopology } from "./topology/live-topology.ts";
export {
  type MachineTree,
  type MachineWarning,
  type SegmentTree,
  type TreeFunction,
  machineTree,
} from "./topology/machine-tree.ts";
export { Topology } from "./topology/topology.ts";
