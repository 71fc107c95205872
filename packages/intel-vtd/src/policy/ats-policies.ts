import type { Basis, DomainType, KernelProfile } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { AtsEvent, AtsPolicy, AtsState } from "@iommu-lab/pci";

/** The slot of a kernel profile that replaces the shipped policy. */
export const ATS_SLOT = "ats:intel-vtd";

function paging(domain: DomainType | "none"): boolean {
  return domain === "DMA" || domain === "DMA-FQ" || domain === "UNMANAGED" || domain === "SVA";
}

function basisOf(event: AtsEvent): Basis {
  return event === "pasid-set" || event === "pasid-remove" ? "source" : "recorded";
}

/** Scalable mode as shipped: ATS goes on once after the first attach, whatever is attached, and off at release. */
export const vtdScalableAtProbe: AtsPolicy = {
  id: "vtd-scalable-at-probe",
  source: "Linux 7.2 intel_iommu_probe_finalize(), intel_iommu_release_device()",
  wants: (event) => event !== "release",
  basis: basisOf,
};

/** Legacy mode as shipped: ATS is on while a paging domain is attached. */
export const vtdLegacyWithPaging: AtsPolicy = {
  id: "vtd-legacy-with-paging",
  source: "Linux 7.2 domain_context_mapping(), domain_context_clear()",
  wants: (event, { ridDomain }) => event !== "release" && paging(ridDomain),
  basis: basisOf,
};

/**
 * Proposed, not shipped: scalable mode enables ATS on demand, while the RID translates or a PASID is attached. DTE stays
 * as it was set at probe.
 */
export const vtdTrackPasids: AtsPolicy = {
  id: "vtd-track-pasids",
  source: "proposal on the mailing list: VT-d tracks PASIDs as SMMUv3 does",
  wants: (event, { ridDomain, livePasids }: AtsState) => event !== "release" && (livePasids > 0 || paging(ridDomain)),
  basis: () => "derived",
};

/** The policy that this kernel ships for a mode of the driver. */
function shippedAtsPolicy(scalable: boolean): AtsPolicy {
  return scalable ? vtdScalableAtProbe : vtdLegacyWithPaging;
}

/**
 * The policy in force: the profile's slot `ats:intel-vtd`, else what is shipped.
 *
 * @throws InputError when the slot holds something else than a policy
 */
export function atsPolicyOf(kernel: KernelProfile, scalable: boolean): AtsPolicy {
  const chosen = kernel.slots[ATS_SLOT];
  if (chosen === undefined) {
    return shippedAtsPolicy(scalable);
  }
  if (!isPolicy(chosen)) {
    throw new InputError(`slot ${ATS_SLOT}: expected an ATS policy (an object with id, source, wants and basis)`);
  }
  return chosen;
}

function isPolicy(value: unknown): value is AtsPolicy {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  return (
    "id" in value &&
    typeof value.id === "string" &&
    "source" in value &&
    typeof value.source === "string" &&
    "wants" in value &&
    typeof value.wants === "function" &&
    "basis" in value &&
    typeof value.basis === "function"
  );
}
