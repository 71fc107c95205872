import type { Words } from "@iommu-lab/core";

/** Why a domain is invalidated. */
export type DomainReason = "attach-6.1" | "detach" | "detach-6.1" | "map" | "unmap" | "flush-all";

/** Why a PASID of a device is invalidated; `rid` is PASID 0 under a guest table of the RID's own. */
export type PasidReason = "mm-unmap" | "gcr3-set" | "gcr3-clear" | "gcr3-rid-set" | "gcr3-rid-clear";

/**
 * Every place in the driver that invalidates something, by the kernel's function or what it is about. A test drops one at a
 * time to see what it is needed for.
 */
export const INVALIDATION_SITES = [
  "boot-early:all",
  "boot-early:devtab",
  "boot-early:interrupts",
  "boot-early:pages",
  "boot-late:all",
  "boot-late:devtab",
  "boot-late:interrupts",
  "boot-late:pages",
  "update-dte256:devtab",
  "update-dte256-alias:devtab",
  "device-flush-dte:devtab",
  "device-flush-dte-alias:devtab",
  "device-flush-dte:iotlb",
  "old-domain:pages",
  "attach-6.1:pages",
  "attach-6.1:iotlb",
  "detach:pages",
  "detach:iotlb",
  "detach-6.1:pages",
  "detach-6.1:iotlb",
  "map:pages",
  "map:iotlb",
  "unmap:pages",
  "unmap:iotlb",
  "flush-all:pages",
  "flush-all:iotlb",
  "mm-unmap:pages",
  "mm-unmap:iotlb",
  "gcr3-set:pages",
  "gcr3-set:iotlb",
  "gcr3-clear:pages",
  "gcr3-clear:iotlb",
  "gcr3-rid-set:pages",
  "gcr3-rid-set:iotlb",
  "gcr3-rid-clear:pages",
  "gcr3-rid-clear:iotlb",
] as const;

/** One of {@link INVALIDATION_SITES}. */
export type InvalidationSite = (typeof INVALIDATION_SITES)[number];

/** Whether a command is really queued; the COMPLETION_WAIT behind it is sent in any case. */
export type CommandFilter = (site: InvalidationSite, command: Words) => boolean;
