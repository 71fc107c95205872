import type { Plugin, PlatformHost, Token } from "@iommu-lab/core";
import { BOOT, CLOCK, MEMORY, SCHEDULER, TRACE, token } from "@iommu-lab/core";
import { CXL_DVSEC_DEVICE, DVSEC_VENDOR_CXL, type Endpoint, type Rid, TOPOLOGY } from "@iommu-lab/pci";
import { CxlCache } from "./cxl-cache.ts";
import { CxlReset, type CxlResetTimes } from "./cxl-reset.ts";
import { type CxlFirmwareOptions, enableCxl } from "./firmware.ts";

/** The CXL.cache agents of the platform, by requester ID. */
export const CXL_CACHES: Token<ReadonlyMap<Rid, CxlCache>> = token("cxl.caches");

/** CXL reset of the platform's CXL devices, by requester ID of the function with the DVSEC. */
export const CXL_RESETS: Token<ReadonlyMap<Rid, CxlReset>> = token("cxl.resets");

/** What {@link cxl} can be told: what firmware enables, and how long devices take. */
export interface CxlOptions extends CxlFirmwareOptions, CxlResetTimes {}

/** The CXL.cache agent of a function; undefined when it is no CXL device or the platform has no `cxl()`. */
export function cxlCache(host: PlatformHost, rid: Rid): CxlCache | undefined {
  return host.has(CXL_CACHES) ? host.get(CXL_CACHES).get(rid) : undefined;
}

/** Brings CXL.cache and CXL reset to every endpoint with a CXL device DVSEC, and the firmware that enables it. Needs `pci()`. */
export function cxl(options: CxlOptions = {}): Plugin {
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
      host.provide(CXL_RESETS, () => {
        const { endpoints } = host.get(TOPOLOGY);
        const resets = new Map<Rid, CxlReset>();
        for (const endpoint of endpoints) {
          if (endpoint.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE) !== 0) {
            const siblings = (): readonly Endpoint[] => endpoints.filter((one) => sameDevice(one, endpoint));
            const reset = new CxlReset(endpoint, siblings, host.get(CLOCK), options);
            host.get(SCHEDULER).addEngine(reset);
            resets.set(endpoint.rid, reset);
          }
        }
        return resets;
      });
      host.add(BOOT, {
        name: "cxl firmware",
        order: 100,
        run: () => {
          host.get(CXL_RESETS);
          return enableCxl(host.get(TOPOLOGY).endpoints, options, host.get(TRACE));
        },
      });
    },
  };
}

/** Functions on one link are one device, whatever their numbers. */
function sameDevice(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && (one.port !== undefined || one.rid >>> 3 === other.rid >>> 3);
}
