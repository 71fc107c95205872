import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import { ATTR } from "./attributes.ts";
import type { ContextEntry } from "./context-entry.ts";
import { WORLD } from "./world.ts";

/** Bits 62:59 of a table descriptor, moved to 3:0: what it takes away from all below it. Source: Arm ARM D8.4.2. */
export const LIMIT = {
  /** PXNTable. */
  pxn: 1,
  /** UXNTable, and XNTable where there is one privilege. */
  uxn: 2,
  /** APTable[0]: no unprivileged access. */
  privilegedOnly: 4,
  /** APTable[1]: no writes. */
  readOnly: 8,
} as const;

/** All of {@link LIMIT}. */
export const LIMITS = 15;

/** The limits of one table descriptor. @param hi its bits 63:32 */
export function limitsOf(hi: number): number {
  return (hi >>> 27) & LIMITS;
}

/**
 * What a leaf of stage 1 grants, as `ATTR` bits. A writable-clean page counts as writable.
 *
 * Source: Arm ARM D8.4.
 *
 * @param clean the SMMU may make it dirty
 * @param world one of `WORLD`; EL2 without E2H knows no unprivileged accesses
 */
export function stage1Permissions(
  lo: number,
  hi: number,
  limits: number,
  clean: boolean,
  world: number,
  context: ContextEntry,
): number {
  const writable = clean || ((lo & PTE.readOnly) === 0 && (limits & LIMIT.readOnly) === 0);
  const uxn = (hi & PTE_HIGH.uxn) !== 0 || (limits & LIMIT.uxn) !== 0;
  if (world === WORLD.el2) {
    const executable = !uxn && !(context.wxn && writable);
    return bothPrivileges(writable, executable);
  }
  const user = (lo & PTE.unprivileged) !== 0 && (limits & LIMIT.privilegedOnly) === 0;
  const pxn = (hi & PTE_HIGH.pxn) !== 0 || (limits & LIMIT.pxn) !== 0;
  const unprivileged = unprivilegedAccess(user, writable, uxn, context);
  return unprivileged | privilegedAccess(user, writable, pxn, unprivileged, context);
}

/** PAN: privileged data accesses stay out of what unprivileged code can reach. */
function privilegedAccess(
  user: boolean,
  writable: boolean,
  pxn: boolean,
  unprivileged: number,
  context: ContextEntry,
): number {
  const kept = context.pan && (user || (context.epan && (unprivileged & ATTR.userExecute) !== 0));
  const data = kept ? 0 : ATTR.read | (writable ? ATTR.write : 0);
  return data | (pxn || (writable && (user || context.wxn)) ? 0 : ATTR.execute);
}

function unprivilegedAccess(user: boolean, writable: boolean, uxn: boolean, context: ContextEntry): number {
  const data = user ? ATTR.userRead | (writable ? ATTR.userWrite : 0) : 0;
  const execute = !uxn && !(context.wxn && writable && user);
  return data | (execute ? ATTR.userExecute : 0);
}

function bothPrivileges(writable: boolean, executable: boolean): number {
  return (
    ATTR.userRead |
    ATTR.read |
    (writable ? ATTR.userWrite | ATTR.write : 0) |
    (executable ? ATTR.userExecute | ATTR.execute : 0)
  );
}
