import type { AtsPolicy } from "@iommu-lab/pci";
import { vtdLegacyWithPaging, vtdScalableAtProbe, vtdWithAnyDomain } from "../policy/ats-policies.ts";

/** Where the VT-d drivers of the modelled kernels differ. */
export interface VtdVersion {
  /**
   * When ATS Enable moves in scalable mode: once after the first attach and at release (7.2), or off before and on after
   * every change of the RID's entry (6.12, 6.1). With the latter legacy mode clears Enable before it clears the entry too.
   */
  readonly ats: "finalize" | "each-attach";
  /** When PASID Enable is set. */
  readonly pasidEnable: "probe" | "finalize" | "attach";
  /** When the scalable context entry is written, and whether the STU is prepared: at probe, or with the first attach (6.1). */
  readonly context: "probe" | "attach";
  /** There is a static BLOCKED domain; without it the core blocks with an empty paging domain. */
  readonly blockedDomain: boolean;
  /** Flushes of one change share a wait. */
  readonly batches: boolean;
  /** A device that is gone ends the repetition of a timed-out invalidation. */
  readonly givesUpOnGoneDevice: boolean;
  /**
   * Who turns page requests on: the driver after the first attach, with PRE in the context entry since probe; a device
   * driver through `iommu_dev_enable_feature()`, which then sets both; or each attach, with PRE in the entry (6.1).
   */
  readonly pageRequests: "finalize" | "feature" | "attach";
  /** When ATS is wanted, as shipped. */
  readonly policies: { readonly legacy: AtsPolicy; readonly scalable: AtsPolicy };
  /** A removed PASID's caches are forgotten before its entry is torn down. */
  readonly forgetFirst: boolean;
}

/** Linux 7.2: `intel_iommu_probe_finalize()`, `device_block_translation()`. */
const linux72: VtdVersion = {
  ats: "finalize",
  pasidEnable: "finalize",
  context: "probe",
  blockedDomain: true,
  batches: true,
  givesUpOnGoneDevice: true,
  pageRequests: "finalize",
  policies: { legacy: vtdLegacyWithPaging, scalable: vtdScalableAtProbe },
  forgetFirst: false,
};

/** Linux 6.12: `intel_iommu_probe_device()`, `iommu_enable_pci_caps()`, `device_block_translation()`. */
const linux612: VtdVersion = {
  ats: "each-attach",
  pasidEnable: "probe",
  context: "probe",
  blockedDomain: true,
  batches: true,
  givesUpOnGoneDevice: true,
  pageRequests: "feature",
  policies: { legacy: vtdLegacyWithPaging, scalable: vtdWithAnyDomain },
  forgetFirst: true,
};

/** Linux 6.1: `domain_add_dev_info()`, `device_block_translation()`, `iommu_flush_iotlb_psi()`, `qi_check_fault()`. */
const linux61: VtdVersion = {
  ats: "each-attach",
  pasidEnable: "attach",
  context: "attach",
  blockedDomain: false,
  batches: false,
  givesUpOnGoneDevice: false,
  pageRequests: "attach",
  policies: { legacy: vtdLegacyWithPaging, scalable: vtdWithAnyDomain },
  forgetFirst: true,
};

/** By kernel. */
export const vtdVersions: Readonly<Record<string, VtdVersion>> = {
  "linux-6.1": linux61,
  "linux-6.12": linux612,
  "linux-7.2": linux72,
};
