import type { Plugin, PlatformHost, Token } from "@iommu-lab/core";
import { BOOT, MEMORY, TRACE, token } from "@iommu-lab/core";
import { CXL_DVSEC_DEVICE, DVSEC_VENDOR_CXL, type Rid, TOPOLOGY } from "@iommu-lab/pci";
import { CxlCache } from "./cxl-cache.ts";
import { type CxlFirmwareOptions, enableCxl } from "./firmware.ts";

/** The CXL.cache agents of the platform, by requester ID. */
export const CXL_CACHES: Token<ReadonlyMap<Rid, CxlCache>> = token("cxl.caches");

/** The CXL.cache agent of a function; undefined when it is no CXL device or the platform has no `cxl()`. */
export function cxlCache(host: PlatformHost, rid: Rid): CxlCache | undefined {
  return host.has(CXL_CACHES) ? host.get(CXL_CACHES).get(rid) : undefined;
}

/** Brings CXL.cache to every endpoint with a CXL device DVSEC, and the firmware that enables it. Needs `pci()`. */
export function cxl(options: CxlFirmwareOptions = {}): Plugin {
  return {
    name: "cxl",
    register(host) {
      host.provide(CXL_CACHES, () => {
        const caches = new Map<Rid, CxlCache>();
        for (const endpoint of host.get(TOPOLOGY).endpoints) {
          if (endpoint.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE) !== 0) {
            caches.set(endpoint.rid, new CxlCache(endpoint, host.get(MEMORY), host.get(TRACE)));
          }
        }
        return caches;
      });
      host.add(BOOT, {
        name: "cxl firmware",
        order: 100,
        run: () => enableCxl(host.get(TOPOLOGY).endpoints, options, host.get(TRACE)),
      });
    },
  };
}
