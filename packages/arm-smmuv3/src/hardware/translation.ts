import type { ContextEntry } from "./context-entry.ts";
import { WORLD } from "./stream-entry.ts";

/** Read permission, a bit of what {@link permissions} gives. */
export const PERMIT_READ = 1;
/** Write permission. */
export const PERMIT_WRITE = 2;
/** Execute permission; only together with read. */
export const PERMIT_EXECUTE = 4;

/** What a walk found, and what the TLB keeps of it. */
export interface Translation {
  /** First page of the input range. */
  readonly page: number;
  /** Host page of the first page. */
  readonly target: number;
  /** log2 of the size of the range in bytes. */
  readonly sizeLog2: number;
  /** Level of the leaf, 3 = last. */
  readonly level: number;
  /** AP[1]: unprivileged accesses too. */
  readonly unprivileged: boolean;
  /** AP[2], or APTable above it. */
  readonly readOnly: boolean;
  readonly pxn: boolean;
  readonly uxn: boolean;
  /** nG = 0. */
  readonly global: boolean;
  /** Write-back cacheable and shareable. */
  readonly coherent: boolean;
  /** AF is 0 and the SMMU has to set it. */
  readonly needsAccessFlag: boolean;
  /** Writable-clean: the first write has to make it dirty. */
  readonly clean: boolean;
  /** Where the leaf descriptor is. */
  readonly leafAddress: number;
}

/**
 * What a translation lets an access do, as `PERMIT_` bits. A writable-clean page counts as writable.
 *
 * Source: Arm ARM D8.4.
 *
 * @param world the translation regime; EL2 without E2H knows no unprivileged accesses
 */
export function permissions(
  translation: Translation,
  context: ContextEntry,
  world: number,
  privileged: boolean,
): number {
  const single = world === WORLD.el2;
  const writable = !translation.readOnly || translation.clean;
  const reachable = single || privileged || translation.unprivileged;
  if (!reachable) {
    return 0;
  }
  const executeNever = single || !privileged ? translation.uxn : translation.pxn;
  const userWritable = !single && privileged && translation.unprivileged && writable;
  const execute = !executeNever && !userWritable && !(context.wxn && writable);
  return PERMIT_READ | (writable ? PERMIT_WRITE : 0) | (execute ? PERMIT_EXECUTE : 0);
}
