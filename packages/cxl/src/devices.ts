import type { EndpointOptions } from "@iommu-lab/pci";
import type { CxlDeviceType } from "./dvsec.ts";

/** Class code of an accelerator. */
const ACCELERATOR = 0x120000;
/** Class code of a CXL memory device (CXL 3.1 §8.1.12.1). */
const MEMORY_DEVICE = 0x050210;

/**
 * A CXL device to build: Type 1 has CXL.cache, Type 2 CXL.cache and CXL.mem, Type 3 CXL.mem. The first two need ATS,
 * because CXL.cache takes host physical addresses; a Type 3 device does without.
 *
 * Source: CXL 3.1 §2.1, §3.2.5.13.
 *
 * @param more anything to say otherwise
 * @example
 * ```ts
 * const topology = pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: cxlDevice(2) } }] });
 * ```
 */
export function cxlDevice(type: CxlDeviceType, more: Partial<EndpointOptions> = {}): EndpointOptions {
  const usesCache = type !== 3;
  return {
    vendor: 0x1e98,
    device: type,
    class: usesCache ? ACCELERATOR : MEMORY_DEVICE,
    ...(usesCache ? { ats: { queueDepth: 32 }, pasid: { width: 20 } } : {}),
    ...more,
    cxl: { cache: usesCache, mem: type !== 1, ...more.cxl },
  };
}
