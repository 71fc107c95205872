import { type Layout, decodeFields, encodeFields } from "@iommu-lab/core";
import { addressBits } from "./address-size.ts";

/** SMMU_IDR0. Source: SMMUv3 §6.3.1. */
export const IDR0 = {
  s2p: [0, 0, 0],
  s1p: [0, 1, 1],
  ttf: [0, 3, 2],
  cohacc: [0, 4, 4],
  btm: [0, 5, 5],
  httu: [0, 7, 6],
  hyp: [0, 9, 9],
  ats: [0, 10, 10],
  ns1Ats: [0, 11, 11],
  asid16: [0, 12, 12],
  msi: [0, 13, 13],
  sev: [0, 14, 14],
  atos: [0, 15, 15],
  pri: [0, 16, 16],
  vmw: [0, 17, 17],
  vmid16: [0, 18, 18],
  cd2l: [0, 19, 19],
  vatos: [0, 20, 20],
  ttEndian: [0, 22, 21],
  atsRecErr: [0, 23, 23],
  stallModel: [0, 25, 24],
  termModel: [0, 26, 26],
  stLevel: [0, 28, 27],
} as const;

/** SMMU_IDR1. Source: SMMUv3 §6.3.2. */
export const IDR1 = {
  sidSize: [0, 5, 0],
  ssidSize: [0, 10, 6],
  priQs: [0, 15, 11],
  eventQs: [0, 20, 16],
  cmdQs: [0, 25, 21],
  attrPermsOvr: [0, 26, 26],
  attrTypesOvr: [0, 27, 27],
  rel: [0, 28, 28],
  queuesPreset: [0, 29, 29],
  tablesPreset: [0, 30, 30],
  ecmdq: [0, 31, 31],
} as const;

/** SMMU_IDR3. Source: SMMUv3 §6.3.4. */
export const IDR3 = {
  had: [0, 2, 2],
  pbha: [0, 3, 3],
  xnx: [0, 4, 4],
  pps: [0, 5, 5],
  mpam: [0, 7, 7],
  fwb: [0, 8, 8],
  stt: [0, 9, 9],
  ril: [0, 10, 10],
  bbml: [0, 12, 11],
  e0pd: [0, 13, 13],
  dpt: [0, 15, 15],
  pasidTt: [0, 16, 16],
} as const;

/** SMMU_IDR5. Source: SMMUv3 §6.3.6. */
export const IDR5 = {
  oas: [0, 2, 0],
  gran4K: [0, 4, 4],
  gran16K: [0, 5, 5],
  gran64K: [0, 6, 6],
  ds: [0, 7, 7],
  d128: [0, 8, 8],
  vax: [0, 11, 10],
  stallMax: [0, 31, 16],
} as const;

/** IDR0.STALL_MODEL. */
export const STALL_MODEL = {
  /** Software chooses, per context descriptor. */
  stallOrTerminate: 0,
  /** Faults terminate. */
  terminate: 1,
  /** Faults stall. */
  stallForced: 2,
} as const;

/** IDR0.TTENDIAN. */
export const TT_ENDIAN = {
  /** Software chooses. */
  mixed: 0,
  /** Little-endian. */
  little: 2,
  /** Big-endian. */
  big: 3,
} as const;

/** IDR0.HTTU: what the SMMU updates in descriptors by itself. */
export const HTTU = {
  /** Flags are left to software. */
  none: 0,
  /** The access flag. */
  accessFlag: 1,
  /** The access flag and the dirty state. */
  accessFlagAndDirty: 2,
  /** These, and the access flag of tables. */
  tableAccessFlag: 3,
} as const;

/** Physical addresses of the model have at most 52 bits; IDR5.OAS = 7 (56) counts as that. */
const LARGEST_ADDRESS = 52;

/** IDR0.TTF bit of the AArch64 format. */
export const TTF_AARCH64 = 2;

/** The ID registers that change behaviour, as read. */
export interface IdRegisters {
  /** SMMU_IDR0. */
  readonly idr0: number;
  /** SMMU_IDR1. */
  readonly idr1: number;
  /** SMMU_IDR3. */
  readonly idr3: number;
  /** SMMU_IDR5. */
  readonly idr5: number;
  /** SMMU_IDR2; default 0. */
  readonly idr2?: number;
  /** SMMU_IDR4; default 0. */
  readonly idr4?: number;
  /** SMMU_IIDR: implementer and product; default 0. */
  readonly iidr?: number;
  /** SMMU_AIDR: the revision of the architecture; default 0 = 3.0. */
  readonly aidr?: number;
}

/** What an SMMU is, by its ID registers. Sizes are in bits, flags are booleans. */
export interface Identification {
  /** Stage 1 exists. */
  readonly stage1: boolean;
  /** Stage 2 exists. */
  readonly stage2: boolean;
  /** Table walks snoop the caches of CPUs. */
  readonly coherent: boolean;
  /** One of {@link HTTU}. */
  readonly httu: number;
  /** Broadcast TLB maintenance of CPUs reaches this SMMU. */
  readonly broadcast: boolean;
  /** EL2 is supported. */
  readonly hyp: boolean;
  /** ATS is supported. */
  readonly ats: boolean;
  /** Split-stage ATS (STE.EATS = 2) is possible. */
  readonly splitStageAts: boolean;
  /** Bits of an ASID. */
  readonly asidBits: 8 | 16;
  /** Bits of a VMID. */
  readonly vmidBits: 8 | 16;
  /** Interrupts can be messages. */
  readonly msi: boolean;
  /** Events of CPUs can be sent. */
  readonly sev: boolean;
  /** PRI is supported. */
  readonly pri: boolean;
  /** Two-level context descriptor tables. */
  readonly twoLevelCd: boolean;
  /** Two-level stream tables. */
  readonly twoLevelStreamTable: boolean;
  /** One of {@link TT_ENDIAN}. */
  readonly ttEndian: number;
  /** Errors of ATS requests can be recorded (CR2.REC_CFG_ATS). */
  readonly atsRecordErrors: boolean;
  /** One of {@link STALL_MODEL}. */
  readonly stallModel: number;
  /** Terminated transactions always abort. */
  readonly alwaysAborts: boolean;
  /** 64-bit tables. */
  readonly aarch64: boolean;
  /** Bits of a StreamID. */
  readonly streamIdBits: number;
  /** Bits of a SubstreamID; 0 = none. */
  readonly substreamIdBits: number;
  /** Log2 of the longest command queue. */
  readonly commandQueueBits: number;
  /** Log2 of the longest event queue. */
  readonly eventQueueBits: number;
  /** Log2 of the longest page request queue. */
  readonly pageRequestQueueBits: number;
  /** STE.MemAttr, SHCFG and ALLOCCFG have an effect. */
  readonly attributeTypesOverride: boolean;
  /** STE.PRIVCFG and INSTCFG have an effect. */
  readonly attributePermissionsOverride: boolean;
  /** Tables or queues are preset, or base registers are relative. */
  readonly embedded: boolean;
  /** Automatic page responses echo the PASID. */
  readonly pagePrgPasid: boolean;
  /** Stage 2 knows four execute permissions. */
  readonly stage2ExecuteNever: boolean;
  /** Stage 2 can force write-back. */
  readonly forceWriteBack: boolean;
  /** CD.E0PD has an effect. */
  readonly unprivilegedRangeOff: boolean;
  /** Device permission tables exist. */
  readonly devicePermissionTable: boolean;
  /** T0SZ up to 48 is legal. */
  readonly smallTables: boolean;
  /** Invalidations may name ranges. */
  readonly rangeInvalidation: boolean;
  /** CD.HAD has an effect. */
  readonly hierarchicalAttributesOff: boolean;
  /** The PASID of a Translated request counts. */
  readonly pasidOnTranslated: boolean;
  /** Output address bits. */
  readonly oas: number;
  /** Input addresses of stage 1 have up to 52 bits. */
  readonly largeInput: boolean;
  /** 52-bit addresses with 4 and 16 KiB granules (CD.DS, STE.S2DS). */
  readonly largeDescriptors: boolean;
  /** How many transactions can be stalled. */
  readonly stallMax: number;
  /** Pages of 4 KiB. */
  readonly granule4K: boolean;
  /** Pages of 16 KiB. */
  readonly granule16K: boolean;
  /** Pages of 64 KiB. */
  readonly granule64K: boolean;
}

function decode<K extends string>(layout: Layout<K>, value: number): Record<K, number> {
  return decodeFields(layout, [value, 0]);
}

/** Takes the ID registers apart. */
export function decodeIdRegisters(registers: IdRegisters): Identification {
  const idr0 = decode<keyof typeof IDR0>(IDR0, registers.idr0);
  const idr1 = decode<keyof typeof IDR1>(IDR1, registers.idr1);
  const idr3 = decode<keyof typeof IDR3>(IDR3, registers.idr3);
  const idr5 = decode<keyof typeof IDR5>(IDR5, registers.idr5);
  return {
    stage1: idr0.s1p === 1,
    stage2: idr0.s2p === 1,
    coherent: idr0.cohacc === 1,
    broadcast: idr0.btm === 1,
    httu: idr0.httu,
    hyp: idr0.hyp === 1,
    ats: idr0.ats === 1,
    splitStageAts: idr0.ats === 1 && idr0.ns1Ats === 0,
    asidBits: idr0.asid16 === 1 ? 16 : 8,
    vmidBits: idr0.vmid16 === 1 ? 16 : 8,
    msi: idr0.msi === 1,
    sev: idr0.sev === 1,
    pri: idr0.pri === 1,
    twoLevelCd: idr0.cd2l === 1,
    twoLevelStreamTable: idr0.stLevel === 1,
    ttEndian: idr0.ttEndian,
    atsRecordErrors: idr0.atsRecErr === 1,
    stallModel: idr0.stallModel,
    alwaysAborts: idr0.termModel === 1,
    aarch64: (idr0.ttf & TTF_AARCH64) !== 0,
    streamIdBits: idr1.sidSize,
    substreamIdBits: idr1.ssidSize,
    commandQueueBits: idr1.cmdQs,
    eventQueueBits: idr1.eventQs,
    pageRequestQueueBits: idr1.priQs,
    attributeTypesOverride: idr1.attrTypesOvr === 1,
    attributePermissionsOverride: idr1.attrPermsOvr === 1,
    embedded: (idr1.rel | idr1.queuesPreset | idr1.tablesPreset) !== 0,
    pagePrgPasid: idr3.pps === 1,
    stage2ExecuteNever: idr3.xnx === 1,
    forceWriteBack: idr3.fwb === 1,
    unprivilegedRangeOff: idr3.e0pd === 1,
    devicePermissionTable: idr3.dpt === 1,
    smallTables: idr3.stt === 1,
    rangeInvalidation: idr3.ril === 1,
    hierarchicalAttributesOff: idr3.had === 1,
    pasidOnTranslated: idr3.pasidTt === 1,
    oas: Math.min(addressBits(idr5.oas), LARGEST_ADDRESS),
    largeInput: idr5.vax === 1,
    largeDescriptors: idr5.ds === 1,
    stallMax: idr5.stallMax,
    granule4K: idr5.gran4K === 1,
    granule16K: idr5.gran16K === 1,
    granule64K: idr5.gran64K === 1,
  };
}

/** Builds SMMU_IDR0. */
export function encodeIdr0(fields: Readonly<Partial<Record<keyof typeof IDR0, number>>>): number {
  return encodeFields<keyof typeof IDR0>(IDR0, 1, fields)[0] ?? 0;
}

/** Builds SMMU_IDR1. */
export function encodeIdr1(fields: Readonly<Partial<Record<keyof typeof IDR1, number>>>): number {
  return encodeFields<keyof typeof IDR1>(IDR1, 1, fields)[0] ?? 0;
}

/** Builds SMMU_IDR3. */
export function encodeIdr3(fields: Readonly<Partial<Record<keyof typeof IDR3, number>>>): number {
  return encodeFields<keyof typeof IDR3>(IDR3, 1, fields)[0] ?? 0;
}

/** Builds SMMU_IDR5. */
export function encodeIdr5(fields: Readonly<Partial<Record<keyof typeof IDR5, number>>>): number {
  return encodeFields<keyof typeof IDR5>(IDR5, 1, fields)[0] ?? 0;
}
