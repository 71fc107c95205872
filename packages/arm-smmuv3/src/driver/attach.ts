import { type Op, type Words, KernelError, getField } from "@iommu-lab/core";
import { pciDisableAts, pciEnableAts } from "@iommu-lab/pci";
import { cmdCfgiSte, cmdPrefetchConfig } from "../layout/command.ts";
import { EATS, STE, STE_CONFIG, describeSte } from "../layout/stream-table-entry.ts";
import { makeEmptyCd } from "./context-descriptor.ts";
import { atcInvMaster, atcRange } from "./invalidate.ts";
import type { Master } from "./master.ts";
import type { TrackedDomain } from "./tracked-domain.ts";

/** What one attach carries from its preparation to its end (`struct arm_smmu_attach_state`). */
export interface AttachState {
  readonly master: Master;
  /** PASID, 0 = the RID (`IOMMU_NO_PASID`). */
  readonly ssid: number;
  /** What is left behind, when it tracks the functions on it. */
  readonly old: TrackedDomain | undefined;
  /** Whether ATS will be on. */
  readonly atsEnabled: boolean;
  /** Whether it was on. */
  readonly atsWasEnabled: boolean;
}

/**
 * Starts an attach: the new domain begins to invalidate for the function, beside the old one; ATS goes off at the
 * function if it will be off, before its STE says so.
 *
 * Source: Linux 7.2 `arm_smmu_attach_prepare()`, `arm_smmu_attach_prepare_invs()`.
 *
 * @param next the new domain, when it tracks the functions on it
 */
export function* attachPrepare(
  master: Master,
  ssid: number,
  next: TrackedDomain | undefined,
  old: TrackedDomain | undefined,
  atsEnabled: boolean,
): Op<AttachState> {
  const atsWasEnabled = master.atsEnabled;
  next?.addUser(master, ssid, atsEnabled);
  if (!atsEnabled && master.atsEnabled) {
    yield* pciDisableAts(master.pci);
  }
  return { master, ssid, old, atsEnabled, atsWasEnabled };
}

/**
 * Ends an attach, after STE and context descriptor are written: the ATC is emptied, ATS goes on at the function if it
 * will be on, and the old domain forgets the function.
 *
 * Source: Linux 7.2 `arm_smmu_attach_commit()`.
 */
export function* attachCommit(state: AttachState): Op<void> {
  const { master, ssid, atsEnabled } = state;
  if (atsEnabled && !master.atsEnabled) {
    yield* enableAts(master);
  } else if (atsEnabled) {
    yield* atcInvMaster(master, ssid, "attach-commit:atc-kept");
  } else if (master.atsEnabled) {
    yield* atcInvMaster(master, 0, "attach-commit:atc-after-disable");
  }
  yield* leaveOldDomain(state);
  master.atsEnabled = atsEnabled;
}

/**
 * The old domain forgets the function.
 *
 * Source: Linux 7.2 `arm_smmu_remove_master_domain()`, `arm_smmu_install_old_domain_invs()`.
 */
export function* leaveOldDomain(state: AttachState): Op<void> {
  const { master, ssid, old, atsWasEnabled } = state;
  if (old !== undefined) {
    yield* old.removeUser(master, ssid, atsWasEnabled);
  }
}

/**
 * A failure is only logged, and the driver goes on believing that ATS is on.
 *
 * Source: Linux 7.2 `arm_smmu_enable_ats()`.
 *
 * @param together whose ATCs are emptied before: in 6.1 those of the whole domain
 */
export function* enableAts(master: Master, together: readonly { readonly master: Master }[] = [{ master }]): Op<void> {
  const { smmu, pci } = master;
  const sids = together.filter((one) => one.master.atsEnabled || one.master === master);
  yield* smmu.commands.invalidate(
    "attach-commit:atc-before-enable",
    sids.flatMap((one) => one.master.streams.map((sid) => atcRange(sid, 0, undefined))),
  );
  try {
    yield* pciEnableAts(pci, smmu.features.pageShift);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    smmu.warn("arm_smmu_enable_ats", `Failed to enable ATS (STU ${smmu.features.pageShift}): ${error.message}`);
  }
}

/** Writes a function's stream table entries. Source: Linux 7.2 `arm_smmu_install_ste_for_dev()`, `arm_smmu_write_ste()`. */
export function* installSte(master: Master, target: Words): Op<void> {
  const { smmu, cdTable, streams } = master;
  cdTable.inSte = getField(target, STE.config) === STE_CONFIG.stage1;
  master.steAtsEnabled = getField(target, STE.eats) === EATS.full;
  for (const sid of streams) {
    const place = smmu.streamTable.entry(sid);
    yield* smmu.tables.update(place, smmu.ports.version.steKind, target, describeSte, () =>
      smmu.commands.invalidate("write-ste", [cmdCfgiSte(sid, true)]),
    );
    yield* smmu.commands.issue([cmdPrefetchConfig(sid)], false);
  }
}

/** Makes a context descriptor invalid. Source: Linux 7.2 `arm_smmu_clear_cd()`. */
export function* clearCd(master: Master, ssid: number): Op<void> {
  const { cdTable, smmu } = master;
  if (!cdTable.allocated) {
    return;
  }
  const place = cdTable.find(ssid);
  if (place !== undefined) {
    yield* cdTable.write(ssid, place, makeEmptyCd());
  } else if (!master.atsAlwaysOn || ssid !== 0) {
    smmu.warn("arm_smmu_clear_cd", `no context descriptor ${ssid}`);
  }
}
