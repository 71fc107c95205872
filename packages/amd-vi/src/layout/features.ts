import { InputError } from "@iommu-lab/core";

/** What the Extended Feature registers say, as far as it matters here. Source: AMD IOMMU specification §3.4.4, §3.4.27. */
export interface Features {
  /** PPRSup, bit 1. */
  readonly ppr: boolean;
  /** XTSup, bit 2. */
  readonly xt: boolean;
  /** NXSup, bit 3. */
  readonly nx: boolean;
  /** GTSup, bit 4: guest (v2) translation. */
  readonly gt: boolean;
  /** IASup, bit 6: INVALIDATE_IOMMU_ALL. */
  readonly invalidateAll: boolean;
  /** GASup, bit 7. */
  readonly ga: boolean;
  /** PCSup, bit 9. */
  readonly counters: boolean;
  /** HATS, bits 11:10: 0 = 4, 1 = 5, 2 = 6 host levels, 3 = no host translation. */
  readonly hats: number;
  /** GATS, bits 13:12: 0 = 4, 1 = 5 guest levels. */
  readonly gats: number;
  /** GLXSup, bits 15:14: largest DTE.GLX. */
  readonly glx: number;
  /** GAMSup, bits 23:21; bit 21 = guest virtual APIC. */
  readonly gam: number;
  /** SATSSup, bit 31. */
  readonly secureAts: boolean;
  /** PASMax, bits 36:32: PASID bits minus 1. */
  readonly pasMax: number;
  /** GIoSup, bit 48. */
  readonly gio: boolean;
  /** HASup, bit 49. */
  readonly hostAccessed: boolean;
  /** EPHSup, bit 50. */
  readonly eph: boolean;
  /** HDSup, bit 52. */
  readonly hostDirty: boolean;
  /** InvIotlbTypeSup, bit 54. */
  readonly iotlbType: boolean;
  /** vIOMMUSup, bit 55. */
  readonly viommu: boolean;
  /** SNPSup, bit 63. */
  readonly snp: boolean;
  /** GCR3TRPMode, EFR2 bit 3. */
  readonly gcr3TrpMode: boolean;
  /** NumIntRemapSup, EFR2 bits 9:8: 1 = up to 2048 interrupts per device. */
  readonly interruptTables: number;
  /** HtRangeIgnore, EFR2 bit 11: the HyperTransport range is plain memory. */
  readonly htRangeIgnore: boolean;
}

const bit = (value: bigint, index: number): boolean => ((value >> BigInt(index)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number): number =>
  Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));

/** Reads EFR and EFR2. */
export function decodeFeatures(efr: bigint, efr2: bigint): Features {
  return {
    ppr: bit(efr, 1),
    xt: bit(efr, 2),
    nx: bit(efr, 3),
    gt: bit(efr, 4),
    invalidateAll: bit(efr, 6),
    ga: bit(efr, 7),
    counters: bit(efr, 9),
    hats: field(efr, 11, 10),
    gats: field(efr, 13, 12),
    glx: field(efr, 15, 14),
    gam: field(efr, 23, 21),
    secureAts: bit(efr, 31),
    pasMax: field(efr, 36, 32),
    gio: bit(efr, 48),
    hostAccessed: bit(efr, 49),
    eph: bit(efr, 50),
    hostDirty: bit(efr, 52),
    iotlbType: bit(efr, 54),
    viommu: bit(efr, 55),
    snp: bit(efr, 63),
    gcr3TrpMode: bit(efr2, 3),
    interruptTables: field(efr2, 9, 8),
    htRangeIgnore: bit(efr2, 11),
  };
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
  const glx = inRange("glx", options.glx ?? Math.ceil(pasidBits / 9) - 1, 0, 2);
  const hats = inRange("hostLevels", options.hostLevels ?? 6, 4, 6) - 4;
  let efr = 1n << 7n;
  const set = (wanted: boolean | undefined, index: bigint): void => {
    efr |= (wanted ?? true) ? 1n << index : 0n;
  };
  set(options.ppr, 1n);
  set(options.gt, 4n);
  set(options.invalidateAll, 6n);
  set(options.gioSup, 48n);
  set(options.ephSup, 50n);
  efr |= (BigInt(hats) << 10n) | (BigInt(glx) << 14n);
  return efr | (BigInt(pasidBits - 1) << 32n);
}
