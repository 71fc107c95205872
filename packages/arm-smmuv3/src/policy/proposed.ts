import type { AtsPolicy } from "@iommu-lab/pci";
import { smmuv3OnDemand } from "../ats-policy.ts";

const THREAD = "linux-iommu, thread on ATS always on for CXL.cache";

/**
 * BLOCKED means that ATS is off, also while PASIDs are attached: requests with the RID are then refused by EATS instead of
 * by S1DSS alone, and the PASIDs lose ATS with it. It is on again with the next translated RID.
 *
 * What 7.2 ships keeps ATS for the PASIDs, so Translated requests with the RID stay permitted.
 */
export const blockedMeansAtsOff: AtsPolicy = {
  id: "blocked-means-ats-off",
  source: THREAD,
  wants: (event, state) => state.ridDomain !== "BLOCKED" && smmuv3OnDemand.wants(event, state),
  basis: () => "derived",
};

/**
 * ATS waits for an administrator's consent, which nobody has given: functions that require ATS stay without it, and probe
 * all the same.
 *
 * What 7.2 ships asks nobody; `pci=noats` and the untrusted flag alone keep ATS off.
 */
export const userspaceOptIn: AtsPolicy = {
  id: "userspace-opt-in",
  source: THREAD,
  wants: () => false,
  basis: () => "derived",
};

/**
 * IDENTITY never has ATS without PASIDs, also for functions that require it: what the kernels did before 7.2, and what
 * leaving the choice to each driver recommends.
 */
export const identityAtsOff: AtsPolicy = {
  id: "smmuv3-identity-ats-off",
  source: THREAD,
  wants: (event, state) => smmuv3OnDemand.wants(event, { ...state, required: false }),
  basis: () => "derived",
};

/**
 * ATS is never off once a function is probed: what VT-d does in scalable mode, with S1DSS in place of its own means.
 */
export const smmuv3AtProbe: AtsPolicy = {
  id: "smmuv3-at-probe",
  source: "Linux 7.2 intel_iommu_probe_finalize(), for comparison",
  wants: (_event, state) => state.ridDomain !== "none",
  basis: () => "derived",
};
