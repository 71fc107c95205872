import { AMD_ATS_SLOT, amdIdentityAtsOff } from "@iommu-lab/amd-vi";
import { ATS_SLOT, vtdTrackPasids } from "@iommu-lab/intel-vtd";
import type { NamedPolicy } from "@iommu-lab/scenario";

/** Policies of the public debates that can be tried instead of the shipped ones. */
export const policies: readonly NamedPolicy[] = [
  {
    id: "vtd-track-pasids",
    title: "VT-d scalable mode turns ATS on with the first translated domain or PASID and off with the last",
    slot: ATS_SLOT,
    value: vtdTrackPasids,
  },
  {
    id: "amd-identity-ats-off",
    title: "AMD keeps ATS off in IDENTITY until a PASID is attached",
    slot: AMD_ATS_SLOT,
    value: amdIdentityAtsOff,
  },
];
