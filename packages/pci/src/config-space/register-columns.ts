import type { FieldAccess, FieldLayout } from "./register-layout.ts";

/** What a register map says about a dword: one row of numbers, in this order. */
export const COLUMN = {
  /** Bits that take what is written. */
  RW: 0,
  /** Bits that a 1 clears. */
  RW1C: 1,
  /** Bits that take what is written until the lock is set. */
  RWL: 2,
  /** Bits that a 1 sets. */
  RWO: 3,
  /** Bits whose 1 starts an action. */
  W1: 4,
  /** Bytes from which the map was made. */
  structure: 5,
  /** Bits that an FLR changes, and their values. */
  flrMask: 6,
  flrValue: 7,
  /** Bits that a conventional reset changes, and their values. */
  conventionalMask: 8,
  conventionalValue: 9,
  /** Bits that a fundamental reset changes, and their values. */
  fundamentalMask: 10,
  fundamentalValue: 11,
} as const;

/** Numbers in a row. */
export const COLUMNS: number = 12;

/** Which column takes software's writes to a field, by its access; -1: writes do not reach it. */
const writeColumn: Readonly<Record<FieldAccess, number>> = {
  RO: -1,
  ROS: -1,
  HwInit: -1,
  RW: COLUMN.RW,
  RWS: COLUMN.RW,
  RW1C: COLUMN.RW1C,
  RW1CS: COLUMN.RW1C,
  RWL: COLUMN.RWL,
  RWO: COLUMN.RWO,
  W1: COLUMN.W1,
};

const sticky: ReadonlySet<FieldAccess> = new Set(["ROS", "RWS", "RW1CS"]);

/**
 * Adds what a field says to a row.
 *
 * @param mask - its bits in the register
 * @param reset - its value after a reset that it does not survive, in its place in the register
 */
export function addToRow(row: number[] | Int32Array, field: FieldLayout, mask: number, reset: number): void {
  const { access } = field;
  const column = writeColumn[access];
  if (column >= 0) {
    or(row, column, mask);
  }
  // Hard-wired, or the function's own to set; an action has no state.
  if (access === "W1" || access === "HwInit" || (access === "RO" && field.reset === undefined)) {
    return;
  }
  or(row, COLUMN.fundamentalMask, mask);
  or(row, COLUMN.fundamentalValue, reset);
  if (sticky.has(access)) {
    return;
  }
  or(row, COLUMN.conventionalMask, mask);
  or(row, COLUMN.conventionalValue, reset);
  if (field.keptByFlr !== true) {
    or(row, COLUMN.flrMask, mask);
    or(row, COLUMN.flrValue, reset);
  }
}

function or(row: number[] | Int32Array, column: number, mask: number): void {
  row[column] = (row[column] ?? 0) | mask;
}
