import { InputError } from "@iommu-lab/core";

/** Features of one bit in the EFR, by name. */
const EFR_FLAGS = {
  prefetch: 0,
  ppr: 1,
  xt: 2,
  nx: 3,
  gt: 4,
  guestPpi: 5,
  invalidateAll: 6,
  ga: 7,
  hardwareErrorRegisters: 8,
  counters: 9,
  secureAts: 31,
  userSupervisor: 37,
  pprOverflowEarly: 40,
  pprAutoResponse: 41,
  blockStopMark: 44,
  performanceOptimization: 45,
  msiCapability: 46,
  gio: 48,
  hostAccessed: 49,
  eph: 50,
  hostDirty: 52,
  iotlbType: 54,
  viommu: 55,
  vmGuardIo: 56,
  guestApicUpdateDisable: 61,
  forcePhysicalDestination: 62,
  snp: 63,
} as const;

/** Fields of the EFR: high and low bit. */
const EFR_FIELDS = {
  hats: [11, 10],
  gats: [13, 12],
  glx: [15, 14],
  smiFilters: [17, 16],
  smiFilterRegisters: [20, 18],
  gam: [23, 21],
  dualPprLog: [25, 24],
  dualEventLog: [29, 28],
  pasMax: [36, 32],
  deviceTableSegments: [39, 38],
  marc: [43, 42],
  vmTableSize: [60, 57],
} as const;

/** Features of one bit in EFR2. */
const EFR2_FLAGS = {
  sevSnpIo: 1,
  tableMigration: 2,
  gcr3TrpMode: 3,
  guestPpiDisable: 4,
  htRangeIgnore: 11,
} as const;

/** Fields of EFR2. */
const EFR2_FIELDS = {
  snpAvic: [7, 5],
  interruptTables: [9, 8],
} as const;

/** Name of a feature of one bit. */
export type FeatureFlag =
  | "prefetch"
  | "ppr"
  | "xt"
  | "nx"
  | "gt"
  | "guestPpi"
  | "invalidateAll"
  | "ga"
  | "hardwareErrorRegisters"
  | "counters"
  | "secureAts"
  | "userSupervisor"
  | "pprOverflowEarly"
  | "pprAutoResponse"
  | "blockStopMark"
  | "performanceOptimization"
  | "msiCapability"
  | "gio"
  | "hostAccessed"
  | "eph"
  | "hostDirty"
  | "iotlbType"
  | "viommu"
  | "vmGuardIo"
  | "guestApicUpdateDisable"
  | "forcePhysicalDestination"
  | "snp"
  | "sevSnpIo"
  | "tableMigration"
  | "gcr3TrpMode"
  | "guestPpiDisable"
  | "htRangeIgnore";
/** Name of a feature with a number. */
export type FeatureField =
  | "hats"
  | "gats"
  | "glx"
  | "smiFilters"
  | "smiFilterRegisters"
  | "gam"
  | "dualPprLog"
  | "dualEventLog"
  | "pasMax"
  | "deviceTableSegments"
  | "marc"
  | "vmTableSize"
  | "snpAvic"
  | "interruptTables";

/**
 * What the Extended Feature registers say. Flags: `prefetch` PreFSup, `ppr` PPRSup, `xt` XTSup, `nx` NXSup, `gt` GTSup (guest
 * translation), `guestPpi` GAPPISup, `invalidateAll` IASup, `ga` GASup, `hardwareErrorRegisters` HESup, `counters` PCSup,
 * `secureAts` SATSSup, `userSupervisor` USSup, `pprOverflowEarly`, `pprAutoResponse`, `blockStopMark`,
 * `performanceOptimization`, `msiCapability`, `gio` GIoSup, `hostAccessed` HASup, `eph` EPHSup, `hostDirty` HDSup, `iotlbType`
 * InvIotlbTypeSup, `viommu`, `vmGuardIo`, `guestApicUpdateDisable`, `forcePhysicalDestination`, `snp` SNPSup; of EFR2
 * `sevSnpIo`, `tableMigration` TMPMSup, `gcr3TrpMode`, `guestPpiDisable`, `htRangeIgnore`.
 *
 * Fields: `hats` 0 = 4, 1 = 5, 2 = 6 host levels, 3 = none; `gats` 0 = 4, 1 = 5 guest levels; `glx` largest DTE.GLX;
 * `smiFilters`, `smiFilterRegisters`, `gam`, `dualPprLog`, `dualEventLog`, `pasMax` PASID bits minus 1, `deviceTableSegments`
 * log2 of the segments at most, `marc`, `vmTableSize`; of EFR2 `snpAvic`, `interruptTables` (1 = up to 2048 interrupts).
 *
 * Source: AMD IOMMU specification §3.4.4, §3.4.27.
 */
export type Features = Readonly<Record<FeatureFlag, boolean>> & Readonly<Record<FeatureField, number>>;

type FieldBits = readonly [high: number, low: number];

function flagsOf<K extends string>(value: bigint, bits: Readonly<Record<K, number>>): Record<K, boolean> {
  const names = Object.keys(bits) as K[];
  return Object.fromEntries(names.map((name) => [name, ((value >> BigInt(bits[name])) & 1n) === 1n])) as Record<
    K,
    boolean
  >;
}

function fieldsOf<K extends string>(value: bigint, bits: Readonly<Record<K, FieldBits>>): Record<K, number> {
  const names = Object.keys(bits) as K[];
  const read = ([high, low]: FieldBits): number =>
    Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
  return Object.fromEntries(names.map((name) => [name, read(bits[name])])) as Record<K, number>;
}

/** Reads EFR and EFR2. */
export function decodeFeatures(efr: bigint, efr2: bigint): Features {
  return {
    ...flagsOf(efr, EFR_FLAGS),
    ...fieldsOf(efr, EFR_FIELDS),
    ...flagsOf(efr2, EFR2_FLAGS),
    ...fieldsOf(efr2, EFR2_FIELDS),
  };
}

/** EFR and EFR2 with these features: the way back from {@link decodeFeatures}. What does not fit a field is cut off. */
export function encodeFeatureRegisters(features: Partial<Features>): readonly [efr: bigint, efr2: bigint] {
  return [registerOf(features, EFR_FLAGS, EFR_FIELDS), registerOf(features, EFR2_FLAGS, EFR2_FIELDS)];
}

function registerOf(
  features: Partial<Features>,
  flags: Readonly<Partial<Record<FeatureFlag, number>>>,
  fields: Readonly<Partial<Record<FeatureField, FieldBits>>>,
): bigint {
  let value = 0n;
  for (const [name, bit] of Object.entries(flags)) {
    value |= features[name as FeatureFlag] === true ? 1n << BigInt(bit) : 0n;
  }
  for (const [name, [high, low]] of Object.entries(fields)) {
    const mask = (1n << BigInt(high - low + 1)) - 1n;
    value |= (BigInt(features[name as FeatureField] ?? 0) & mask) << BigInt(low);
  }
  return value;
}

/** Features by name, for a unit that is not described by a recorded EFR. */
export interface FeatureOptions {
  /** GTSup: guest translation. Default true. */
  readonly gt?: boolean;
  /** PPRSup: page requests. Default true. */
  readonly ppr?: boolean;
  /** GIoSup: guest translation without PASID. Default true. */
  readonly gioSup?: boolean;
  /** EPHSup: enhanced page request handling. Default true. */
  readonly ephSup?: boolean;
  /** IASup: INVALIDATE_IOMMU_ALL. Default true. */
  readonly invalidateAll?: boolean;
  /** PASID bits, 1 … 20. Default 16. */
  readonly pasidBits?: number;
  /** GLXSup: levels of a GCR3 table minus 1, 0 … 2. Default: what the PASID bits need. */
  readonly glx?: number;
  /** Host levels, 4 … 6. Default 6. */
  readonly hostLevels?: number;
  /** Guest levels, 4 or 5. Default 4. */
  readonly guestLevels?: number;
  /** Any other feature by its name in {@link Features}, or one above again; counts last. */
  readonly features?: Partial<Features>;
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new InputError(`${name} ${value}: expected ${low} to ${high}`);
  }
  return value;
}

/**
 * The EFR with the features asked for. GASup is set besides.
 *
 * @throws InputError for numbers out of range
 */
export function encodeFeatures(options: FeatureOptions): bigint {
  const pasidBits = inRange("pasidBits", options.pasidBits ?? 16, 1, 20);
  const [efr] = encodeFeatureRegisters({
    ga: true,
    ppr: options.ppr ?? true,
    gt: options.gt ?? true,
    invalidateAll: options.invalidateAll ?? true,
    gio: options.gioSup ?? true,
    eph: options.ephSup ?? true,
    glx: inRange("glx", options.glx ?? Math.ceil(pasidBits / 9) - 1, 0, 2),
    hats: inRange("hostLevels", options.hostLevels ?? 6, 4, 6) - 4,
    gats: inRange("guestLevels", options.guestLevels ?? 4, 4, 5) - 4,
    pasMax: pasidBits - 1,
    ...options.features,
  });
  return efr;
}
