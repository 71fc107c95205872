/**
 * Arm SMMUv3: the hardware, bit exact, and Linux's driver for it.
 *
 * @packageDocumentation
 */
export { ATS_SLOT, atsPolicyOf, smmuv3OnDemand, smmuv3OnDemand612, smmuv3WithPaging61 } from "./ats-policy.ts";
export { type CachePolicies } from "./hardware/cache-policy.ts";
export type { CachePolicy } from "@iommu-lab/pci";
export { Smmu, type SmmuOptions, type SmmuPorts } from "./hardware/smmu.ts";
export { InterruptLine, type InterruptLines, interruptLines } from "./interrupt-line.ts";
export { commandName, describeCommand } from "./layout/command-text.ts";
export {
  ATC_SIZE_ALL,
  COMMAND,
  type CommandField,
  type CommandName,
  OPCODE,
  PRI_RESPONSE,
  RANGE_ALL,
  SYNC_SIGNAL,
  cmdAtcInv,
  cmdCfgiAll,
  cmdCfgiCd,
  cmdCfgiSte,
  cmdPrefetchConfig,
  cmdPriResp,
  cmdSync,
  encodeCommand,
} from "./layout/command.ts";
export { CD, type CdField, TG0, decodeCd, describeCd, encodeCd, granuleOfTg1 } from "./layout/context-descriptor.ts";
export { EVENT, EVENT_CLASS, type EventFields, describeEvent, encodeEvent, eventName } from "./layout/event-record.ts";
export {
  HTTU,
  type IdRegisters,
  type Identification,
  STALL_MODEL,
  TT_ENDIAN,
  decodeIdRegisters,
} from "./layout/id-registers.ts";
export { smmuv3Layouts } from "./layouts.ts";
export { describeL1cd, describeL1std, encodeL1cd, encodeL1std } from "./layout/level1-descriptors.ts";
export { type PageRequestFields, encodePageRequest } from "./layout/page-request-record.ts";
export { blockedMeansAtsOff, identityAtsOff, smmuv3AtProbe, userspaceOptIn } from "./policy/proposed.ts";
export {
  EATS,
  S1_DSS,
  S1_FMT,
  S2_TG,
  SH_CFG_INCOMING,
  STE,
  STE_CONFIG,
  STRW,
  type SteField,
  decodeSte,
  describeSte,
  encodeSte,
} from "./layout/stream-table-entry.ts";
export { vmsav8_64, vmsav8_64Process } from "./layout/vmsav8-64.ts";
export { type MachineOptions, type ReservedMemory, type RidRange, type SmmuInstance } from "./machine.ts";
export { SMMUV3_HARDWARE, SMMUV3_INSTANCES, type Smmuv3Options, idRegistersOf, smmuv3 } from "./plugin.ts";
