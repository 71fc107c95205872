import { NO_PASID } from "@iommu-lab/pci";
import type { Capabilities } from "../layout/capabilities.ts";
import { ROOT_ENTRY_BYTES } from "../layout/root-entry.ts";
import { SCALABLE_CONTEXT_BYTES } from "../layout/scalable-context-entry.ts";
import type { HeldScalableContext } from "./held-context.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost, pointerOf } from "./walk.ts";

/**
 * Checks a PASID against unit and context entry.
 *
 * @param pasid NO_PASID for a request without
 * @returns the fault code, 0 = none
 */
export function pasidFault(caps: Capabilities, entry: HeldScalableContext, pasid: number): number {
  if (pasid === NO_PASID) {
    return 0;
  }
  if (!entry.pasidEnable) {
    return 0x45;
  }
  if (pasid >>> caps.pasidBits !== 0) {
    return 0x89;
  }
  if (pasid >= entry.directoryEnd) {
    return 0x46;
  }
  return pasid === entry.ridPasid ? 0x48 : 0;
}

/**
 * Finds the scalable context entry of a requester: from the cache, else half of a root entry, then context entry, each
 * checked for present, reserved bits and invalid programming in that order.
 *
 * Source: VT-d 5.10 §3.4.3, §6.2.2, §9.2, §9.4.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpScalableContext(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  rid: number,
): HeldScalableContext | undefined {
  let held = caches.scalableContexts.find(rid);
  if (held === undefined) {
    held = caches.scalableContexts.blank();
    held.faultDisable = false;
    held.fault = readContext(context, trail, rid, held);
    // An entry that makes faults may be kept in caching mode alone.
    if (held.fault === 0 || (context.caps.cm && held.fault !== 0x38 && held.fault !== 0x40)) {
      caches.scalableContexts.keep(held, rid);
    }
  }
  trail.faultDisable = held.faultDisable;
  return held.fault === 0 ? held : trail.fail(held.fault);
}

function readContext(context: WalkContext, trail: Trail, rid: number, into: HeldScalableContext): number {
  const { memory, caps, hostWidth, root } = context;
  trail.line = root.table + (rid >>> 8) * ROOT_ENTRY_BYTES + ((rid & 0x80) === 0 ? 0 : 8);
  if (!memory.load64(trail.line)) {
    return 0x38;
  }
  if ((memory.lo & 1) === 0) {
    return 0x39;
  }
  if ((memory.lo & 0xffe) !== 0 || pointerBeyondHost(memory.hi, hostWidth)) {
    return 0x3a;
  }
  trail.line = pointerOf(memory.lo, memory.hi) + (rid & 0x7f) * SCALABLE_CONTEXT_BYTES;
  if (!memory.load64(trail.line)) {
    return 0x40;
  }
  const { lo, hi } = memory;
  into.faultDisable = (lo & 2) !== 0;
  if ((lo & 1) === 0) {
    return 0x41;
  }
  memory.load64(trail.line + 8);
  const rid0 = memory.lo;
  const spareRid = (rid0 & (caps.rprivs ? 0xffe00000 : 0xfff00000)) | memory.hi;
  memory.load64(trail.line + 16);
  const spareThird = memory.lo | memory.hi;
  memory.load64(trail.line + 24);
  const spare = (lo & 0x1ff & ~featureBits(caps)) | spareRid | spareThird | memory.lo | memory.hi;
  if (spare !== 0 || pointerBeyondHost(hi, hostWidth)) {
    return 0x42;
  }
  into.deviceTlbEnable = (lo & 4) !== 0;
  into.pasidEnable = (lo & 8) !== 0;
  into.pageRequestEnable = (lo & 0x10) !== 0;
  into.permissionTableEnable = (lo & 0x20) !== 0;
  into.translatedPasidEnable = (lo & 0x40) !== 0;
  into.directorySize = (lo >>> 9) & 7;
  into.directory = pointerOf(lo, hi);
  // A unit without RPS takes RID_PASID as 0 whatever it holds, as an emulated unit does.
  into.ridPasid = caps.rps ? rid0 & 0xfffff : 0;
  into.ridPrivileged = (rid0 & 0x100000) !== 0;
  return programmed(into) ? 0 : 0x43;
}

/** Which of bits 8:0 mean something on this unit. */
function featureBits(caps: Capabilities): number {
  return (
    0b11 |
    (caps.dt ? 4 : 0) |
    (caps.pasid ? 8 : 0) |
    (caps.prs ? 0x10 : 0) |
    (caps.hpts ? 0x20 : 0) |
    (caps.ptrs ? 0x40 : 0)
  );
}

function programmed(entry: HeldScalableContext): boolean {
  return (
    (!entry.pageRequestEnable || entry.deviceTlbEnable) &&
    entry.ridPasid < entry.directoryEnd &&
    (!entry.translatedPasidEnable || entry.pasidEnable)
  );
}
