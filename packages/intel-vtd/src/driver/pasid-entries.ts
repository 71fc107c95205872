import type { Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PasidEntry } from "../layout/pasid-entry.ts";
import {
  EMPTY_PASID_ENTRY,
  PGTT_FIRST_STAGE,
  PGTT_PASS_THROUGH,
  PGTT_SECOND_STAGE,
  decodePasidEntry,
  encodePasidEntry,
} from "../layout/pasid-entry.ts";
import type { DeviceInfo } from "./device-info.ts";
import { FLPT_DEFAULT_DID } from "./domain-ids.ts";
import {
  drainPageRequests,
  flushDeviceTlb,
  flushIotlbDomain,
  flushPasidCache,
  flushPasidIotlb,
} from "./invalidations.ts";
import type { PasidTable } from "./pasid-table.ts";

/**
 * Takes the entry of a PASID away: present bit, PASID cache, IOTLB, device-TLB, each waited for; then the rest of the
 * entry, then page requests. Does nothing where nothing is present.
 *
 * Source: Linux 7.2 `intel_pasid_tear_down_entry()`.
 *
 * @param pasid 0 = requests without PASID
 * @param deviceTlb whether the device-TLB is flushed while ATS is on; 6.1 does not in caching mode
 */
export function* tearDownPasidEntry(info: DeviceInfo, pasid: number, deviceTlb: boolean = true): Op<void> {
  const { unit } = info;
  const { lock } = unit.iommu;
  const place = yield* tableOf(info).entry(pasid);
  yield lock.exclusive;
  if (!unit.tables.present(place)) {
    lock.release();
    return;
  }
  const { domainId, translationType } = decodePasidEntry(unit.tables.read(place));
  yield* unit.tables.clearPresent(place);
  lock.release();
  yield* flushPasidCache(unit, "pasid-teardown:pasid", domainId, pasid);
  if (translationType === PGTT_PASS_THROUGH || translationType === PGTT_FIRST_STAGE) {
    yield* flushPasidIotlb(unit, "pasid-teardown:iotlb", domainId, pasid);
  } else {
    yield* flushIotlbDomain(unit, "pasid-teardown:iotlb", domainId);
  }
  if (deviceTlb) {
    yield* flushDeviceTlb(info, "pasid-teardown:devtlb", pasid);
  }
  yield* unit.tables.zero(place);
  yield* drainPageRequests(info, pasid);
}

/** A first-stage table for a PASID entry. */
export interface FirstStage {
  readonly table: number;
  readonly domainId: number;
  /** Page walks are snooped. */
  readonly coherent: boolean;
}

/**
 * Writes a first-stage entry.
 *
 * Source: Linux 7.2 `intel_pasid_setup_first_level()`, `pasid_pte_config_first_level()`.
 *
 * @throws KernelError EINVAL without first stage, EBUSY where something is present
 */
export function* setUpFirstStage(info: DeviceInfo, pasid: number, stage: FirstStage): Op<void> {
  if (!info.unit.iommu.caps.fsts) {
    throw new KernelError("EINVAL", `${info.unit.iommu.name} has no first-stage translation`);
  }
  yield* install(info, pasid, {
    ...EMPTY_PASID_ENTRY,
    present: true,
    addressWidth: info.unit.iommu.agaw,
    translationType: PGTT_FIRST_STAGE,
    firstStageTable: stage.table,
    domainId: stage.domainId,
    pageWalkSnoop: stage.coherent,
  });
}

/** A second-stage table for a PASID entry. */
export interface SecondStage {
  readonly table: number;
  readonly domainId: number;
  readonly addressWidth: number;
  /** Page walks are snooped. */
  readonly coherent: boolean;
}

/**
 * Writes a second-stage entry.
 *
 * Source: Linux 7.2 `intel_pasid_setup_second_level()`, `pasid_pte_config_second_level()`.
 *
 * @throws KernelError EINVAL without second stage, EBUSY where something is present
 */
export function* setUpSecondStage(info: DeviceInfo, pasid: number, stage: SecondStage): Op<void> {
  if (!info.unit.iommu.caps.ssts) {
    throw new KernelError("EINVAL", `${info.unit.iommu.name} has no second-stage translation in scalable mode`);
  }
  yield* install(info, pasid, {
    ...EMPTY_PASID_ENTRY,
    present: true,
    addressWidth: stage.addressWidth,
    translationType: PGTT_SECOND_STAGE,
    secondStageTable: stage.table,
    domainId: stage.domainId,
    pageWalkSnoop: stage.coherent,
  });
}

/**
 * Writes a pass-through entry.
 *
 * Source: Linux 7.2 `intel_pasid_setup_pass_through()`, `pasid_pte_config_pass_through()`.
 *
 * @param supervisorEnable SRE, which 6.1 sets where the unit has it
 * @throws KernelError EBUSY where something is present
 */
export function* setUpPassThrough(info: DeviceInfo, pasid: number, supervisorEnable: boolean = false): Op<void> {
  const { caps, agaw } = info.unit.iommu;
  yield* install(info, pasid, {
    ...EMPTY_PASID_ENTRY,
    present: true,
    addressWidth: agaw,
    translationType: PGTT_PASS_THROUGH,
    domainId: FLPT_DEFAULT_DID,
    pageWalkSnoop: caps.smpwcs,
    supervisorEnable,
  });
}

function* install(info: DeviceInfo, pasid: number, entry: PasidEntry): Op<void> {
  const { unit } = info;
  const { lock, caps } = unit.iommu;
  const place = yield* tableOf(info).entry(pasid);
  yield lock.exclusive;
  if (unit.tables.present(place)) {
    lock.release();
    throw new KernelError("EBUSY", `the PASID entry ${pasid} of ${info.device.name} is in use`);
  }
  yield* unit.tables.install(place, encodePasidEntry(entry));
  lock.release();
  if (caps.cm) {
    yield* flushPasidCache(unit, "pasid-install:pasid", entry.domainId, pasid);
    yield* flushPasidIotlb(unit, "pasid-install:iotlb", entry.domainId, pasid);
  } else {
    yield* unit.iommu.flushWriteBuffer();
  }
}

function tableOf(info: DeviceInfo): PasidTable {
  if (info.pasidTable === undefined) {
    throw new KernelError("ENODEV", `${info.device.name} has no PASID table`);
  }
  return info.pasidTable;
}
