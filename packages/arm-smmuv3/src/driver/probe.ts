import type { Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { AtsPolicy } from "@iommu-lab/pci";
import {
  pciAtsRequired,
  pciDisablePasid,
  pciEnablePasid,
  pciMaxPasids,
  pciPasidFeatures,
  pciPrepareAts,
} from "@iommu-lab/pci";
import { atsStateOf, tellDecision } from "./ats-decision.ts";
import type { Master } from "./master.ts";

/** `CTXDESC_LINEAR_CDMAX`: 64 KiB of context descriptors. */
const LINEAR_CD_BITS = 10;
const SOURCE = "Linux 7.2 arm_smmu_master_prepare_ats()";

/**
 * Takes a function's StreamIDs.
 *
 * Source: Linux 7.2 `arm_smmu_insert_master()`.
 *
 * @throws KernelError ENODEV when another function holds one of them, ERANGE beyond the stream table
 */
export function* insertMaster(master: Master): Op<void> {
  const { smmu, streams, device } = master;
  const taken: number[] = [];
  try {
    for (const sid of streams) {
      yield* smmu.streamTable.prepare(sid);
      const other = smmu.streams.get(sid);
      if (other === master) {
        continue;
      }
      if (other !== undefined) {
        const text = `Aliasing StreamID 0x${sid.toString(16)} (from ${other.device.name}) unsupported, expect DMA to be broken`;
        smmu.warn("arm_smmu_insert_master", `${device.name}: ${text}`);
        throw new KernelError("ENODEV", text);
      }
      smmu.streams.set(sid, master);
      taken.push(sid);
    }
  } catch (error) {
    for (const sid of taken) {
      smmu.streams.delete(sid);
    }
    throw error;
  }
}

/** Gives a function's StreamIDs back. Their STEs stay. Source: Linux 7.2 `arm_smmu_remove_master()`. */
export function removeMaster(master: Master): void {
  for (const sid of master.streams) {
    if (master.smmu.streams.get(sid) === master) {
      master.smmu.streams.delete(sid);
    }
  }
}

/**
 * Sets PASID Enable where the function has it: before ATS, because it must not change while ATS is on. A failure leaves
 * the function without PASIDs.
 *
 * Source: Linux 7.2 `arm_smmu_enable_pasid()`.
 */
export function* enablePasid(master: Master): Op<void> {
  const { pci, smmu } = master;
  try {
    yield* pciEnablePasid(pci, pciPasidFeatures(pci));
    master.ssidBits = Math.min(Math.floor(Math.log2(pciMaxPasids(pci))), smmu.features.substreamIdBits);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    if (pci.pasidCap !== 0) {
      smmu.warn("arm_smmu_enable_pasid", `${pci.name}: Failed to enable PASID: ${error.message}`);
    }
  }
  if (!smmu.features.twoLevelCdTable) {
    master.ssidBits = Math.min(master.ssidBits, LINEAR_CD_BITS);
  }
}

/** Clears PASID Enable. Source: Linux 7.2 `arm_smmu_disable_pasid()`. */
export function* disablePasid(master: Master): Op<void> {
  if (master.pci.pasidEnabled) {
    master.ssidBits = 0;
    yield* pciDisablePasid(master.pci);
  }
}

/**
 * Writes the STU, and settles whether ATS has to be on whatever the RID's domain is.
 *
 * Source: Linux 7.2 `arm_smmu_master_prepare_ats()`.
 *
 * @throws KernelError EOPNOTSUPP for a function that cannot work without ATS where ATS cannot be on all the time; what
 * `pci_prepare_ats()` returned
 */
export function* prepareAts(master: Master, policy: AtsPolicy): Op<void> {
  const { pci, smmu } = master;
  const { features } = smmu;
  const required = pciAtsRequired(pci);
  if (!master.atsSupported) {
    if (required) {
      refuse(master, master.atsObstacle);
    }
    return;
  }
  yield* pciPrepareAts(pci, features.pageShift);
  master.atsRequired = required;
  const keeps = policy.wants("rid-attach", atsStateOf(master, "IDENTITY", 0));
  if (!required && !keeps) {
    return;
  }
  if (!features.stage1 || features.substreamIdBits === 0) {
    if (required) {
      refuse(master, "ATS on IDENTITY needs stage 1 and SubstreamIDs, which the SMMU lacks");
    }
    return;
  }
  if (!keeps) {
    return;
  }
  master.atsAlwaysOn = true;
  master.allocateCdTable();
  tellDecision(master, {
    rule: "smmuv3-ats-always-on",
    input: required ? "the function requires ATS (CXL.cache, or known)" : `policy ${policy.id}`,
    answer: "ATS stays on while the RID is on IDENTITY",
    reason:
      "the STE translates by a table of context descriptors whose S1DSS bypasses: only so does IDENTITY allow ATS",
    source: SOURCE,
    basis: required ? "recorded" : "derived",
  });
}

/** At boot this error takes the whole SMMU down; at hot-add the function alone stays without it. */
function refuse(master: Master, why: string): never {
  tellDecision(master, {
    rule: "smmuv3-ats-required",
    input: "the function requires ATS (CXL.cache, or known)",
    answer: "probe refused: EOPNOTSUPP",
    reason: why,
    source: SOURCE,
    basis: master.smmu.features.substreamIdBits === 0 && master.atsSupported ? "recorded" : "source",
  });
  throw new KernelError("EOPNOTSUPP", `${master.device.name} requires ATS: ${why}`);
}
