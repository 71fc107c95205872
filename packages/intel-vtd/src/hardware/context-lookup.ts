import { inputWidth, tableLevels } from "../layout/capabilities.ts";
import { CONTEXT_ENTRY_BYTES, TT_DEVICE_TLB, TT_PASS_THROUGH } from "../layout/context-entry.ts";
import { ROOT_ENTRY_BYTES } from "../layout/root-entry.ts";
import type { HeldContext } from "./held-context.ts";
import { power } from "./page-shift.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost, pointerOf } from "./walk.ts";

/**
 * Finds the legacy context entry of a requester: from the cache, else root entry, then context entry, each checked for
 * present, reserved bits and invalid programming in that order.
 *
 * Source: VT-d 5.10 §3.4.2, §6.2.2, §9.1, §9.3.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpContext(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  rid: number,
): HeldContext | undefined {
  let held = caches.contexts.find(rid);
  if (held === undefined) {
    held = caches.contexts.blank();
    held.faultDisable = false;
    held.domainId = 0;
    held.fault = readContext(context, trail, rid, held);
    // An entry that makes faults may be kept in caching mode alone, and then under domain ID 0.
    if (held.fault === 0) {
      caches.contexts.keep(held, rid);
    } else if (context.caps.cm && !unreadable(held.fault)) {
      held.domainId = 0;
      caches.contexts.keep(held, rid);
    }
  }
  trail.faultDisable = held.faultDisable;
  return held.fault === 0 ? held : trail.fail(held.fault);
}

/** A table outside memory: nothing was read that could be kept. */
function unreadable(fault: number): boolean {
  return fault === 0x08 || fault === 0x09;
}

function readContext(context: WalkContext, trail: Trail, rid: number, into: HeldContext): number {
  const { memory, hostWidth, caps, root } = context;
  trail.line = root.table + (rid >>> 8) * ROOT_ENTRY_BYTES;
  if (!memory.load64(trail.line)) {
    return 0x08;
  }
  const rootLo = memory.lo;
  const rootHi = memory.hi;
  if ((rootLo & 1) === 0) {
    return 0x01;
  }
  memory.load64(trail.line + 8);
  if ((rootLo & 0xffe) !== 0 || memory.lo !== 0 || memory.hi !== 0 || pointerBeyondHost(rootHi, hostWidth)) {
    return 0x0a;
  }
  trail.line = pointerOf(rootLo, rootHi) + (rid & 0xff) * CONTEXT_ENTRY_BYTES;
  if (!memory.load64(trail.line)) {
    return 0x09;
  }
  const { lo, hi } = memory;
  into.faultDisable = (lo & 2) !== 0;
  if ((lo & 1) === 0) {
    return 0x02;
  }
  memory.load64(trail.line + 8);
  const high = memory.lo;
  into.translationType = (lo >>> 2) & 3;
  into.addressWidth = high & 7;
  into.domainId = (high >>> 8) & 0xffff;
  const pointerChecked = into.translationType !== TT_PASS_THROUGH;
  const spare = (lo & 0xff0) | (high & 0xff000080) | memory.hi;
  const wideDomain = into.domainId >>> caps.domainIdBits !== 0;
  if (spare !== 0 || wideDomain || (pointerChecked && pointerBeyondHost(hi, hostWidth))) {
    return 0x0b;
  }
  into.secondStageTable = pointerOf(lo, hi);
  into.secondStageLevels = tableLevels(into.addressWidth);
  into.endPage = power(Math.min(caps.mgaw, inputWidth(into.addressWidth)) - 12);
  return programmed(context, into) ? 0 : 0x03;
}

/** Whether translation type and width are ones that the unit has. Pass-through needs the largest width. */
function programmed({ caps }: WalkContext, entry: HeldContext): boolean {
  switch (entry.translationType) {
    case TT_PASS_THROUGH:
      return caps.pt && entry.addressWidth === 31 - Math.clz32(caps.sagaw);
    case 3:
      return false;
    case TT_DEVICE_TLB:
      return caps.dt && supportedWidth(caps.sagaw, entry.addressWidth);
    default:
      return supportedWidth(caps.sagaw, entry.addressWidth);
  }
}

/** Whether the unit has second-stage tables of this AW code. */
export function supportedWidth(sagaw: number, addressWidth: number): boolean {
  return addressWidth >= 1 && addressWidth <= 3 && (sagaw & (1 << addressWidth)) !== 0;
}
