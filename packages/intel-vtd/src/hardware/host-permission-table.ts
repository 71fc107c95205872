import { NO_PASID } from "@iommu-lab/pci";
import type { HeldScalableContext } from "./held-context.ts";
import type { HeldPasid } from "./held-pasid.ts";
import { power, shiftRight } from "./page-shift.ts";
import { lookUpPasid } from "./pasid-lookup.ts";
import type { JudgeContext, Request } from "./request.ts";
import { pointerBeyondHost, pointerOf } from "./walk.ts";

const READ = 1;
const WRITE = 2;
const NO_WRITE = 0xa4;
const NO_READ = 0xa5;

/** Levels from the top: lowest page bit of the index, lowest page bit of the permission field, permission fields. */
const LEVELS = [
  { index: 29, field: 0, fields: 0 },
  { index: 21, field: 18, fields: 8 },
  { index: 13, field: 9, fields: 16 },
  { index: 5, field: 0, fields: 32 },
] as const;

/**
 * Judges a Translated request by the host permission table of its PASID entry.
 *
 * Source: VT-d 5.10 §3.4.3, §9 (host permission table).
 *
 * @returns the fault code, 0 = permitted
 */
export function judgeHostPermission(context: JudgeContext, owner: HeldScalableContext, request: Request): number {
  const { caches, trail } = context;
  const needed = request.write ? WRITE : READ;
  const known = caches.permissions.find(request.rid, request.pasid, request.page);
  if ((known & needed) !== 0) {
    return 0;
  }
  const pasid = request.pasid === NO_PASID ? owner.ridPasid : request.pasid;
  const entry = lookUpPasid(context, caches, trail, owner, request.rid, pasid);
  if (entry === undefined) {
    return trail.fault;
  }
  if (request.page >= power(37 + entry.permissionTableSize)) {
    return 0x60;
  }
  trail.faultDisable ||= entry.permissionFaultDisable;
  const rights = walk(context, entry, request.page, needed);
  if (rights < 0) {
    return -rights;
  }
  caches.permissions.keep(request.rid, request.pasid, request.page, rights, entry.permissionDomainId);
  return (rights & needed) === 0 ? missing(needed) : 0;
}

function missing(needed: number): number {
  return needed === WRITE ? NO_WRITE : NO_READ;
}

/** @returns the rights, or a fault code below zero */
function walk({ memory, hostWidth, trail }: JudgeContext, entry: HeldPasid, page: number, needed: number): number {
  let table = entry.permissionTable;
  for (const [depth, { index, field, fields }] of LEVELS.entries()) {
    const mask = depth === 0 ? (256 << entry.permissionTableSize) - 1 : 0xff;
    trail.line = table + (shiftRight(page, index) & mask) * 16;
    if (!memory.load64(trail.line)) {
      return depth === 0 ? -0xa2 : -0xa0;
    }
    const { lo, hi } = memory;
    const number = fields === 0 ? 0 : shiftRight(page, field) & (fields - 1);
    memory.load64(trail.line + 8);
    const word = [lo, hi, memory.lo, memory.hi][number >>> 3] ?? 0;
    const permission = fields === 0 ? 0 : (word >>> ((number & 7) * 4)) & 0xf;
    if (reserved(depth, lo, hi, memory.lo, memory.hi, permission, hostWidth)) {
      return -0xa1;
    }
    if (permission !== 0) {
      return permission;
    }
    if (depth === 3 || (memory.lo & 1) === 0) {
      return -missing(needed);
    }
    table = pointerOf(memory.lo, memory.hi);
  }
  return -missing(needed);
}

/** Bits that are neither permission fields nor the pointer. */
function reserved(
  depth: number,
  lo: number,
  hi: number,
  nextLo: number,
  nextHi: number,
  permission: number,
  hostWidth: number,
): boolean {
  if ((permission & ~(READ | WRITE)) !== 0) {
    return true;
  }
  if (depth === 3) {
    return false;
  }
  const unused = (depth === 0 ? lo | hi : 0) | (depth === 1 ? hi : 0);
  return unused !== 0 || (nextLo & 0xffe) !== 0 || pointerBeyondHost(nextHi, hostWidth);
}
