import { COLUMNS, addToRow } from "./register-columns.ts";

/**
 * What software may do with a field, and what resets do to it, in the terms of PCIe 6.0 §7.4 and CXL 3.1 §8.1:
 *
 * - `RO`: read only. With a `reset` value it is state of the function, which every reset clears; without, it is hard-wired
 * - `ROS`: read only and sticky: an FLR and a hot reset keep it, a fundamental reset clears it
 * - `HwInit`: set by hardware or firmware at power-on; no reset and no write changes it
 * - `RW`: read and write
 * - `RWS`: `RW` and sticky
 * - `RW1C`: writing 1 clears it
 * - `RW1CS`: `RW1C` and sticky
 * - `RWL`: `RW` until the capability's lock bit is set
 * - `RWO`: writing 1 sets it, and only a reset clears it
 * - `W1`: writing 1 starts an action; it reads as 0
 */
export type FieldAccess = "RO" | "ROS" | "HwInit" | "RW" | "RWS" | "RW1C" | "RW1CS" | "RWL" | "RWO" | "W1";

/** One bit of a capability, on which another field depends. */
export interface BitReference {
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
  /** What it says, in one line. */
  readonly meaning: string;
  /** Value after a reset that the field does not survive; otherwise 0. A function where the instance decides. */
  readonly reset?: number | ((config: RegisterReader, at: number) => number);
  /** Whether a Function Level Reset keeps it though it is not sticky: link settings, CXL state (PCIe 6.0 §6.6.2). */
  readonly keptByFlr?: boolean;
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
  /** What each field is called in a decoded capability: `register.field`, or the register's name where they are the same. */
  readonly keys: readonly string[];
  /** What all fields but the conditional ones say in a register map, column by column. */
  readonly row: Int32Array;
  /** Fields that another bit decides about, or whose reset value the instance decides. */
  readonly conditional: readonly FieldLayout[];
  /** Whether this instance of the capability, which starts at `at`, has the register. Absent: always. */
  readonly when?: RegisterCondition;
}

/** Looks at the instance of a capability that starts at `at`. It may read only what lies below the register in question. */
export type RegisterCondition = (config: RegisterReader, at: number) => boolean;

/** A capability's registers, without its list header. */
export interface CapabilityLayout {
  /** Registers in order of their offsets. */
  readonly registers: readonly RegisterLayout[];
  /**
   * Registers that come several times, as often as the capability itself says (streams, BARs, entries), in order of their
   * offsets and after all of {@link CapabilityLayout.registers}. Each may depend on those before it.
   */
  readonly repeated?: (config: RegisterReader, at: number) => Iterable<RegisterLayout>;
  /** Length in bytes where the capability itself says it; otherwise it ends with its last register. */
  readonly length?: (config: RegisterReader, at: number) => number;
  /** Where the lock bit of the `RWL` fields is. */
  readonly lock?: BitReference;
}

/** Attributes of a field beyond its place, access and meaning. */
export type FieldOptions = Pick<FieldLayout, "reset" | "keptByFlr" | "needs">;

/** A field of several bits. */
export function field(
  name: string,
  high: number,
  low: number,
  access: FieldAccess,
  meaning: string,
  options: FieldOptions = {},
): FieldLayout {
  return { name, high, low, access, meaning, ...options };
}

/** A field of one bit. */
export function bit(
  name: string,
  at: number,
  access: FieldAccess,
  meaning: string,
  options: FieldOptions = {},
): FieldLayout {
  return field(name, at, at, access, meaning, options);
}

/** A register with its fields. */
export function register(
  name: string,
  offset: number,
  size: 1 | 2 | 4,
  fields: readonly FieldLayout[],
  when?: RegisterCondition,
): RegisterLayout {
  const only = fields.length === 1 && fields[0]?.name === name;
  const keys = only ? [name] : fields.map((one) => `${name}.${one.name}`);
  const row = new Int32Array(COLUMNS);
  const conditional = fields.filter((one) => {
    const { reset = 0 } = one;
    if (one.needs !== undefined || typeof reset !== "number") {
      return true;
    }
    addToRow(row, one, fieldMask(one), reset << one.low);
    return false;
  });
  const found = { name, offset, size, fields, keys, row, conditional };
  return when === undefined ? found : { ...found, when };
}

/** A register that is one field. */
export function whole(
  name: string,
  offset: number,
  size: 1 | 2 | 4,
  access: FieldAccess,
  meaning: string,
  when?: RegisterCondition,
  options?: FieldOptions,
): RegisterLayout {
  return register(name, offset, size, [field(name, 8 * size - 1, 0, access, meaning, options)], when);
}

/** The registers that this instance of a capability has, in the order in which each may depend on those before it. */
export function* registersOf(
  layout: CapabilityLayout,
  config: RegisterReader,
  at: number,
): Generator<RegisterLayout, void> {
  for (const one of layout.registers) {
    if (one.when === undefined || one.when(config, at)) {
      yield one;
    }
  }
  if (layout.repeated !== undefined) {
    yield* layout.repeated(config, at);
  }
}

/** The value of one register, whatever its size. */
export function readRegister(config: RegisterReader, offset: number, size: 1 | 2 | 4): number {
  if (size === 1) {
    return config.read8(offset);
  }
  return size === 2 ? config.read16(offset) : config.read32(offset);
}

/** The bits of a field in its register, as an unsigned number. */
export function fieldMask({ high, low }: Pick<FieldLayout, "high" | "low">): number {
  return ((0xffffffff >>> (31 - high + low)) << low) >>> 0;
}
