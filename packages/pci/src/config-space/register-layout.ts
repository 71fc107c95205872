/**
 * What software may do with a field, in the terms of PCIe 6.0 §7.4 and CXL 3.1 §8.1:
 *
 * - `RO`: read only, also HwInit: software's writes do not reach it
 * - `RW`: read and write
 * - `RW1C`: writing 1 clears it
 * - `RWL`: `RW` until the capability's lock bit is set
 * - `RWO`: writing 1 sets it, and only a reset clears it
 * - `W1`: writing 1 starts an action; it reads as 0
 */
export type FieldAccess = "RO" | "RW" | "RW1C" | "RWL" | "RWO" | "W1";

/**
 * The strongest reset that leaves a field alone: `none` (every reset clears it), `flr` (a Function Level Reset keeps it), or
 * `conventional` (sticky: a hot reset keeps it too).
 */
type FieldSurvives = "none" | "flr" | "conventional";

/** One bit of a capability, on which another field depends. */
interface BitReference {
  /** Byte offset from the capability's start (from 0 in the header). */
  readonly offset: number;
  /** Bit number in that byte, 0 to 7. */
  readonly bit: number;
}

/** One field of a register. */
export interface FieldLayout {
  /** Name in the specification's words, camel case. */
  readonly name: string;
  /** Highest bit. */
  readonly high: number;
  /** Lowest bit. */
  readonly low: number;
  /** What software may do with it. */
  readonly access: FieldAccess;
  /** Value after a reset that the field does not survive. Absent on a `RO` field: resets leave it alone. Otherwise 0. */
  readonly reset?: number;
  /** The strongest reset that the field survives; `none` when absent. */
  readonly survives?: FieldSurvives;
  /** The bit that must be 1, or else the field is hard-wired. */
  readonly needs?: BitReference;
}

/** What a layout may read to decide whether a register is there. */
export interface RegisterReader {
  /** Number of bytes. */
  readonly size: number;
  /** One byte; all ones beyond the size. */
  read8(offset: number): number;
  /** Two bytes, little-endian. */
  read16(offset: number): number;
  /** Four bytes, little-endian. */
  read32(offset: number): number;
}

/** One register of a capability or of the header. */
export interface RegisterLayout {
  /** Name in the specification's words, camel case. */
  readonly name: string;
  /** Byte offset from the capability's start (from 0 in the header). */
  readonly offset: number;
  /** Size in bytes. */
  readonly size: 1 | 2 | 4;
  /** The fields, from bit 0 up. */
  readonly fields: readonly FieldLayout[];
  /** Whether this instance of the capability, which starts at `at`, has the register. Absent: always. */
  readonly when?: (config: RegisterReader, at: number) => boolean;
}

/** A capability's registers, without its list header. */
export interface CapabilityLayout {
  /** Registers in order of their offsets. */
  readonly registers: readonly RegisterLayout[];
  /** Where the lock bit of the `RWL` fields is. */
  readonly lock?: BitReference;
}

/** Attributes of a field beyond its place and access. */
export type FieldOptions = Pick<FieldLayout, "reset" | "survives" | "needs">;

/** A field of several bits. */
export function field(
  name: string,
  high: number,
  low: number,
  access: FieldAccess,
  options: FieldOptions = {},
): FieldLayout {
  return { name, high, low, access, ...options };
}

/** A field of one bit. */
export function bit(name: string, at: number, access: FieldAccess, options: FieldOptions = {}): FieldLayout {
  return { name, high: at, low: at, access, ...options };
}

/** A register with its fields. */
export function register(
  name: string,
  offset: number,
  size: 1 | 2 | 4,
  fields: readonly FieldLayout[],
  when?: RegisterLayout["when"],
): RegisterLayout {
  return when === undefined ? { name, offset, size, fields } : { name, offset, size, fields, when };
}

/** The value of one register, whatever its size. */
export function readRegister(config: RegisterReader, offset: number, size: 1 | 2 | 4): number {
  if (size === 1) {
    return config.read8(offset);
  }
  return size === 2 ? config.read16(offset) : config.read32(offset);
}
