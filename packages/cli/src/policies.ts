import { AMD_ATS_SLOT, amdIdentityAtsOff } from "@iommu-lab/amd-vi";
import {
  ATS_SLOT as SMMUV3_ATS_SLOT,
  blockedMeansAtsOff,
  identityAtsOff,
  smmuv3AtProbe,
  userspaceOptIn,
} from "@iommu-lab/arm-smmuv3";
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
  {
    id: blockedMeansAtsOff.id,
    title: "SMMUv3 turns ATS off in BLOCKED even while PASIDs are attached",
    slot: SMMUV3_ATS_SLOT,
    value: blockedMeansAtsOff,
  },
  {
    id: userspaceOptIn.id,
    title: "SMMUv3 keeps ATS off until an administrator consents",
    slot: SMMUV3_ATS_SLOT,
    value: userspaceOptIn,
  },
  {
    id: identityAtsOff.id,
    title: "SMMUv3 keeps ATS off in IDENTITY also for functions that require it",
    slot: SMMUV3_ATS_SLOT,
    value: identityAtsOff,
  },
  {
    id: smmuv3AtProbe.id,
    title: "SMMUv3 never turns ATS off, as VT-d in scalable mode",
    slot: SMMUV3_ATS_SLOT,
    value: smmuv3AtProbe,
  },
];
