import { address52 } from "@iommu-lab/core";
import { SS_LARGE, SS_READ, SS_SNOOP, SS_WRITE } from "../layout/second-stage.ts";
import type { Walk, WalkContext } from "./walk.ts";
import { beyondHost, entryAddress } from "./walk.ts";

/** The fault codes of a second-stage walk; legacy and scalable mode have their own. */
export interface SecondStageCodes {
  /** The top table cannot be read. */
  readonly top: number;
  /** A lower table cannot be read. */
  readonly table: number;
  /** R=W=0; 0 = the missing permission is reported. */
  readonly notPresent: number;
  readonly reserved: number;
  readonly write: number;
  readonly read: number;
}

/** Codes of legacy mode. */
export const LEGACY_CODES: SecondStageCodes = {
  top: 0x03,
  table: 0x07,
  notPresent: 0,
  reserved: 0x0c,
  write: 0x05,
  read: 0x06,
};

/** Codes of scalable mode. */
export const SCALABLE_CODES: SecondStageCodes = {
  top: 0x7b,
  table: 0x78,
  notPresent: 0x79,
  reserved: 0x7a,
  write: 0x85,
  read: 0x86,
};

/** What an access needs of every level. A Translation Request needs nothing: it learns what there is. */
export type Need = "read" | "write" | "none";

const RESERVED_62 = 0x40000000;

/**
 * Walks second-stage tables. An entry without any permission ends the walk before its reserved bits are looked at, and a
 * missing permission is reported before a reserved bit.
 *
 * Source: VT-d 5.10 §3.7, §9.8.
 *
 * @param levels 3 … 5
 * @returns whether a page was reached; the fault is in `walk`
 */
export function walkSecondStage(
  context: WalkContext,
  walk: Walk,
  codes: SecondStageCodes,
  root: number,
  levels: number,
  page: number,
  need: Need,
): boolean {
  const { memory, hostWidth } = context;
  walk.start();
  let table = root;
  for (let level = levels; level >= 1; level -= 1) {
    walk.line = entryAddress(table, page, level);
    if (!memory.load64(walk.line)) {
      return walk.fail(level === levels ? codes.top : codes.table);
    }
    const { lo, hi } = memory;
    const missing = missingPermission(codes, lo, need);
    if (missing !== 0) {
      return walk.fail(missing);
    }
    const leaf = level === 1 || (lo & SS_LARGE) !== 0;
    if (reserved(context, level, leaf, lo, hi) || beyondHost(hi, hostWidth)) {
      return walk.fail(codes.reserved);
    }
    walk.read &&= (lo & SS_READ) !== 0;
    walk.write &&= (lo & SS_WRITE) !== 0;
    if (leaf) {
      walk.sizeLog2 = 3 + 9 * level;
      walk.target = address52(lo, hi) / 4096;
      walk.snoop = (lo & SS_SNOOP) !== 0;
      return true;
    }
    table = address52(lo, hi);
  }
  return walk.fail(codes.table);
}

function missingPermission(codes: SecondStageCodes, lo: number, need: Need): number {
  if ((lo & (SS_READ | SS_WRITE)) === 0) {
    if (codes.notPresent !== 0) {
      return codes.notPresent;
    }
    return need === "write" ? codes.write : codes.read;
  }
  if (need === "write" && (lo & SS_WRITE) === 0) {
    return codes.write;
  }
  return need === "read" && (lo & SS_READ) === 0 ? codes.read : 0;
}

function reserved({ caps }: WalkContext, level: number, leaf: boolean, lo: number, hi: number): boolean {
  if ((hi & RESERVED_62) !== 0) {
    return true;
  }
  if (level > 1 && leaf) {
    if (level > 3 || (caps.sslps & (1 << (level - 2))) === 0) {
      return true;
    }
    const low = level === 2 ? 0x1ff000 : 0x3ffff000;
    if ((lo & low) !== 0) {
      return true;
    }
  }
  return (lo & SS_SNOOP) !== 0 && (!leaf || !caps.sc);
}
