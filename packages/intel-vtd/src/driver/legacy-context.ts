import type { Op } from "@iommu-lab/core";
import { pciForEachDmaAlias } from "@iommu-lab/pci";
import type { ContextEntry } from "../layout/context-entry.ts";
import {
  TT_DEVICE_TLB,
  TT_PASS_THROUGH,
  TT_UNTRANSLATED_ONLY,
  decodeContextEntry,
  encodeContextEntry,
} from "../layout/context-entry.ts";
import type { DeviceInfo } from "./device-info.ts";
import { FLPT_DEFAULT_DID } from "./domain-ids.ts";
import { flushClearedContext, flushContextOfDevice, flushIotlbDomain } from "./invalidations.ts";
import type { PagingDomain } from "./paging-domain.ts";
import type { ServedUnit } from "./served-unit.ts";

/**
 * Points the context entry of each requester ID of a function at a paging domain. An ID that belongs to a device of the
 * domain gets the translation type that device may have; IDs of bridges admit Untranslated requests alone.
 *
 * Source: Linux 7.2 `domain_context_mapping()`, `domain_context_mapping_one()`.
 */
export function* mapContext(info: DeviceInfo, domain: PagingDomain): Op<void> {
  const { unit } = info;
  for (const { rid } of pciForEachDmaAlias(info.dev)) {
    const owner = domain.deviceAt(unit, rid);
    yield* installOne(unit, rid, {
      translationType: owner?.atsSupported === true ? TT_DEVICE_TLB : TT_UNTRANSLATED_ONLY,
      pageTable: domain.root,
      addressWidth: domain.addressWidth,
      domainId: domain.domainId(unit),
    });
  }
}

/**
 * Lets each requester ID of a function pass.
 *
 * Source: Linux 7.2 `device_setup_pass_through()`, `context_setup_pass_through()`.
 *
 * @param domainId in 6.1 the identity domain has an ID of its own
 */
export function* passThroughContext(info: DeviceInfo, domainId: number = FLPT_DEFAULT_DID): Op<void> {
  for (const { rid } of pciForEachDmaAlias(info.dev)) {
    yield* installOne(info.unit, rid, {
      translationType: TT_PASS_THROUGH,
      pageTable: 0,
      addressWidth: info.unit.iommu.msagaw,
      domainId,
    });
  }
}

/**
 * Clears the context entry of each requester ID of a function: present bit, context cache, IOTLB, device-TLB, the rest.
 * There is no count of users: other functions that share an ID are cut off too.
 *
 * Source: Linux 7.2 `domain_context_clear()`, `domain_context_clear_one()`.
 */
export function* clearContext(info: DeviceInfo): Op<void> {
  const { unit } = info;
  for (const { rid } of pciForEachDmaAlias(info.dev)) {
    const place = unit.contexts.find(rid);
    if (place === undefined) {
      continue;
    }
    yield unit.iommu.lock.exclusive;
    const { domainId } = decodeContextEntry(unit.tables.read(place));
    yield* unit.tables.clearPresent(place);
    unit.iommu.lock.release();
    yield* flushClearedContext(info, "context-clear", domainId, rid);
    yield* unit.tables.zero(place);
  }
}

/** An entry that is present already is left as it is. */
function* installOne(unit: ServedUnit, rid: number, fields: Omit<ContextEntry, "present" | "faultDisable">): Op<void> {
  const { lock, caps } = unit.iommu;
  yield lock.exclusive;
  const place = yield* unit.contexts.obtain(rid);
  if (!unit.tables.present(place)) {
    yield* unit.tables.install(place, encodeContextEntry({ ...fields, present: true, faultDisable: false }));
    if (caps.cm) {
      yield* flushContextOfDevice(unit, "context-install:context", 0, rid);
      yield* flushIotlbDomain(unit, "context-install:iotlb", fields.domainId);
    } else {
      yield* unit.iommu.flushWriteBuffer();
    }
  }
  lock.release();
}
