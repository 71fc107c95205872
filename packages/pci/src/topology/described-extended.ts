import { addAri } from "../config-space/capability-options.ts";
import type { ConfigBuilder } from "../config-space/config-builder.ts";
import {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "../config-space/extended-layouts.ts";
import type { DescribedFunction } from "../import/machine-description.ts";

const ACS_BITS: readonly string[] = [
  "SrcValid",
  "TransBlk",
  "ReqRedir",
  "CmpltRedir",
  "UpstreamFwd",
  "EgressCtrl",
  "DirectTrans",
];
const PRI_STATUS: readonly (readonly [string, number])[] = [
  ["RF", 0x0001],
  ["UPRGI", 0x0002],
  ["Stopped", 0x0100],
  ["PASID", 0x8000],
];
/** Writes the extended capabilities that the text tells of. */
export function setExtended(to: ConfigBuilder, one: DescribedFunction): void {
  setAts(to, one);
  setPasid(to, one);
  setPri(to, one);
  if (one.acs !== undefined) {
    const at = to.extended(EXT_CAP_ID_ACS, 1, 16);
    to.set16(at + 4, bits(...ACS_BITS.map((name) => one.acs?.capability.includes(name))));
    to.set16(at + 6, bits(...ACS_BITS.map((name) => one.acs?.control.includes(name))));
  }
  if (one.ari !== undefined) {
    addAri(to, (one.ari.nextFunction ?? 0) & 0xff);
  }
  setSriov(to, one);
}

function setAts(to: ConfigBuilder, { ats }: DescribedFunction): void {
  if (ats === undefined) {
    return;
  }
  const at = to.extended(EXT_CAP_ID_ATS, 1, 8);
  const { invalidateQueueDepth = 0, pageAlignedRequest = true, globalInvalidate, relaxedOrdering } = ats;
  to.set16(at + 4, (invalidateQueueDepth & 0x1f) | (bits(pageAlignedRequest, globalInvalidate, relaxedOrdering) << 5));
  to.set16(at + 6, ((ats.smallestTranslationUnit ?? 0) & 0x1f) | (ats.enable === true ? 0x8000 : 0));
}

function setPasid(to: ConfigBuilder, { pasid }: DescribedFunction): void {
  if (pasid === undefined) {
    return;
  }
  const at = to.extended(EXT_CAP_ID_PASID, 1, 8);
  const { execSupported, privSupported, maxPasidWidth = 0, enable, execEnable, privEnable } = pasid;
  to.set16(at + 4, bits(false, execSupported, privSupported) | ((maxPasidWidth & 0x1f) << 8));
  to.set16(at + 6, bits(enable, execEnable, privEnable));
}

function setPri(to: ConfigBuilder, { pri }: DescribedFunction): void {
  if (pri === undefined) {
    return;
  }
  const at = to.extended(EXT_CAP_ID_PRI, 1, 16);
  const status = PRI_STATUS.filter(([name]) => pri.status?.includes(name) ?? false).map(([, bit]) => bit);
  to.set16(at + 4, pri.enable === true ? 1 : 0);
  to.set16(
    at + 6,
    status.reduce((word, bit) => word | bit, 0),
  );
  to.set32(at + 8, pri.outstandingCapacity ?? 0);
  to.set32(at + 12, pri.outstandingAllocation ?? 0);
}

function setSriov(to: ConfigBuilder, { sriov }: DescribedFunction): void {
  if (sriov === undefined) {
    return;
  }
  const at = to.extended(EXT_CAP_ID_SRIOV, 1, 0x40);
  to.set16(at + 8, sriov.enable === true ? 9 : 0);
  to.set16(at + 0x0c, sriov.initialVFs ?? sriov.totalVFs ?? 0);
  to.set16(at + 0x0e, sriov.totalVFs ?? 0);
  to.set16(at + 0x10, sriov.numVFs ?? 0);
  to.set16(at + 0x14, sriov.vfOffset ?? 0);
  to.set16(at + 0x16, sriov.vfStride ?? 0);
  to.set16(at + 0x1a, hexDigits(sriov.vfDeviceId) ?? 0);
  to.set32(at + 0x1c, 0x553);
  to.set32(at + 0x20, 1);
}

function bits(...set: readonly (boolean | undefined)[]): number {
  return set.reduce((word, one, index) => word | (one === true ? 1 << index : 0), 0);
}

/** The number that hexadecimal digits stand for; undefined when there are none. */
export function hexDigits(digits: string | undefined): number | undefined {
  return digits !== undefined && /^[\da-f]{1,6}$/i.test(digits) ? Number.parseInt(digits, 16) : undefined;
}
