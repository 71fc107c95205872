import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import { iommuOf } from "./state.ts";
import type { Domain } from "./types.ts";

/**
 * Maps a device's direct regions 1:1 into a domain of the DMA API and remembers that it has any. Pages mapped already
 * (by another member) are skipped; other domain types get no mappings.
 *
 * Source: Linux 7.2 `iommu_create_device_direct_mappings()`.
 */
export function* mapDirectRegions(device: Device, domain: Domain): Op<void> {
  const iommu = iommuOf(device);
  for (const region of iommu.driver.reservedRegions(device)) {
    if (region.type === "direct") {
      iommu.requireDirect = true;
    }
    if (region.type !== "direct" && region.type !== "direct-relaxable") {
      continue;
    }
    if (domain.type !== "DMA" && domain.type !== "DMA-FQ") {
      continue;
    }
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
}
