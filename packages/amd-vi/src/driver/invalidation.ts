import type { Op } from "@iommu-lab/core";
import { invalidateIommuPages, invalidateIotlbPages } from "../layout/command.ts";
import { ALL_PAGES } from "../layout/page-range.ts";
import type { DeviceData } from "./device-data.ts";
import { iotlbOf } from "./device-table.ts";
import type { DomainReason, PasidReason } from "./invalidation-site.ts";
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
  reason: DomainReason,
  domain: ProtectionDomain,
  page: number,
  count: number,
  directories: boolean,
  npCache: boolean,
): Op<void> {
  if (!npCache || count === ALL_PAGES) {
    yield* flushRange(reason, domain, page, count, directories);
  } else {
    for (let at = page; at < page + count;) {
      const pages = alignedPiece(at, page + count - at);
      yield* flushRange(reason, domain, at, pages, directories);
      at += pages;
    }
  }
  for (const unit of domain.units) {
    yield* unit.completionWait();
  }
}

/** Source: Linux 7.2 `amd_iommu_domain_flush_all()`. */
export function flushDomain(reason: DomainReason, domain: ProtectionDomain, npCache: boolean): Op<void> {
  return flushDomainPages(reason, domain, 0, ALL_PAGES, true, npCache);
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
function* flushRange(
  reason: DomainReason,
  domain: ProtectionDomain,
  page: number,
  count: number,
  directories: boolean,
): Op<void> {
  const guest = domain.mode === "v2";
  if (guest) {
    for (const { unit, gcr3 } of domain.devices) {
      const command = invalidateIommuPages({ domainId: gcr3.domainId, pasid: 0 }, page, count, directories);
      yield* unit.queue(`${reason}:pages`, command);
    }
  } else {
    for (const unit of domain.units) {
      const command = invalidateIommuPages({ domainId: domain.domainId }, page, count, directories);
      yield* unit.queue(`${reason}:pages`, command);
    }
  }
  for (const device of domain.devices) {
    if (device.atsEnabled) {
      const command = invalidateIotlbPages(guest ? iotlbOf(device, 0) : iotlbOf(device), page, count);
      yield* device.unit.queue(`${reason}:iotlb`, command);
    }
  }
}

/**
 * Invalidates pages of a PASID of a device: IOTLB, then ATC; then waits.
 *
 * Source: Linux 7.2 `amd_iommu_dev_flush_pasid_pages()`.
 */
export function* flushPasidPages(
  reason: PasidReason,
  device: DeviceData,
  pasid: number,
  page: number,
  count: number,
): Op<void> {
  const { unit, gcr3 } = device;
  const command = invalidateIommuPages({ domainId: gcr3.domainId, pasid }, page, count, true);
  yield* unit.queue(`${reason}:pages`, command);
  if (device.atsEnabled) {
    yield* unit.queue(`${reason}:iotlb`, invalidateIotlbPages(iotlbOf(device, pasid), page, count));
  }
  yield* unit.completionWait();
}

/** Invalidates everything of a PASID of a device. Source: Linux 7.2 `dev_flush_pasid_all()`. */
export function flushPasid(reason: PasidReason, device: DeviceData, pasid: number): Op<void> {
  return flushPasidPages(reason, device, pasid, 0, ALL_PAGES);
}
