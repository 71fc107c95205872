import type { Device, Domain, DomainType, Op, Words } from "@iommu-lab/core";
import { S1_DSS } from "../layout/stream-table-entry.ts";
import { atsStateOf, decideAts } from "./ats-decision.ts";
import { attachCommit, attachPrepare, clearCd, installSte } from "./attach.ts";
import type { DriverContext } from "./driver-context.ts";
import { tracked } from "./driver-context.ts";
import type { Master } from "./master.ts";
import { makeCdTableSte } from "./stream-entry.ts";

const NO_SUBSTREAMS = "an STE that bypasses or aborts refuses ATS, and there are no SubstreamIDs to do it by S1DSS";

/**
 * Whether a table of context descriptors can stand in for an STE that bypasses or aborts, so that ATS works: it needs
 * substreams, because S1DSS counts only with them.
 */
function canKeepAts(master: Master): boolean {
  const { features } = master.smmu;
  if (!features.stage1 || features.substreamIdBits === 0) {
    return false;
  }
  if (!master.cdTable.allocated) {
    master.allocateCdTable(1);
  }
  return master.cdTable.s1CdMax > 0;
}

/**
 * Attaches IDENTITY or BLOCKED to the RID: by an STE of its own, or, while PASIDs are attached or ATS has to stay on, by
 * what S1DSS says.
 *
 * Source: Linux 7.2 `arm_smmu_attach_dev_ste()`.
 *
 * @param plain the STE of its own
 * @param s1Dss the same in terms of S1DSS
 */
export function* attachUntranslated(
  context: DriverContext,
  domain: Domain,
  device: Device,
  old: Domain | undefined,
  plain: Words,
  s1Dss: number,
): Op<void> {
  const master = context.masterOf(device);
  const { asidLock, policy } = context;
  yield asidLock.exclusive;
  try {
    const state = atsStateOf(master, domain.type, master.cdTable.usedSsids);
    const wanted = master.atsSupported && policy.wants("rid-attach", state);
    const unable = wanted && !master.ssidsInUse && !canKeepAts(master);
    const ats = decideAts(master, policy, "rid-attach", state, unable ? NO_SUBSTREAMS : master.atsObstacle);
    const byTable = master.ssidsInUse || ats;
    const attach = yield* attachPrepare(master, 0, undefined, tracked(old), ats);
    const target = byTable ? makeCdTableSte(master.smmu.features, master.cdTable, master.stalls, ats, s1Dss) : plain;
    yield* installSte(master, target);
    yield* attachCommit(attach);
  } finally {
    asidLock.release();
  }
  yield* clearCd(master, 0);
}

const S1_DSS_OF: Readonly<Partial<Record<DomainType, number>>> = {
  IDENTITY: S1_DSS.bypass,
  BLOCKED: S1_DSS.terminate,
};

/**
 * Brings the STE in line with a PASID that was attached: a stream that bypasses or aborts gets the table of context
 * descriptors and says by S1DSS what its RID does.
 *
 * Source: Linux 7.2 `arm_smmu_update_ste()`.
 */
export function* updateSte(master: Master, ridDomain: Domain, ats: boolean): Op<void> {
  if (master.cdTable.inSte && master.steAtsEnabled === ats) {
    return;
  }
  const s1Dss = S1_DSS_OF[ridDomain.type] ?? S1_DSS.ssid0;
  yield* installSte(master, makeCdTableSte(master.smmu.features, master.cdTable, master.stalls, ats, s1Dss));
}
