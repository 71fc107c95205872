import type { Words } from "@iommu-lab/core";

/** Why a domain is invalidated. */
export const DOMAIN_SITES = ["unmap", "flush-all", "mm-unmap", "mm-release"] as const;

/** One of {@link DOMAIN_SITES}. */
export type DomainSite = (typeof DOMAIN_SITES)[number];

/**
 * Every place in the driver that invalidates something, by the kernel's function or what it is about. A test drops one
 * at a time to see what it is needed for.
 */
export const INVALIDATION_SITES = [
  "device-reset:config",
  "device-reset:tlb-el2",
  "device-reset:tlb-nsnh",
  "write-ste",
  "write-cd",
  "write-l1cd",
  "attach-commit:atc-before-enable",
  "attach-commit:atc-kept",
  "attach-commit:atc-after-disable",
  "detach:atc",
  "old-domain:tlb",
  "domain-free:tlb",
  "pasid-remove:atc",
  "unmap:tlb",
  "unmap:atc",
  "flush-all:tlb",
  "flush-all:atc",
  "mm-unmap:tlb",
  "mm-unmap:atc",
  "mm-release:tlb",
  "mm-release:atc",
] as const;

/** One of {@link INVALIDATION_SITES}. */
export type InvalidationSite = (typeof INVALIDATION_SITES)[number];

/** What of a list of invalidations is really sent; the SYNC behind it is sent in any case. */
export type CommandFilter = (site: InvalidationSite, commands: readonly Words[]) => readonly Words[];
