import { KernelError } from "@iommu-lab/core";
import type { RmrRegion } from "../firmware/iort-rmr.ts";
import type { SmmuDevice } from "./smmu-device.ts";

/**
 * Gives the streams that use reserved memory an STE that bypasses, so that they go on while the SMMU is taken over. The
 * table is not known to hardware yet.
 *
 * Source: Linux 7.2 `arm_smmu_rmr_install_bypass_ste()`.
 */
export function installBypassStes(smmu: SmmuDevice, regions: readonly RmrRegion[]): void {
  for (const sid of new Set(regions.flatMap(({ streams }) => streams))) {
    try {
      smmu.streamTable.startBypassing(sid, smmu.features);
    } catch (error) {
      if (!(error instanceof KernelError)) {
        throw error;
      }
      smmu.warn("arm_smmu_rmr_install_bypass_ste", `RMR SID(0x${sid.toString(16)}) bypass failed`);
    }
  }
}
