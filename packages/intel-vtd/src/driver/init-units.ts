import type { Op } from "@iommu-lab/core";
import {
  FEADDR,
  FECTL,
  FEDATA,
  FEUADDR,
  GLOBAL_QIE,
  GLOBAL_TE,
  GSTS,
  PECTL,
  PQA,
  PQH,
  PQT,
} from "../layout/registers.ts";
import { FAULT_VECTOR, MESSAGE_ADDRESS, PAGE_REQUEST_VECTOR, clearFaults } from "./fault-interrupt.ts";
import { flushContextsGlobal, flushIotlbGlobal, flushPasidsGlobal } from "./invalidations.ts";
import type { ServedUnit } from "./served-unit.ts";

/** `PRQ_ORDER`: the page request queue is 2^4 pages. */
const PRQ_ORDER = 4;

/**
 * Brings the units up to the point at which devices can be probed: queued invalidation, root tables, interrupts.
 * Translation stays off.
 *
 * Source: Linux 7.2 `init_dmars()`.
 */
export function* initUnits(units: readonly ServedUnit[]): Op<void> {
  for (const unit of units) {
    clearFaults(unit.iommu);
    if ((unit.iommu.read32(GSTS) & GLOBAL_QIE) !== 0) {
      yield* unit.iommu.switch(GLOBAL_QIE, false);
    }
    yield* unit.queue.enable();
    if ((unit.iommu.read32(GSTS) & GLOBAL_TE) !== 0) {
      yield* unit.iommu.switch(GLOBAL_TE, false);
    }
    unit.contexts.allocateRoot();
    unit.iommu.svmCapable = svmCapable(unit);
  }
  for (const unit of units) {
    yield* unit.iommu.flushWriteBuffer();
    yield* setRootEntry(unit);
  }
  for (const unit of units) {
    yield* unit.iommu.flushWriteBuffer();
    if (unit.iommu.caps.prs) {
      yield* enablePageRequests(unit);
    }
    yield* enableEvent(unit, FECTL, FAULT_VECTOR);
  }
}

/** Switches translation on and protected memory off: the last act of `intel_iommu_init()`. */
export function* enableTranslation(units: readonly ServedUnit[]): Op<void> {
  for (const { iommu } of units) {
    yield* iommu.switch(GLOBAL_TE, true);
    yield* iommu.disableProtectedMemory();
  }
}

/** The root table counts; caches are emptied where the hardware does not do it. Source: `iommu_set_root_entry()`. */
function* setRootEntry(unit: ServedUnit): Op<void> {
  yield* unit.iommu.setRootEntry();
  if (unit.iommu.caps.esrtps) {
    return;
  }
  yield* flushContextsGlobal(unit);
  if (unit.iommu.scalable) {
    yield* flushPasidsGlobal(unit);
  }
  yield* flushIotlbGlobal(unit);
}

/** Source: Linux 7.2 `intel_iommu_enable_prq()`. */
function* enablePageRequests({ iommu }: ServedUnit): Op<void> {
  const queue = iommu.memory.allocate(4096 * 2 ** PRQ_ORDER, 4096, iommu.name, "page request queue");
  yield* enableEvent({ iommu }, PECTL, PAGE_REQUEST_VECTOR);
  yield* iommu.write64(PQH, 0, 0);
  yield* iommu.write64(PQT, 0, 0);
  yield* iommu.write64(PQA, (queue + PRQ_ORDER) >>> 0, Math.floor(queue / 2 ** 32));
}

/** Message of an event, then its mask off. Source: Linux 7.2 `dmar_msi_write()`, `dmar_msi_unmask()`. */
function* enableEvent({ iommu }: Pick<ServedUnit, "iommu">, control: number, vector: number): Op<void> {
  const at = (register: number): number => control + (register - FECTL);
  yield* iommu.write32(at(FEDATA), vector);
  yield* iommu.write32(at(FEADDR), MESSAGE_ADDRESS);
  yield* iommu.write32(at(FEUADDR), 0);
  yield* iommu.write32(control, 0);
}

/** Source: Linux 7.2 `intel_svm_check()`, on CPUs with 1 GiB pages and 4-level paging. */
function svmCapable({ iommu }: ServedUnit): boolean {
  return iommu.pasidSupported && iommu.caps.smpwcs && iommu.caps.fs1gp;
}
