import { InputError } from "@iommu-lab/core";
import type { Register64 } from "./hardware/vtd-unit.ts";

/** A 64-bit register as it is dumped, or as halves. */
export type RawRegister = bigint | Register64;

/** What a unit has, by name. Everything not named is as on a recorded machine. */
export interface VtdFeatures {
  /** SMTS. Default true. */
  readonly scalable: boolean;
  /** FSTS beside SSTS in scalable mode. Default true; false leaves the second stage alone. */
  readonly firstStage: boolean;
  /** DT: device-TLBs, that is ATS. Default true. */
  readonly ats: boolean;
  /** PRS and PDS: page requests. Needs scalable mode and ATS. Default true. */
  readonly pri: boolean;
  /** PASID bits 1 … 20, 0 = no PASIDs. Needs scalable mode. Default 20. */
  readonly pasidBits: number;
  /** PT: pass-through. Default true. */
  readonly passThrough: boolean;
  /** CM: caching mode, as virtual units have it. Default false. */
  readonly cachingMode: boolean;
  /** SC: snoop control. Default false. */
  readonly snoopControl: boolean;
}

/** The features of the default unit. */
export const DEFAULT_FEATURES: VtdFeatures = {
  scalable: true,
  firstStage: true,
  ats: true,
  pri: true,
  pasidBits: 20,
  passThrough: true,
  cachingMode: false,
  snoopControl: false,
};

/** 16-bit domain IDs, 39 and 48 bits of address, 2 MiB and 1 GiB pages, PSI, 8 fault records, ESRTPS. */
const BASE_CAP = 0x80d2078c222f0606n;
const CAP_CM = 1n << 7n;
const CAP_FS1GP = 1n << 56n;
/** QI, interrupt remapping, registers at F0h, MHMV 15. */
const BASE_ECAP = 0x0000000000f00f0an;
const ECAP_DT = 1n << 2n;
const ECAP_PT = 1n << 6n;
const ECAP_SC = 1n << 7n;
const ECAP_PRS = 1n << 29n;
const ECAP_PASID = 1n << 40n;
const ECAP_PDS = 1n << 42n;
const ECAP_SMTS = 1n << 43n;
const ECAP_SSTS = 1n << 46n;
const ECAP_FSTS = 1n << 47n;
const ECAP_SMPWCS = 1n << 48n;
const PSS_SHIFT = 35n;

/** CAP of a unit with these features. */
export function capOf(features: VtdFeatures): Register64 {
  const cap =
    BASE_CAP | (features.cachingMode ? CAP_CM : 0n) | (features.scalable && features.firstStage ? CAP_FS1GP : 0n);
  return halves(cap);
}

/**
 * ECAP of a unit with these features.
 *
 * @throws InputError for PASID bits out of range
 */
export function ecapOf(features: VtdFeatures): Register64 {
  const { scalable, firstStage, ats, pri, pasidBits, passThrough, snoopControl } = features;
  if (!Number.isInteger(pasidBits) || pasidBits < 0 || pasidBits > 20) {
    throw new InputError(`VT-d: expected 0 to 20 PASID bits, not ${pasidBits}`);
  }
  let ecap = BASE_ECAP | (ats ? ECAP_DT : 0n) | (passThrough ? ECAP_PT : 0n) | (snoopControl ? ECAP_SC : 0n);
  if (scalable) {
    ecap |= ECAP_SMTS | ECAP_SSTS | ECAP_SMPWCS | (firstStage ? ECAP_FSTS : 0n);
    ecap |= pasidBits === 0 ? 0n : ECAP_PASID | (BigInt(pasidBits - 1) << PSS_SHIFT);
    ecap |= pri && ats ? ECAP_PRS | ECAP_PDS : 0n;
  }
  return halves(ecap);
}

/**
 * Bits of features that are not modelled; they read 0 whatever a dump says, so that no driver counts on them: 5-level
 * tables (SAGAW bit 3, FS5LP), posted interrupts, enhanced commands.
 */
const UNMODELLED_CAP = (1n << 11n) | (1n << 59n) | (1n << 60n) | (1n << 61n);
/** MTS, NEST, ERS, EAFS, VCS, SSADS, TDXCS, PMS, RPRIVS, HPTS, SSIRWS, SMS, HPT1GPS, RDTS, EIMER, IRREQ. */
const UNMODELLED_ECAP = [24, 25, 26, 28, 30, 34, 44, 45, 50, 51, 53, 55, 57, 58, 59, 60, 61, 62].reduce(
  (mask, bit) => mask | (1n << BigInt(bit)),
  0n,
);

/** CAP from a dump, without what is not modelled. @throws InputError when it is no 64-bit value */
export function rawCap(raw: RawRegister): Register64 {
  return halves(whole(raw, "cap") & ~UNMODELLED_CAP);
}

/** ECAP from a dump, without what is not modelled. @throws InputError without queued invalidation */
export function rawEcap(raw: RawRegister): Register64 {
  const value = whole(raw, "ecap") & ~UNMODELLED_ECAP;
  if ((value & 2n) === 0n) {
    throw new InputError("VT-d: ecap has QI=0, and a unit without queued invalidation is not modelled");
  }
  return halves(value);
}

function whole(raw: RawRegister, name: string): bigint {
  const value = typeof raw === "bigint" ? raw : (BigInt(raw[1] >>> 0) << 32n) | BigInt(raw[0] >>> 0);
  if (value < 0n || value >= 1n << 64n) {
    throw new InputError(`VT-d: ${name} must be a 64-bit value`);
  }
  return value;
}

function halves(value: bigint): Register64 {
  return [Number(value & 0xffffffffn), Number(value >> 32n)];
}
