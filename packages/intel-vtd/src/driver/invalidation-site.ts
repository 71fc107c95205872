import type { Words } from "@iommu-lab/core";

/**
 * Every place in the drivers that invalidates something, by the kernel's function or what it is about. A test drops one at a
 * time to see what it is needed for.
 */
export const INVALIDATION_SITES = [
  "init:context",
  "init:pasid",
  "init:iotlb",
  "context-install:context",
  "context-install:iotlb",
  "context-clear:context",
  "context-clear:iotlb",
  "context-clear:devtlb",
  "sm-context-install:context",
  "sm-context-install:iotlb",
  "sm-context-teardown:context",
  "sm-context-teardown:devtlb",
  "sm-context-clear-6.1:context",
  "sm-context-clear-6.1:pasid",
  "sm-context-clear-6.1:iotlb",
  "flip-pri:context",
  "flip-pri:devtlb",
  "pasid-install:pasid",
  "pasid-install:iotlb",
  "pasid-teardown:pasid",
  "pasid-teardown:iotlb",
  "pasid-teardown:devtlb",
  "drain-prq:iotlb",
  "drain-prq:devtlb",
  "map:iotlb",
  "unmap:iotlb",
  "unmap:devtlb",
  "flush-all:iotlb",
  "flush-all:devtlb",
  "policy-off:devtlb",
] as const;

/** One of {@link INVALIDATION_SITES}. */
export type InvalidationSite = (typeof INVALIDATION_SITES)[number];

/** What of a list of invalidations is really sent; the wait behind it is sent in any case. */
export type DescriptorFilter = (site: InvalidationSite, descriptors: readonly Words[]) => readonly Words[];
