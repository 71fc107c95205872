import type { Basis, DomainType, KernelProfile } from "@iommu-lab/core";
import { type AtsEvent, type AtsPolicy, type AtsState, type ExplainedAtsPolicy, atsPolicyInSlot } from "@iommu-lab/pci";

/** The slot of a kernel profile that replaces the shipped policy. */
export const ATS_SLOT = "ats:intel-vtd";

function paging(domain: DomainType | "none"): boolean {
  return domain === "DMA" || domain === "DMA-FQ" || domain === "UNMANAGED" || domain === "SVA";
}

/** PASIDs were never seen on a recorded kernel. */
function basisOf(event: AtsEvent, { livePasids }: AtsState): Basis {
  return livePasids > 0 || event === "pasid-set" || event === "pasid-remove" ? "source" : "recorded";
}

/** Scalable mode as shipped: ATS goes on once after the first attach, whatever is attached, and off at release. */
export const vtdScalableAtProbe: ExplainedAtsPolicy = {
  id: "vtd-scalable-at-probe",
  source: "Linux 7.2 intel_iommu_probe_finalize(), intel_iommu_release_device()",
  wants: (event) => event !== "release",
  basis: basisOf,
  reason: scalableReason,
};

function scalableReason(event: AtsEvent, { ridDomain }: AtsState): string {
  const kept = "the context entry keeps DTE=1 and the driver does not touch ATS Enable";
  if (event === "release") {
    return "the device is released: ATS off";
  }
  if (event === "probe-finalize") {
    return "probe_finalize sets ATS Enable once, whatever the RID is attached to; DTE=1 since probe: ATS on";
  }
  if (event !== "rid-attach") {
    return `a PASID changes its own PASID entry alone; ${kept}: ATS stays on`;
  }
  if (ridDomain === "BLOCKED") {
    return `BLOCKED clears the PASID entry of the RID alone; ${kept}, so Translated requests pass: ATS stays on`;
  }
  return ridDomain === "IDENTITY"
    ? `IDENTITY: the PASID entry is pass-through (PGTT=4), which serves Translation Requests; ${kept}: ATS stays on`
    : `${ridDomain}: the PASID entry of the RID gets a page table; ${kept}: ATS stays on`;
}

/** Scalable mode as shipped in 6.12: ATS is on while anything but BLOCKED is attached; PASIDs do not count. */
export const vtdWithAnyDomain: ExplainedAtsPolicy = {
  id: "vtd-with-any-domain",
  source: "Linux 6.12 iommu_enable_pci_caps(), device_block_translation()",
  wants: (event, { ridDomain }) => event !== "release" && (paging(ridDomain) || ridDomain === "IDENTITY"),
  basis: basisOf,
  reason: withDomainReason,
};

function withDomainReason(event: AtsEvent, { ridDomain }: AtsState): string {
  if (event === "release") {
    return "the device is released: ATS off";
  }
  return paging(ridDomain) || ridDomain === "IDENTITY"
    ? `${ridDomain}: each attach sets ATS Enable once the PASID entry of the RID is there: ATS on`
    : `${ridDomain}: blocking clears ATS Enable before the PASID entry of the RID, whatever PASIDs live: ATS off`;
}

/** Legacy mode as shipped: ATS is on while a paging domain is attached. */
export const vtdLegacyWithPaging: ExplainedAtsPolicy = {
  id: "vtd-legacy-with-paging",
  source: "Linux 7.2 domain_context_mapping(), domain_context_clear()",
  wants: (event, { ridDomain }) => event !== "release" && paging(ridDomain),
  basis: basisOf,
  reason: legacyReason,
};

function legacyReason(event: AtsEvent, { ridDomain }: AtsState): string {
  if (event === "release") {
    return "the device is released: ATS off";
  }
  if (paging(ridDomain)) {
    return `${ridDomain}: TT=01 in the context entry permits Translation Requests: ATS on`;
  }
  return ridDomain === "IDENTITY"
    ? "IDENTITY: legacy mode uses TT=10, which forbids Translation Requests: ATS off"
    : `${ridDomain}: the context entry has P=0, which refuses every request: ATS off`;
}

/**
 * Proposed, not shipped: scalable mode enables ATS on demand, while the RID translates or a PASID is attached. DTE stays
 * as it was set at probe.
 */
export const vtdTrackPasids: ExplainedAtsPolicy = {
  id: "vtd-track-pasids",
  source: "proposal on the mailing list: VT-d tracks PASIDs as SMMUv3 does",
  wants: (event, { ridDomain, livePasids }: AtsState) => event !== "release" && (livePasids > 0 || paging(ridDomain)),
  basis: () => "derived",
  reason: trackedReason,
};

function trackedReason(event: AtsEvent, { ridDomain, livePasids }: AtsState): string {
  if (event === "release") {
    return "the device is released: ATS off";
  }
  if (livePasids > 0) {
    return `${livePasids === 1 ? "a PASID is" : `${livePasids} PASIDs are`} attached: ATS on`;
  }
  return paging(ridDomain)
    ? `${ridDomain}: the RID has a page table: ATS on`
    : `${ridDomain}: the RID has no page table and no PASID is attached: ATS off`;
}

/**
 * The policy in force: the profile's slot `ats:intel-vtd`, else what is shipped.
 *
 * @throws InputError when the slot holds something else than a policy
 */
export function atsPolicyOf(kernel: KernelProfile, shipped: AtsPolicy): AtsPolicy {
  return atsPolicyInSlot(kernel, ATS_SLOT) ?? shipped;
}
