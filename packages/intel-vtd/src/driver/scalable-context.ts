import type { Op } from "@iommu-lab/core";
import { pciForEachDmaAlias } from "@iommu-lab/pci";
import { KernelError } from "@iommu-lab/core";
import { decodeScalableContext, encodeScalableContext } from "../layout/scalable-context-entry.ts";
import type { DeviceInfo } from "./device-info.ts";
import { flushClearedContext, flushContextOfDevice, flushIotlbDomain, flushPasidsOfDomain } from "./invalidations.ts";

/** The requester IDs that are the function's own: bridges above it have context entries of their own. */
function ownIds(info: DeviceInfo): number[] {
  return pciForEachDmaAlias(info.dev)
    .filter(({ dev }) => dev === info.dev)
    .map(({ rid }) => rid);
}

/**
 * Writes the scalable context entry at probe: PASID directory, and what the function may do (DTE, PASIDE, PRE). PASID
 * entries are empty still, so nothing is reachable.
 *
 * Source: Linux 7.2 `intel_pasid_setup_sm_context()`, `context_entry_set_pasid_table()`; Linux 6.1
 * `domain_context_mapping_one()`, where it comes after the first PASID entry.
 *
 * @param domainId whose IOTLB entries a unit in caching mode may hold
 */
export function* setUpScalableContext(info: DeviceInfo, pageRequestEnable: boolean, domainId: number = 0): Op<void> {
  const { unit, pasidTable } = info;
  if (pasidTable === undefined) {
    return;
  }
  for (const rid of ownIds(info)) {
    yield unit.iommu.lock.exclusive;
    const place = yield* unit.contexts.obtain(rid);
    if (unit.tables.present(place)) {
      unit.iommu.lock.release();
      continue;
    }
    yield* unit.tables.install(
      place,
      encodeScalableContext({
        present: true,
        faultDisable: false,
        deviceTlbEnable: info.atsSupported,
        pasidEnable: info.pasidSupported,
        pageRequestEnable,
        translatedPasidEnable: false,
        directorySize: pasidTable.directorySize,
        pasidDirectory: pasidTable.directory,
        ridPasid: 0,
        ridPrivileged: false,
      }),
    );
    unit.iommu.lock.release();
    if (unit.iommu.caps.cm) {
      yield* flushContextOfDevice(unit, "sm-context-install:context", 0, rid);
      yield* flushIotlbDomain(unit, "sm-context-install:iotlb", domainId);
    }
  }
}

/**
 * Sets or clears PRE in the context entry. The caches are flushed as after a cleared entry.
 *
 * Source: Linux 6.12 `context_flip_pri()`.
 *
 * @throws KernelError ENODEV without a present entry
 */
export function* flipPageRequests(info: DeviceInfo, enable: boolean): Op<void> {
  const { unit } = info;
  yield unit.iommu.lock.exclusive;
  const place = unit.contexts.find(info.rid);
  if (place === undefined || !unit.tables.present(place)) {
    unit.iommu.lock.release();
    throw new KernelError("ENODEV", `the context entry of ${info.device.name} is not present`);
  }
  const entry = decodeScalableContext(unit.tables.read(place));
  yield* unit.tables.rewrite(place, encodeScalableContext({ ...entry, pageRequestEnable: enable }));
  yield* flushClearedContext(info, "flip-pri", 0, info.rid);
  unit.iommu.lock.release();
}

/**
 * Takes the scalable context entry away at release: present bit, context cache, device-TLB while ATS is on, the rest.
 *
 * Source: Linux 7.2 `intel_pasid_teardown_sm_context()`.
 */
export function* tearDownScalableContext(info: DeviceInfo): Op<void> {
  const { unit } = info;
  for (const rid of ownIds(info)) {
    const place = unit.contexts.find(rid);
    if (place === undefined) {
      continue;
    }
    yield unit.iommu.lock.exclusive;
    yield* unit.tables.clearPresent(place);
    unit.iommu.lock.release();
    yield* flushClearedContext(info, "sm-context-teardown", 0, rid);
    yield* unit.tables.zero(place);
  }
}

/**
 * Takes the scalable context entry away as 6.1 does: present bit, context cache, all PASIDs and IOTLB entries of the
 * domain, the rest.
 *
 * Source: Linux 6.1 `domain_context_clear_one()`.
 */
export function* clearScalableContext61(info: DeviceInfo, domainId: number): Op<void> {
  const { unit } = info;
  for (const { rid } of pciForEachDmaAlias(info.dev)) {
    const place = unit.contexts.find(rid);
    if (place === undefined) {
      continue;
    }
    yield unit.iommu.lock.exclusive;
    yield* unit.tables.clearPresent(place);
    unit.iommu.lock.release();
    yield* flushContextOfDevice(unit, "sm-context-clear-6.1:context", domainId, rid);
    yield* flushPasidsOfDomain(unit, "sm-context-clear-6.1:pasid", domainId);
    yield* flushIotlbDomain(unit, "sm-context-clear-6.1:iotlb", domainId);
    yield* unit.tables.zero(place);
  }
}
