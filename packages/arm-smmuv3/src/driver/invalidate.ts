import type { Op, Words } from "@iommu-lab/core";
import { ATC_SIZE_ALL, type CommandField, cmdAtcInv, encodeCommand } from "../layout/command.ts";
import { INVALIDATION, type Invalidation, type InvalidationArray } from "./invalidation-array.ts";
import type { DomainSite, InvalidationSite } from "./invalidation-site.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/** Which pages of a domain changed; undefined = any. */
export interface PageRange {
  readonly page: number;
  readonly count: number;
  /** Only last-level entries changed. */
  readonly leaf: boolean;
}

const GRANULE_4K = 1;
const LEVEL_3 = 3;
const NUM_MAX = 31;
/** Per-page commands in a row before the whole ASID is invalidated instead: a table of descriptors. */
const MAX_TLBI_OPS = 512;

/** The SMMU's own TLB tag of a stage-1 domain: NS-EL1, or EL2-E2H. */
function tlbi(smmu: SmmuDevice, whole: boolean, fields: Readonly<Partial<Record<CommandField, number>>>): Words {
  if (smmu.features.e2h) {
    return encodeCommand(whole ? "TLBI_EL2_ASID" : "TLBI_EL2_VA", fields);
  }
  return encodeCommand(whole ? "TLBI_NH_ASID" : "TLBI_NH_VA", fields);
}

/** Forgets an ASID. */
export function tlbiAsid(smmu: SmmuDevice, asid: number): Words {
  return tlbi(smmu, true, { asid });
}

/**
 * Forgets pages of an ASID: one command for a power of two times 1 … 32 pages, or one for each page where the SMMU takes
 * no ranges.
 *
 * Source: Linux 7.2 `arm_smmu_inv_to_cmdq_batch()`, `arm_smmu_cmdq_batch_add_range()`.
 */
export function tlbiRange(smmu: SmmuDevice, asid: number, range: PageRange | undefined): Words[] {
  if (range === undefined || (!smmu.features.rangeInvalidation && range.count >= MAX_TLBI_OPS)) {
    return [tlbiAsid(smmu, asid)];
  }
  const leaf = range.leaf ? 1 : 0;
  const commands: Words[] = [];
  if (!smmu.features.rangeInvalidation) {
    for (let page = range.page; page < range.page + range.count; page += 1) {
      commands.push(tlbi(smmu, false, { asid, page, leaf }));
    }
    return commands;
  }
  // A single page without a level would be a reserved range.
  let pages = !range.leaf && (range.count & NUM_MAX) === 1 ? range.count + 1 : range.count;
  let page = range.page;
  while (pages > 0 && page < range.page + range.count) {
    let scale = 0;
    while (Math.floor(pages / 2 ** scale) % 2 === 0) {
      scale += 1;
    }
    const num = Math.floor(pages / 2 ** scale) % (NUM_MAX + 1);
    commands.push(
      tlbi(smmu, false, { asid, page, leaf, num: num - 1, scale, ttl: range.leaf ? LEVEL_3 : 0, tg: GRANULE_4K }),
    );
    pages -= num * 2 ** scale;
    page += num * 2 ** scale;
  }
  return commands;
}

/**
 * Invalidates an ATC: the smallest aligned power of two of pages around the range.
 *
 * Source: Linux 7.2 `arm_smmu_atc_inv_to_cmd()`.
 *
 * @param ssid 0 = without PASID, which takes the entries of all PASIDs along
 */
export function atcRange(sid: number, ssid: number, range: PageRange | undefined): Words {
  const substream = ssid === 0 ? undefined : ssid;
  if (range === undefined) {
    return cmdAtcInv(sid, substream, 0, ATC_SIZE_ALL);
  }
  const last = range.page + range.count - 1;
  let log2 = 0;
  while (Math.floor(range.page / 2 ** log2) !== Math.floor(last / 2 ** log2)) {
    log2 += 1;
  }
  return cmdAtcInv(sid, substream, range.page - (range.page % 2 ** log2), log2);
}

/** Invalidates a function's whole ATC, or a PASID of it. Source: Linux 7.2 `arm_smmu_atc_inv_master()`. */
export function* atcInvMaster(master: Master, ssid: number, site: InvalidationSite): Op<void> {
  yield* master.smmu.commands.invalidate(
    site,
    master.streams.map((sid) => atcRange(sid, ssid, undefined)),
  );
}

/**
 * Pages of a domain changed: the TLB first, a SYNC, then the ATCs of the functions on it, a SYNC.
 *
 * Source: Linux 7.2 `arm_smmu_domain_inv_range()`.
 *
 * @param array gives the domain's array as it is now
 */
export function* invalidateArray(
  smmu: SmmuDevice,
  array: () => InvalidationArray,
  range: PageRange | undefined,
  site: DomainSite,
): Op<void> {
  const current = array();
  if (!current.hasAts) {
    yield* invalidateEntries(smmu, current.entries, range, site);
    return;
  }
  yield current.lock.shared;
  try {
    yield* invalidateEntries(smmu, current.entries, range, site);
  } finally {
    current.lock.release();
  }
}

function* invalidateEntries(
  smmu: SmmuDevice,
  entries: readonly Invalidation[],
  range: PageRange | undefined,
  site: DomainSite,
): Op<void> {
  const asids = entries.filter((entry) => entry.type === INVALIDATION.asid);
  const atcs = entries.filter((entry) => entry.type === INVALIDATION.ats);
  if (asids.length > 0) {
    yield* smmu.commands.invalidate(
      `${site}:tlb`,
      asids.flatMap((entry) => tlbiRange(smmu, entry.id, range)),
    );
  }
  if (atcs.length > 0) {
    yield* smmu.commands.invalidate(
      `${site}:atc`,
      atcs.map((entry) => atcRange(entry.id, entry.ssid, range)),
    );
  }
}
