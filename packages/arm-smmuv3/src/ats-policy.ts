import type { Basis, KernelProfile } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import { type AtsEvent, type AtsPolicy, type AtsState, atsPolicyInSlot } from "@iommu-lab/pci";

/** The slot of a kernel profile that replaces the shipped ATS policy of this driver. */
export const ATS_SLOT = "ats:arm-smmuv3";

function wants(state: AtsState): boolean {
  if (state.guestWantsAts !== undefined) {
    return state.guestWantsAts;
  }
  const { ridDomain, livePasids, required } = state;
  if (ridDomain === "none") {
    return false;
  }
  if (ridDomain === "BLOCKED") {
    return livePasids > 0;
  }
  return ridDomain !== "IDENTITY" || livePasids > 0 || required;
}

/**
 * What Linux 7.2 ships for SMMUv3: ATS is on while there is something to translate (a translated RID, or any PASID), and
 * on IDENTITY also for a function that cannot work without it. BLOCKED without PASIDs is off for every function.
 *
 * Source: Linux 7.2 `arm_smmu_attach_prepare()`, `arm_smmu_attach_dev_ste()`, `arm_smmu_blocking_set_dev_pasid()`.
 */
export const smmuv3OnDemand: AtsPolicy = {
  id: "smmuv3-on-demand",
  source: "Linux 7.2 arm_smmu_attach_prepare(), arm_smmu_attach_dev_ste()",
  wants: (_event: AtsEvent, state: AtsState): boolean => wants(state),
  // PASIDs and nesting were never seen on a recorded kernel; the rest was.
  basis: (event: AtsEvent, state: AtsState): Basis =>
    state.livePasids > 0 || event.startsWith("pasid") || state.guestWantsAts !== undefined ? "source" : "recorded",
};

/**
 * What Linux 6.12 ships for SMMUv3: the same without a thought for functions that require ATS.
 *
 * Source: Linux 6.12 `arm_smmu_attach_prepare()`, `arm_smmu_attach_dev_ste()`.
 */
export const smmuv3OnDemand612: AtsPolicy = {
  id: "smmuv3-on-demand-6.12",
  source: "Linux 6.12 arm_smmu_attach_prepare(), arm_smmu_attach_dev_ste()",
  wants: (_event: AtsEvent, state: AtsState): boolean => wants({ ...state, required: false }),
  basis: (): Basis => "source",
};

/**
 * What Linux 6.1 ships for SMMUv3: ATS with every paging domain, the empty one that stands for BLOCKED included; never on
 * IDENTITY.
 *
 * Source: Linux 6.1 `arm_smmu_attach_dev()`, `arm_smmu_enable_ats()`.
 */
export const smmuv3WithPaging61: AtsPolicy = {
  id: "smmuv3-with-paging-6.1",
  source: "Linux 6.1 arm_smmu_attach_dev(), arm_smmu_enable_ats()",
  wants: (_event: AtsEvent, { ridDomain }: AtsState): boolean => ridDomain !== "none" && ridDomain !== "IDENTITY",
  basis: (): Basis => "source",
};

const SHIPPED: ReadonlyMap<string, AtsPolicy> = new Map([
  ["linux-6.1", smmuv3WithPaging61],
  ["linux-6.12", smmuv3OnDemand612],
  ["linux-7.2", smmuv3OnDemand],
]);

/**
 * The policy of a kernel: what its slot `ats:arm-smmuv3` holds, else what the version ships.
 *
 * @throws InputError when the slot holds something else than an ATS policy, or the version is not modelled
 */
export function atsPolicyOf(kernel: KernelProfile): AtsPolicy {
  const chosen = atsPolicyInSlot(kernel, ATS_SLOT);
  if (chosen !== undefined) {
    return chosen;
  }
  const shipped = SHIPPED.get(kernel.id);
  if (shipped === undefined) {
    throw new InputError(`no SMMUv3 driver of ${kernel.id} is modelled`);
  }
  return shipped;
}
