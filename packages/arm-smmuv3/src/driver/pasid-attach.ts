import { type Device, type Domain, type Op, type Pasid, type Words, KernelError, getField } from "@iommu-lab/core";
import { CD } from "../layout/context-descriptor.ts";
import { atsStateOf, decideAts, tellDecision } from "./ats-decision.ts";
import { atcInvMaster } from "./invalidate.ts";
import { attachCommit, attachPrepare, clearCd, leaveOldDomain } from "./attach.ts";
import type { DriverContext } from "./driver-context.ts";
import { tracked } from "./driver-context.ts";
import type { Master } from "./master.ts";
import { updateSte } from "./rid-attach.ts";
import type { TrackedDomain } from "./tracked-domain.ts";

function isUntranslated(domain: Domain | undefined): boolean {
  return domain?.type === "IDENTITY" || domain?.type === "BLOCKED";
}

/** PASIDs that will be attached once this one is. */
function pasidsWith(master: Master, pasid: Pasid): number {
  const place = master.cdTable.find(pasid);
  const known = place !== undefined && getField(master.smmu.tables.read(place), CD.v) === 1;
  return master.cdTable.usedSsids + (known ? 0 : 1);
}

/** The core counts PASIDs by the capability, the driver sizes its table by what it could enable. */
function beyondTable(master: Master): string {
  return master.cdTable.s1CdMax === 0
    ? "PASID Enable failed at probe, but nothing checks that: S1CDMax is 0, so S1DSS does not count and the RID uses context descriptor 0"
    : "the table of context descriptors ends before the PASIDs of the function, but nothing checks that";
}

/**
 * Attaches a domain to a PASID: its context descriptor, then the STE where that has to follow, then the ATC.
 *
 * Source: Linux 7.2 `arm_smmu_set_pasid()`.
 *
 * @throws KernelError EINVAL for a domain of another SMMU, or when the RID is on a domain that leaves no room for PASIDs
 */
export function* setPasid(
  context: DriverContext,
  domain: TrackedDomain,
  device: Device,
  pasid: Pasid,
  cd: Words,
  old: Domain | undefined,
): Op<void> {
  const master = context.masterOf(device);
  const ridDomain = context.ridDomainOf(device);
  if (domain.smmu !== master.smmu) {
    throw new KernelError("EINVAL", `the domain belongs to another SMMU than ${device.name}`);
  }
  if (ridDomain === undefined || (!master.cdTable.inSte && !isUntranslated(ridDomain))) {
    throw new KernelError("EINVAL", `the RID of ${device.name} leaves no room for PASIDs`);
  }
  if (!master.cdTable.allocated) {
    master.allocateCdTable();
  }
  if (pasid >= 2 ** master.cdTable.s1CdMax) {
    tellDecision(master, {
      rule: "smmuv3-pasid-beyond-table",
      input: `PASID ${pasid}, S1CDMax ${master.cdTable.s1CdMax}`,
      answer: "accepted",
      reason: beyondTable(master),
      source: "Linux 7.2 arm_smmu_set_pasid(), arm_smmu_get_cd_ptr(), dev_iommu_get_max_pasids()",
      basis: "derived",
    });
  }
  const place = yield* master.cdTable.obtain(pasid);
  yield context.asidLock.exclusive;
  try {
    const state = atsStateOf(master, ridDomain.type, pasidsWith(master, pasid));
    const ats = decideAts(master, context.policy, "pasid-set", state);
    const attach = yield* attachPrepare(master, pasid, domain, tracked(old), ats);
    yield* master.cdTable.write(pasid, place, cd);
    yield* updateSte(master, ridDomain, ats);
    yield* attachCommit(attach);
  } finally {
    context.asidLock.release();
  }
}

/**
 * Takes a PASID away. When it was the last one and the RID is on IDENTITY or BLOCKED, that is attached again, so that
 * the STE needs no context descriptors any more.
 *
 * Source: Linux 7.2 `arm_smmu_blocking_set_dev_pasid()`.
 */
export function* removePasid(context: DriverContext, device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
  const master = context.masterOf(device);
  yield context.asidLock.exclusive;
  try {
    const left = tracked(old);
    const atsWasEnabled = master.atsEnabled;
    yield* clearCd(master, pasid);
    if (master.atsEnabled) {
      yield* atcInvMaster(master, pasid, "pasid-remove:atc");
    }
    yield* leaveOldDomain({ master, ssid: pasid, old: left, atsEnabled: master.atsEnabled, atsWasEnabled });
  } finally {
    context.asidLock.release();
  }
  const ridDomain = context.ridDomainOf(device);
  if (master.ssidsInUse || ridDomain === undefined) {
    return;
  }
  const wanted = decideAts(master, context.policy, "pasid-remove", atsStateOf(master, ridDomain.type, 0));
  const downgrade = isUntranslated(ridDomain) ? !wanted : wanted !== master.atsEnabled;
  if (downgrade) {
    yield* ridDomain.attach(device, ridDomain);
  }
}
