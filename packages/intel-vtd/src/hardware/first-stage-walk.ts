import { address52 } from "@iommu-lab/core";
import type { Need } from "./second-stage-walk.ts";
import type { Walk, WalkContext } from "./walk.ts";
import { beyondHost, entryAddress } from "./walk.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;

/** How a first-stage walk is done. */
export interface FirstStageMode {
  /** 4 or 5. */
  readonly levels: number;
  /** The request is privileged. */
  readonly privileged: boolean;
  /** WPE: privileged writes honour R/W=0. */
  readonly writeProtect: boolean;
  /** The access may write, so a writable leaf becomes dirty. */
  readonly marksDirty: boolean;
}

/**
 * Walks first-stage (x86-64) tables: canonical address, then for each entry present, reserved bits, rights. Sets the
 * accessed and dirty bits as it goes.
 *
 * Source: VT-d 5.10 §3.6, §9.7.
 *
 * @returns whether a page was reached; the fault is in `walk`
 */
export function walkFirstStage(
  context: WalkContext,
  walk: Walk,
  mode: FirstStageMode,
  root: number,
  page: number,
  need: Need,
): boolean {
  const { memory } = context;
  walk.start();
  if (!canonical(page, mode.levels)) {
    return walk.fail(0x80);
  }
  let table = root;
  for (let level = mode.levels; level >= 1; level -= 1) {
    walk.line = entryAddress(table, page, level);
    if (!memory.load64(walk.line)) {
      return walk.fail(level === mode.levels ? 0x73 : 0x70);
    }
    const { lo, hi } = memory;
    const leaf = level === 1 || (lo & LARGE) !== 0;
    const fault = entryFault(context, mode, level, leaf, lo, hi, need);
    if (fault !== 0) {
      return walk.fail(fault);
    }
    walk.write &&= (lo & WRITABLE) !== 0 || (mode.privileged && !mode.writeProtect);
    const marked = mark(context, walk, lo, hi, leaf && walk.write && mode.marksDirty);
    if (leaf) {
      walk.dirty = (marked & DIRTY) !== 0;
      walk.sizeLog2 = 3 + 9 * level;
      walk.target = (address52(lo, hi) - (level > 1 ? lo & 0x1000 : 0)) / 4096;
      return true;
    }
    table = address52(lo, hi);
  }
  return walk.fail(0x70);
}

/** Sets the accessed bit, and the dirty bit when asked. @returns the low half as it is then */
function mark({ memory }: WalkContext, walk: Walk, lo: number, hi: number, dirty: boolean): number {
  const marked = (lo | ACCESSED | (dirty ? DIRTY : 0)) >>> 0;
  if (marked !== lo) {
    memory.store64(walk.line, marked, hi);
  }
  return marked;
}

function canonical(page: number, levels: number): boolean {
  const width = 3 + 9 * (levels + 1);
  const top = Math.floor(page / 2 ** (width - 13));
  return top === 0 || top === 2 ** (65 - width) - 1;
}

function entryFault(
  context: WalkContext,
  mode: FirstStageMode,
  level: number,
  leaf: boolean,
  lo: number,
  hi: number,
  need: Need,
): number {
  if ((lo & PRESENT) === 0) {
    return 0x71;
  }
  if (beyondHost(hi, context.hostWidth) || largeReserved(context, level, leaf, lo)) {
    return 0x72;
  }
  if (!mode.privileged && (lo & USER) === 0) {
    return 0x81;
  }
  const protectedWrite = (lo & WRITABLE) === 0 && (!mode.privileged || mode.writeProtect);
  return need === "write" && protectedWrite ? 0x85 : 0;
}

/** PS where no large page is possible, or address bits below a large page (bit 12 is PAT). */
function largeReserved({ caps }: WalkContext, level: number, leaf: boolean, lo: number): boolean {
  if (!leaf || level === 1) {
    return false;
  }
  if (level > 3 || (level === 3 && !caps.fs1gp)) {
    return true;
  }
  return (lo & (level === 2 ? 0x1fe000 : 0x3fffe000)) !== 0;
}
