import type { Op } from "@iommu-lab/core";
import { invalidateIommuPages, invalidateIotlbPages } from "../layout/command.ts";
import { ALL_PAGES } from "../layout/page-range.ts";
import type { DeviceData } from "./device-data.ts";
import { iotlbOf } from "./device-table.ts";
import type { ProtectionDomain } from "./protection-domain.ts";

/**
 * Invalidates pages of a domain: IOTLB entries of every unit (of a v2 domain, of every device's own domain ID with PASID 0),
 * then the ATC of every device with ATS; then waits.
 *
 * With NpCache the range is cut into naturally aligned pieces, so that a hypervisor has no more work than needed.
 *
 * Source: Linux 7.2 `amd_iommu_domain_flush_pages()`.
 *
 * @param directories PDE: cached page-directory entries go as well
 */
export function* flushDomainPages(
  domain: ProtectionDomain,
  page: number,
  count: number,
  directories: boolean,
  npCache: boolean,
): Op<void> {
  if (!npCache || count === ALL_PAGES) {
    yield* flushRange(domain, page, count, directories);
  } else {
    for (let at = page; at < page + count;) {
      const pages = alignedPiece(at, page + count - at);
      yield* flushRange(domain, at, pages, directories);
      at += pages;
    }
  }
  for (const unit of domain.units) {
    yield* unit.completionWait();
  }
}

/** Source: Linux 7.2 `amd_iommu_domain_flush_all()`. */
export function flushDomain(domain: ProtectionDomain, npCache: boolean): Op<void> {
  return flushDomainPages(domain, 0, ALL_PAGES, true, npCache);
}

/** The largest power of two that is a divisor of `page` and at most `count`. */
function alignedPiece(page: number, count: number): number {
  let pages = 1;
  while (pages * 2 <= count && page % (pages * 2) === 0) {
    pages *= 2;
  }
  return pages;
}

/** Source: Linux 7.2 `__domain_flush_pages()`. */
function* flushRange(domain: ProtectionDomain, page: number, count: number, directories: boolean): Op<void> {
  const guest = domain.mode === "v2";
  if (guest) {
    for (const { unit, gcr3 } of domain.devices) {
      yield* unit.queue(invalidateIommuPages({ domainId: gcr3.domainId, pasid: 0 }, page, count, directories));
    }
  } else {
    for (const unit of domain.units) {
      yield* unit.queue(invalidateIommuPages({ domainId: domain.domainId }, page, count, directories));
    }
  }
  for (const device of domain.devices) {
    if (device.atsEnabled) {
      yield* device.unit.queue(invalidateIotlbPages(guest ? iotlbOf(device, 0) : iotlbOf(device), page, count));
    }
  }
}

/**
 * Invalidates everything of a PASID of a device: IOTLB, then ATC; then waits.
 *
 * Source: Linux 7.2 `amd_iommu_dev_flush_pasid_pages()`, `dev_flush_pasid_all()`.
 */
export function* flushPasid(device: DeviceData, pasid: number): Op<void> {
  const { unit, gcr3 } = device;
  yield* unit.queue(invalidateIommuPages({ domainId: gcr3.domainId, pasid }, 0, ALL_PAGES, true));
  if (device.atsEnabled) {
    yield* unit.queue(invalidateIotlbPages(iotlbOf(device, pasid), 0, ALL_PAGES));
  }
  yield* unit.completionWait();
}
