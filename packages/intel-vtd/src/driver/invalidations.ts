import type { Op, Words } from "@iommu-lab/core";
import { ALL_PAGES_ORDER } from "../layout/address-range.ts";
import {
  GRANULARITY_DOMAIN,
  GRANULARITY_GLOBAL,
  GRANULARITY_SELECTIVE,
  PC_DOMAIN,
  PC_GLOBAL,
  PC_PASID,
  contextCacheInvalidation,
  deviceTlbInvalidation,
  invalidationWait,
  iotlbInvalidation,
  pasidCacheInvalidation,
  pasidDeviceTlbInvalidation,
  pasidIotlbInvalidation,
} from "../layout/descriptor.ts";
import type { DeviceInfo } from "./device-info.ts";
import type { InvalidationSite } from "./invalidation-site.ts";
import { FLPT_DEFAULT_DID } from "./domain-ids.ts";
import type { ServedUnit } from "./served-unit.ts";

/** Everything of the context cache. */
export function* flushContextsGlobal(unit: ServedUnit): Op<void> {
  yield* unit.queue.invalidate("init:context", [contextCacheInvalidation(GRANULARITY_GLOBAL, 0, 0)]);
}

/** The context entry of one requester. In scalable mode hardware ignores the domain ID. */
export function* flushContextOfDevice(
  unit: ServedUnit,
  site: InvalidationSite,
  domainId: number,
  rid: number,
): Op<void> {
  yield* unit.queue.invalidate(site, [contextCacheInvalidation(GRANULARITY_SELECTIVE, domainId, rid)]);
}

/** Everything of the PASID cache. */
export function* flushPasidsGlobal(unit: ServedUnit): Op<void> {
  yield* unit.queue.invalidate("init:pasid", [pasidCacheInvalidation(PC_GLOBAL, 0, 0)]);
}

/** All PASIDs of a domain ID in the PASID cache. */
export function* flushPasidsOfDomain(unit: ServedUnit, site: InvalidationSite, domainId: number): Op<void> {
  yield* unit.queue.invalidate(site, [pasidCacheInvalidation(PC_DOMAIN, domainId, 0)]);
}

/** One PASID of a domain ID in the PASID cache. */
export function* flushPasidCache(unit: ServedUnit, site: InvalidationSite, domainId: number, pasid: number): Op<void> {
  yield* unit.queue.invalidate(site, [pasidCacheInvalidation(PC_PASID, domainId, pasid)]);
}

/** Everything of the IOTLB. */
export function* flushIotlbGlobal(unit: ServedUnit): Op<void> {
  yield* unit.queue.invalidate("init:iotlb", [iotlbInvalidation(GRANULARITY_GLOBAL, 0, drains(unit))]);
}

/** A domain ID in the IOTLB. */
export function* flushIotlbDomain(unit: ServedUnit, site: InvalidationSite, domainId: number): Op<void> {
  yield* unit.queue.invalidate(site, [iotlbInvalidation(GRANULARITY_DOMAIN, domainId, drains(unit))]);
}

/** One PASID of a domain ID in the IOTLB (`qi_flush_piotlb_all()`). */
export function* flushPasidIotlb(unit: ServedUnit, site: InvalidationSite, domainId: number, pasid: number): Op<void> {
  yield* unit.queue.invalidate(site, [pasidIotlbInvalidation(domainId, pasid)]);
}

/**
 * Everything a device has cached, of one PASID or, with PASID 0, of requests without PASID. Nothing is sent while
 * translation is off, while ATS is off, or to a device that is gone.
 *
 * Source: Linux 7.2 `devtlb_invalidation_with_pasid()`, `qi_flush_dev_iotlb()`.
 */
export function* flushDeviceTlb(info: DeviceInfo, site: InvalidationSite, pasid: number): Op<void> {
  if (info.atsEnabled && info.dev.present()) {
    yield* flushDeviceTlbAlways(info, site, pasid);
  }
}

/** Why the caches forget a context entry. */
type ClearedContext = "context-clear" | "sm-context-teardown" | "flip-pri";

/**
 * What the caches hold of a context entry that was cleared: context cache, in legacy mode IOTLB, device-TLB (twice for
 * devices that need it).
 *
 * Source: Linux 7.2 `intel_context_flush_no_pasid()`.
 */
export function* flushClearedContext(info: DeviceInfo, at: ClearedContext, domainId: number, rid: number): Op<void> {
  yield* flushContextOfDevice(info.unit, `${at}:context`, domainId, rid);
  if (!info.unit.iommu.scalable) {
    // Legacy mode has no other way to get here.
    yield* flushIotlbDomain(info.unit, "context-clear:iotlb", domainId);
  }
  yield* flushDeviceTlb(info, `${at}:devtlb`, 0);
  if (info.extraInvalidation) {
    yield* flushDeviceTlb(info, `${at}:devtlb`, 0);
  }
}

/** {@link flushDeviceTlb}, whatever the driver believes of ATS. */
export function* flushDeviceTlbAlways(info: DeviceInfo, site: InvalidationSite, pasid: number): Op<void> {
  if (info.unit.iommu.translating) {
    yield* info.unit.queue.invalidate(site, [deviceTlbAll(info, pasid)]);
  }
}

/** The descriptor that empties a device-TLB; PASID 0 = requests without PASID. */
function deviceTlbAll(info: DeviceInfo, pasid: number): Words {
  return pasid === 0
    ? deviceTlbInvalidation(info.target, 0, ALL_PAGES_ORDER)
    : pasidDeviceTlbInvalidation(info.target, pasid, 0, ALL_PAGES_ORDER);
}

/** DR and DW as the unit has them. */
export function drains(unit: ServedUnit): { readonly read: boolean; readonly write: boolean } {
  const { readDrain, writeDrain } = unit.iommu.caps;
  return { read: readDrain, write: writeDrain };
}

/**
 * Drains page requests of a PASID: a fence, the invalidations, and a wait that drains. Nothing to do for a device whose
 * page faults nobody handles.
 *
 * Source: Linux 7.2 `intel_iommu_drain_pasid_prq()`.
 */
export function* drainPageRequests(info: DeviceInfo, pasid: number): Op<void> {
  if (info.faultUsers === 0) {
    return;
  }
  const { unit } = info;
  const domainId = info.domain?.domainId(unit) ?? FLPT_DEFAULT_DID;
  const iotlb =
    pasid === 0
      ? iotlbInvalidation(GRANULARITY_DOMAIN, domainId, drains(unit))
      : pasidIotlbInvalidation(domainId, pasid);
  const fence = invalidationWait({ fence: true, data: 2 });
  const iotlbs = unit.queue.kept("drain-prq:iotlb", [iotlb]);
  const deviceTlbs = unit.queue.kept("drain-prq:devtlb", [deviceTlbAll(info, pasid)]);
  yield* unit.queue.submit([fence, ...iotlbs, ...deviceTlbs], true);
}
