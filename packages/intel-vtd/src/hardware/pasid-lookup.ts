import type { Capabilities } from "../layout/capabilities.ts";
import { inputWidth, tableLevels } from "../layout/capabilities.ts";
import {
  PGTT_FIRST_STAGE,
  PGTT_NESTED,
  PGTT_PASS_THROUGH,
  PGTT_SECOND_STAGE,
  pasidDirectoryOffset,
  pasidEntryOffset,
} from "../layout/pasid-entry.ts";
import { supportedWidth } from "./context-lookup.ts";
import type { HeldScalableContext } from "./held-context.ts";
import type { HeldPasid } from "./held-pasid.ts";
import { power } from "./page-shift.ts";
import type { Trail } from "./trail.ts";
import type { TranslationCaches } from "./translation-caches.ts";
import type { WalkContext } from "./walk.ts";
import { pointerBeyondHost, pointerOf } from "./walk.ts";

/**
 * Finds the PASID entry of a requester: from the cache, else directory entry, then table entry, each checked for present,
 * reserved bits and invalid programming in that order. FPD counts at each level, also in an entry that is not present.
 *
 * Source: VT-d 5.10 §3.4.3, §6.2.3, §9.5, §9.6.
 *
 * @returns undefined when there is none; the fault is in `trail`
 */
export function lookUpPasid(
  context: WalkContext,
  caches: TranslationCaches,
  trail: Trail,
  owner: HeldScalableContext,
  rid: number,
  pasid: number,
): HeldPasid | undefined {
  let held = caches.pasids.find(rid, pasid);
  if (held === undefined) {
    held = caches.pasids.blank();
    held.faultDisable = false;
    held.domainId = 0;
    held.fault = readPasid(context, trail, owner, pasid, held);
    // An entry that makes faults may be kept in caching mode alone, and then under no domain ID of its own.
    if (held.fault === 0) {
      caches.pasids.keep(held, rid, pasid);
    } else if (context.caps.cm && held.fault !== 0x50 && held.fault !== 0x58) {
      held.domainId = 0;
      caches.pasids.keep(held, rid, pasid);
    }
  }
  trail.faultDisable ||= held.faultDisable;
  return held.fault === 0 ? held : trail.fail(held.fault);
}

function readPasid(
  context: WalkContext,
  trail: Trail,
  owner: HeldScalableContext,
  pasid: number,
  into: HeldPasid,
): number {
  const { memory, hostWidth, caps } = context;
  trail.line = owner.directory + pasidDirectoryOffset(pasid);
  if (!memory.load64(trail.line)) {
    return 0x50;
  }
  into.faultDisable = (memory.lo & 2) !== 0;
  if ((memory.lo & 1) === 0) {
    return 0x51;
  }
  if ((memory.lo & 0xffc) !== 0 || pointerBeyondHost(memory.hi, hostWidth)) {
    return 0x52;
  }
  trail.line = pointerOf(memory.lo, memory.hi) + pasidEntryOffset(pasid);
  if (!memory.load64(trail.line)) {
    return 0x58;
  }
  const { lo } = memory;
  into.faultDisable ||= (lo & 2) !== 0;
  if ((lo & 1) === 0) {
    return 0x59;
  }
  into.translationType = (lo >>> 6) & 7;
  into.nested = into.translationType === PGTT_NESTED;
  const reserved =
    readSecondStage(context, memory.hi, lo, into) ||
    readDomain(context, trail.line, into) ||
    readFirstStage(context, trail.line, into) ||
    readPermissions(context, trail.line, owner, into);
  if (reserved) {
    return 0x5a;
  }
  return programmed(caps, into, (lo >>> 2) & 7) ? 0 : 0x5b;
}

/**
 * First qword. The fields of a stage that the entry does not use are not looked at: Linux writes the width of the second
 * stage into every entry, also on units without one.
 */
function readSecondStage({ caps, hostWidth }: WalkContext, hi: number, lo: number, into: HeldPasid): boolean {
  const usesIt = into.nested || into.translationType === PGTT_SECOND_STAGE;
  const addressWidth = (lo >>> 2) & 7;
  into.accessDirty = usesIt && (lo & 0x200) !== 0;
  into.secondStageTable = pointerOf(lo, hi);
  into.secondStageLevels = tableLevels(addressWidth);
  into.endPage = power(Math.min(caps.mgaw, inputWidth(addressWidth)) - 12);
  return (lo & (caps.ssads ? 0xc20 : 0xe20)) !== 0 || (usesIt && pointerBeyondHost(hi, hostWidth));
}

/** Second qword. */
function readDomain({ memory, caps }: WalkContext, line: number, into: HeldPasid): boolean {
  memory.load64(line + 8);
  const { lo, hi } = memory;
  into.domainId = lo & 0xffff;
  into.walkSnooped = (lo & (1 << 23)) !== 0;
  into.pageSnoop = (lo & (1 << 24)) !== 0;
  const spare =
    (lo & 0xf87f0000) |
    (caps.smpwcs ? 0 : lo & (1 << 23)) |
    (caps.sc ? 0 : lo & (1 << 24)) |
    (caps.mts ? 0 : (lo & 0x06000000) | hi);
  return spare !== 0;
}

/** Third and fourth qword. */
function readFirstStage({ memory, caps, hostWidth }: WalkContext, line: number, into: HeldPasid): boolean {
  memory.load64(line + 16);
  const { lo, hi } = memory;
  const mode = (lo >>> 2) & 3;
  into.supervisorEnable = (lo & 1) !== 0;
  into.firstStageLevels = mode === 0 ? 4 : mode === 1 ? 5 : 0;
  into.writeProtect = (lo & 0x10) !== 0;
  into.extendedAccess = (lo & 0x80) !== 0;
  into.firstStageTable = pointerOf(lo, hi);
  const spare = (lo & 0xf02) | (caps.srs ? 0 : lo & 1) | (caps.eafs ? 0 : lo & 0x80);
  memory.load64(line + 24);
  const beyond = into.translationType === PGTT_FIRST_STAGE && pointerBeyondHost(hi, hostWidth);
  return spare !== 0 || (memory.lo | memory.hi) !== 0 || beyond;
}

/** The other four: the host permission table, ignored while HPTE=0, reserved on units without. */
function readPermissions(
  { memory, caps }: WalkContext,
  line: number,
  owner: HeldScalableContext,
  into: HeldPasid,
): boolean {
  let spare = 0;
  memory.load64(line + 32);
  into.permissionTable = pointerOf(memory.lo, memory.hi);
  into.permissionTableSize = memory.lo & 3;
  into.permissionFaultDisable = (memory.lo & 4) !== 0;
  if (!caps.hpts) {
    spare |= memory.lo | memory.hi;
  } else if (owner.permissionTableEnable) {
    spare |= memory.lo & 0xff8;
  }
  memory.load64(line + 40);
  into.permissionDomainId = memory.lo & 0xffff;
  if (!caps.hpts) {
    spare |= memory.lo | memory.hi;
  } else if (owner.permissionTableEnable) {
    spare |= (memory.lo & 0xffff0000) | memory.hi;
  }
  memory.load64(line + 48);
  spare |= memory.lo | memory.hi;
  memory.load64(line + 56);
  spare |= memory.lo | memory.hi;
  return spare !== 0;
}

/** Whether the translation type is one the unit has, with widths it has. */
function programmed(caps: Capabilities, entry: HeldPasid, addressWidth: number): boolean {
  const first = caps.fsts && (entry.firstStageLevels === 4 || (entry.firstStageLevels === 5 && caps.fs5lp));
  const second = caps.ssts && supportedWidth(caps.sagaw, addressWidth);
  switch (entry.translationType) {
    case PGTT_FIRST_STAGE:
      return first;
    case PGTT_SECOND_STAGE:
      return second;
    case PGTT_NESTED:
      return caps.nest && first && second && entry.firstStageTable * 2 ** -12 < entry.endPage;
    case PGTT_PASS_THROUGH:
      return caps.pt;
    default:
      return false;
  }
}
