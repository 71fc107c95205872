import { type Words, getField, newWords } from "@iommu-lab/core";
import { addressSizeCode } from "../layout/address-size.ts";
import { CD, TG0, encodeCd } from "../layout/context-descriptor.ts";
import { LINUX_CPU_MAIR, LINUX_MAIR } from "../layout/vmsav8-64.ts";
import type { EntryKind } from "./entry-update.ts";
import { addMask } from "./stream-entry.ts";

/** What of an SMMU decides about context descriptors. */
export interface CdFeatures {
  readonly stallForced: boolean;
  readonly setsAccessFlag: boolean;
  readonly setsDirty: boolean;
  /** Output address bits. */
  readonly oas: number;
}

/** Input address bits of the tables. */
const INPUT_BITS = 48;
const WRITE_BACK = 1;
const INNER_SHAREABLE = 3;

const WALK = {
  t0Sz: 64 - INPUT_BITS,
  tg0: TG0.granule4K,
  ir0: WRITE_BACK,
  or0: WRITE_BACK,
  sh0: INNER_SHAREABLE,
} as const;

/** An empty descriptor: V = 0. */
export function makeEmptyCd(): Words {
  return newWords(8);
}

/**
 * Stage 1 of a paging domain.
 *
 * Source: Linux 7.2 `arm_smmu_make_s1_cd()`.
 *
 * @param stalls the function's faults may stall
 */
export function makeS1Cd(features: CdFeatures, asid: number, table: number, stalls: boolean): Words {
  return encodeCd({
    ...WALK,
    epd1: 1,
    v: 1,
    ips: addressSizeCode(features.oas),
    aa64: 1,
    s: stalls ? 1 : 0,
    r: 1,
    a: 1,
    aset: 1,
    asid,
    ttb0: table,
    mair0: LINUX_MAIR[0],
    mair1: LINUX_MAIR[1],
  });
}

/**
 * Stage 1 of a process; without a table that of a process that is gone: valid, and every access faults.
 *
 * Source: Linux 7.2 `arm_smmu_make_sva_cd()`.
 */
export function makeSvaCd(features: CdFeatures, asid: number, table: number | undefined, stalls: boolean): Words {
  const gone = table === undefined;
  const quiet = gone && !features.stallForced;
  return encodeCd({
    ...(gone ? { epd0: 1 } : { ...WALK, ttb0: table }),
    epd1: 1,
    v: 1,
    ips: addressSizeCode(features.oas),
    aa64: 1,
    s: stalls && !quiet ? 1 : 0,
    r: quiet ? 0 : 1,
    a: 1,
    aset: 1,
    asid,
    ha: features.setsAccessFlag ? 1 : 0,
    hd: features.setsDirty ? 1 : 0,
    mair0: LINUX_CPU_MAIR[0],
    mair1: LINUX_CPU_MAIR[1],
  });
}

/** Bits that hardware looks at: all of a valid one, but not the table while EPD0 says that there is none. */
function used(entry: Words): Words {
  const mask = newWords(8);
  addMask(mask, [CD.v]);
  if (getField(entry, CD.v) === 0) {
    return mask;
  }
  mask.fill(0xffffffff);
  if (getField(entry, CD.epd0) === 1) {
    const ignored = newWords(8);
    addMask(ignored, [CD.t0Sz, CD.tg0, CD.ir0, CD.or0, CD.sh0, CD.ttb0]);
    for (const [index, word] of ignored.entries()) {
      mask[index] = (mask[index] ?? 0) & ~word;
    }
  }
  return mask;
}

/** How context descriptors may be rewritten. Source: Linux 7.2 `arm_smmu_get_cd_used()`. */
export const cdKind: EntryKind = { used };
