import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, iommuOf } from "./state.ts";
import type { Domain, ReservedRegion } from "./types.ts";

/**
 * Maps a device's direct regions 1:1 into a domain of the DMA API and remembers that it has any. Pages mapped already
 * (by another member) are skipped; other domain types get no mappings.
 *
 * Source: Linux 7.2 `iommu_create_device_direct_mappings()`; 6.12 and 6.1 flush the whole domain at the end.
 */
export function* mapDirectRegions(state: CoreState, device: Device, domain: Domain): Op<void> {
  const { rules } = state;
  const iommu = iommuOf(device);
  const regions = iommu.driver.reservedRegions(device);
  const isDma = domain.type === "DMA" || domain.type === "DMA-FQ";
  for (const region of regions) {
    if (region.type === "direct") {
      iommu.requireDirect = rules.requireDirect;
    }
    const mapped = region.type === "direct" || region.type === "direct-relaxable";
    if (mapped && isDma) {
      yield* mapRegion(domain, region);
    }
  }
  const flush =
    rules.flushAfterDirect === "always" || (rules.flushAfterDirect === "when-regions" && regions.length > 0);
  if (flush && isDma && domain.flushAll !== undefined) {
    yield* domain.flushAll();
  }
}

/** The same where the kernel does not look at the result: a device that joins late, the bus probe of 6.1. */
export function* mapWithoutLooking(state: CoreState, device: Device, domain: Domain): Op<void> {
  try {
    yield* mapDirectRegions(state, device, domain);
  } catch (error) {
    errnoOf(error);
  }
}

function* mapRegion(domain: Domain, region: ReservedRegion): Op<void> {
  let start = region.page;
  for (let page = region.page; page <= region.page + region.count; page += 1) {
    const end = page === region.page + region.count;
    if (end || domain.lookup?.(page) !== undefined) {
      if (page > start && domain.map !== undefined) {
        yield* domain.map(start, start, page - start, region.prot);
      }
      start = page + 1;
    }
  }
}
