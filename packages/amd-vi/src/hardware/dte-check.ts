import { getBits } from "@iommu-lab/core";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import type { Features } from "../layout/features.ts";

/** Host levels that HATS allows; 0 = host translation is not supported. */
export function hostLevels(features: Features): number {
  return features.hats === 3 ? 0 : 4 + features.hats;
}

function reservedBits(words: ArrayLike<number>, entry: DeviceTableEntry, features: Features): boolean {
  return (
    getBits(words, 6, 2) !== 0 ||
    getBits(words, 63, 63) !== 0 ||
    (entry.secureAts && !features.secureAts) ||
    getBits(words, 181, 180) !== 0 ||
    getBits(words, 206, 192) !== 0 ||
    getBits(words, 245, 240) !== 0 ||
    (getBits(words, 239, 207) !== 0 && !features.viommu)
  );
}

function reservedValues(entry: DeviceTableEntry, features: Features): boolean {
  return (
    entry.accessDirty === 2 ||
    (entry.accessDirty !== 0 && !features.hostAccessed) ||
    (entry.accessDirty === 3 && !features.hostDirty) ||
    (entry.pageRequests && !features.ppr) ||
    entry.ioControl === 3
  );
}

function reservedGuest(entry: DeviceTableEntry, features: Features, guestEnabled: boolean): boolean {
  if (!entry.guestValid) {
    return false;
  }
  return (
    !features.gt ||
    !guestEnabled ||
    (entry.guestIo && !features.gio) ||
    entry.glx > features.glx ||
    entry.glx === 3 ||
    entry.guestPagingMode > features.gats
  );
}

/**
 * Whether hardware refuses a DTE with V=1: a reserved bit, a reserved value, or a feature that the unit does not have. Mode
 * is judged apart.
 *
 * Source: AMD IOMMU specification §2.2.2.1.
 *
 * @param guestEnabled GTEn
 */
export function isIllegalDte(
  words: ArrayLike<number>,
  entry: DeviceTableEntry,
  features: Features,
  guestEnabled: boolean,
): boolean {
  return (
    entry.valid &&
    (reservedBits(words, entry, features) ||
      reservedValues(entry, features) ||
      (entry.translationValid && reservedGuest(entry, features, guestEnabled)))
  );
}
