import type { Features } from "../layout/features.ts";
import type { FetchedDte } from "./fetched-dte.ts";

/** Host levels that HATS allows; 0 = host translation is not supported. */
export function hostLevels(features: Features): number {
  return features.hats === 3 ? 0 : 4 + features.hats;
}

/** What decides whether a DTE is legal, besides its bits. */
export interface DteContext {
  readonly features: Features;
  /** GTEn. */
  readonly guestEnabled: boolean;
  /** Bits 6:4 carry CXL memory attributes (revision 3.11) instead of being reserved. */
  readonly cxlAttributes: boolean;
  /** SNP is active on the machine: a device must have a host table. */
  readonly snpActive: boolean;
}

function word(words: Uint32Array, index: number): number {
  return words[index] ?? 0;
}

/** Reserved bits while V=1. */
function reservedBits(words: Uint32Array, { cxlAttributes }: DteContext): string {
  if ((word(words, 0) & (cxlAttributes ? 0xc : 0x7c)) !== 0) {
    return cxlAttributes ? "bits 3:2 are reserved" : "bits 6:2 are reserved";
  }
  if ((word(words, 1) & 0x80000000) !== 0) {
    return "bit 63 is reserved";
  }
  return (word(words, 6) & 0x7fff) !== 0 || (word(words, 7) & 0x3f0000) !== 0
    ? "bits 206:192 and 245:240 are reserved"
    : "";
}

/** Bits of features that a unit may not have. */
function missingFeature(words: Uint32Array, { features }: DteContext): string {
  if ((word(words, 3) & 0x400) !== 0 && !features.secureAts) {
    return "SATS needs SATSSup";
  }
  if ((word(words, 1) & 0x300000) !== 0 && !features.ppr) {
    return "PPR and GPRP need PPRSup";
  }
  const guestFields = (word(words, 6) & 0xffff8000) !== 0 || (word(words, 7) & 0xffff) !== 0;
  return guestFields && !features.viommu ? "vImuEn, GDeviceID and GuestID need vIOMMUSup" : "";
}

function reservedValues(dte: FetchedDte, { features }: DteContext): string {
  if (dte.accessDirty === 2) {
    return "HAD 2 is reserved";
  }
  if (dte.accessDirty !== 0 && !features.hostAccessed) {
    return "HAD needs HASup";
  }
  if (dte.accessDirty === 3 && !features.hostDirty) {
    return "HAD 3 needs HDSup";
  }
  return dte.ioControl === 3 ? "IoCtl 3 is reserved" : "";
}

function reservedGuest(dte: FetchedDte, { features, guestEnabled }: DteContext): string {
  if (!dte.guestValid) {
    return "";
  }
  if (!features.gt) {
    return "GV needs GTSup";
  }
  if (!guestEnabled) {
    return "GV needs GTEn";
  }
  if (dte.guestIo && !features.gio) {
    return "GIoV needs GIoSup";
  }
  if (dte.glx > features.glx || dte.glx === 3) {
    return dte.glx === 3 ? "GLX 3 is reserved" : "GLX is more than GLXSup";
  }
  return dte.guestPagingMode > features.gats ? "GuestPagingMode is more than GATS" : "";
}

/**
 * Why hardware refuses a DTE with V=1: a reserved bit, a reserved value, or a feature that the unit does not have; `""` = it
 * does not. Mode is judged apart, and the interrupt half (IV=1) by {@link interruptProblem}.
 *
 * Source: AMD IOMMU specification §2.2.2.1.
 */
export function dteProblem(words: Uint32Array, dte: FetchedDte, context: DteContext): string {
  if (!dte.valid) {
    return "";
  }
  const problem = reservedBits(words, context) || missingFeature(words, context) || reservedValues(dte, context);
  if (problem !== "" || !dte.translationValid) {
    return problem;
  }
  if (context.snpActive && dte.mode === 0) {
    return "Mode 0 is not allowed while SNP is active";
  }
  return reservedGuest(dte, context);
}

/** Largest IntTabLen: 2048 entries. */
const LONGEST_INTERRUPT_TABLE = 11;

/**
 * Why hardware refuses the interrupt half of a DTE with IV=1; `""` = it does not.
 *
 * Source: AMD IOMMU specification §2.2.2.1 (IntTabLen, IntCtl).
 */
export function interruptProblem(words: ArrayLike<number>): string {
  const low = words[4] ?? 0;
  const high = words[5] ?? 0;
  if ((low & 1) === 0) {
    return "";
  }
  if ((high & 0x300000) !== 0) {
    return "bits 181:180 are reserved";
  }
  if (((high >>> 28) & 3) === 3) {
    return "IntCtl 3 is reserved";
  }
  const remaps = ((high >>> 28) & 3) === 2;
  return remaps && ((low >>> 1) & 15) > LONGEST_INTERRUPT_TABLE ? "IntTabLen above 11 is reserved" : "";
}
