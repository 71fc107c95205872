/**
 * Layouts of the IO Remapping Table: where the fields of its structures are, by the names that firmware people use.
 *
 * Source: Arm DEN 0049 (IORT), Linux 7.2 `include/acpi/actbl2.h`.
 */

/** A field: byte offset in its structure, size in bytes. */
export type ByteField = readonly [offset: number, size: 1 | 2 | 4 | 8];

/** A structure by its fields. */
export type ByteFields = Readonly<Record<string, ByteField>>;

/** Values of a structure's fields: 64 bits are a bigint, because firmware may hold any 64 bits there. */
export type ByteValues<S extends ByteFields> = {
  readonly [K in keyof S]: S[K] extends readonly [number, 8] ? bigint : number;
};

/** Bytes before the first node: ACPI header, node count, node offset, reserved. */
export const IORT_HEADER_BYTES = 48;
/** Bytes of the header of a node. */
export const NODE_HEADER_BYTES = 16;

/** What an ID mapping says. `idCount` is the number of IDs minus one. */
export const ID_MAPPING = {
  inputBase: [0, 4],
  idCount: [4, 4],
  outputBase: [8, 4],
  outputReference: [12, 4],
  flags: [16, 4],
} as const;
/** Bytes of an ID mapping. */
export const ID_MAPPING_BYTES = 20;
/** Flag of an ID mapping: the input does not matter. */
export const SINGLE_MAPPING = 1;

/** Header of a node. */
export const NODE_HEADER = {
  type: [0, 1],
  length: [1, 2],
  revision: [3, 1],
  identifier: [4, 4],
  mappingCount: [8, 4],
  mappingOffset: [12, 4],
} as const;

/** Kinds of nodes by their type number. */
export const NODE_TYPE = {
  itsGroup: 0,
  namedComponent: 1,
  rootComplex: 2,
  smmuV2: 3,
  smmuV3: 4,
  pmcg: 5,
  rmr: 6,
} as const;

/** A kind of node that is known. */
export type NodeKind = keyof typeof NODE_TYPE;

/** The fixed fields behind the header, by kind. Offsets are from the node's start. */
export const NODE_BODY = {
  itsGroup: { itsCount: [16, 4] },
  namedComponent: {
    nodeFlags: [16, 4],
    cacheCoherency: [20, 4],
    hints: [24, 1],
    memoryReserved: [25, 2],
    memoryFlags: [27, 1],
    memorySizeLimit: [28, 1],
  },
  rootComplex: {
    cacheCoherency: [16, 4],
    hints: [20, 1],
    memoryReserved: [21, 2],
    memoryFlags: [23, 1],
    atsAttribute: [24, 4],
    pciSegment: [28, 4],
    memorySizeLimit: [32, 1],
    pasidCapabilities: [33, 2],
    reserved: [35, 1],
  },
  smmuV2: {
    baseAddress: [16, 8],
    span: [24, 8],
    model: [32, 4],
    flags: [36, 4],
    globalInterruptOffset: [40, 4],
    contextInterruptCount: [44, 4],
    contextInterruptOffset: [48, 4],
    pmuInterruptCount: [52, 4],
    pmuInterruptOffset: [56, 4],
  },
  smmuV3: {
    baseAddress: [16, 8],
    flags: [24, 4],
    reserved: [28, 4],
    vatosAddress: [32, 8],
    model: [40, 4],
    eventGsiv: [44, 4],
    priGsiv: [48, 4],
    gerrGsiv: [52, 4],
    syncGsiv: [56, 4],
    proximityDomain: [60, 4],
    deviceIdMappingIndex: [64, 4],
  },
  pmcg: {
    page0BaseAddress: [16, 8],
    overflowGsiv: [24, 4],
    nodeReference: [28, 4],
    page1BaseAddress: [32, 8],
  },
  rmr: { flags: [16, 4], rmrCount: [20, 4], rmrOffset: [24, 4] },
} as const;

/** Fewest bytes of a node of a kind: later revisions added fields at the end. */
export const NODE_MIN_BYTES: Readonly<Record<NodeKind, number>> = {
  itsGroup: 20,
  namedComponent: 29,
  rootComplex: 32,
  smmuV2: 60,
  smmuV3: 60,
  pmcg: 32,
  rmr: 28,
};

/** Offset of the device name of a named component. */
export const DEVICE_NAME_OFFSET = 29;

/** Global interrupts of an SMMUv1 or v2. */
export const GLOBAL_INTERRUPTS = {
  nsgIrpt: [0, 4],
  nsgIrptFlags: [4, 4],
  nsgCfgIrpt: [8, 4],
  nsgCfgIrptFlags: [12, 4],
} as const;
/** Their bytes. */
export const GLOBAL_INTERRUPTS_BYTES = 16;

/** A descriptor of a reserved memory range. */
export const RMR_DESCRIPTOR = { baseAddress: [0, 8], length: [8, 8], reserved: [16, 4] } as const;
/** Its bytes. */
export const RMR_DESCRIPTOR_BYTES = 20;

/** Flag of a root complex's `atsAttribute`: it does ATS. */
export const ATS_SUPPORTED = 1;
/** Flag of a root complex's `memoryFlags`: it can force write-back shareable (CANWBS). */
export const MEMORY_CANWBS = 4;

/** Flags of an SMMUv3 node. */
export const SMMU_V3_FLAGS = { cohaccOverride: 1, proximityValid: 8, deviceIdValid: 16 } as const;

/** Flags of a reserved memory range node; its access attributes are bits 9:2. */
export const RMR_FLAGS = { remapPermitted: 1, accessPrivilege: 2 } as const;
