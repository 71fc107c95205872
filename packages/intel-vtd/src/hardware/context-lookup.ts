import { bits32 } from "@iommu-lab/core";
import type { ContextEntry } from "../layout/context-entry.ts";
import { CONTEXT_ENTRY_BYTES, TT_DEVICE_TLB, TT_PASS_THROUGH, decodeContextEntry } from "../layout/context-entry.ts";
import { ROOT_ENTRY_BYTES } from "../layout/root-entry.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost } from "./walk.ts";

/**
 * Finds the legacy context entry of a requester: from the cache, else root entry, then context entry, each checked for
 * present, reserved bits and invalid programming in that order.
 *
 * Source: VT-d 5.10 §3.4.2, §9.1, §9.3.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpContext(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  rootTable: number,
  rid: number,
): ContextEntry | undefined {
  const cached = caches.context(rid);
  if (cached !== undefined) {
    trail.faultDisable = cached.faultDisable;
    return cached;
  }
  const table = contextTable(context, trail, rootTable, rid);
  if (table === undefined) {
    return undefined;
  }
  const { memory } = context;
  trail.line = table + (rid & 0xff) * CONTEXT_ENTRY_BYTES;
  if (!memory.load64(trail.line)) {
    return trail.fail(0x09);
  }
  const { lo, hi } = memory;
  memory.load64(trail.line + 8);
  const entry = decodeContextEntry([lo, hi, memory.lo, memory.hi]);
  trail.faultDisable = entry.faultDisable;
  if (!entry.present) {
    return trail.fail(0x02);
  }
  const pointerChecked = entry.translationType !== TT_PASS_THROUGH;
  const spare = bits32(lo, 11, 4) | (memory.lo & 0x80) | (memory.lo & 0xff000000) | memory.hi;
  const wideDomain = entry.domainId >= 2 ** context.caps.domainIdBits;
  if (spare !== 0 || wideDomain || (pointerChecked && pointerBeyondHost(hi, context.hostWidth))) {
    return trail.fail(0x0b);
  }
  if (!programmed(context, entry)) {
    return trail.fail(0x03);
  }
  caches.keepContext(rid, entry);
  return entry;
}

function contextTable(context: WalkContext, trail: Trail, rootTable: number, rid: number): number | undefined {
  const { memory } = context;
  trail.line = rootTable + (rid >>> 8) * ROOT_ENTRY_BYTES;
  if (!memory.load64(trail.line)) {
    return trail.fail(0x08);
  }
  const { lo, hi } = memory;
  if ((lo & 1) === 0) {
    return trail.fail(0x01);
  }
  memory.load64(trail.line + 8);
  if (bits32(lo, 11, 1) !== 0 || memory.lo !== 0 || memory.hi !== 0 || pointerBeyondHost(hi, context.hostWidth)) {
    return trail.fail(0x0a);
  }
  return hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

/** Whether translation type and width are ones that the unit has. Pass-through needs the largest width. */
function programmed({ caps }: WalkContext, entry: ContextEntry): boolean {
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

function supportedWidth(sagaw: number, addressWidth: number): boolean {
  return addressWidth >= 1 && addressWidth <= 3 && (sagaw & (1 << addressWidth)) !== 0;
}
