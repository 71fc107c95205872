/** The value of bits `high..low` (inclusive) of one 32-bit word. */
export function bits32(word: number, high: number, low: number): number {
  const width = high - low + 1;
  return width === 32 ? word >>> 0 : (word >>> low) & (2 ** width - 1);
}

/**
 * The value of bits `high..low` (inclusive) of a 64-bit word given as a pair of u32. The field may cross bit 32 and be
 * up to 53 bits wide.
 */
export function bits64(lo: number, hi: number, high: number, low: number): number {
  if (low >= 32) {
    return bits32(hi, high - 32, low - 32);
  }
  if (high < 32) {
    return bits32(lo, high, low);
  }
  return bits32(hi, high - 32, 0) * 2 ** (32 - low) + (lo >>> low);
}

/** Bits 51..12 of a 64-bit word as an address. */
export function address52(lo: number, hi: number): number {
  return (hi & 0xfffff) * 2 ** 32 + ((lo & 0xfffff000) >>> 0);
}

/** The low u32 of a number below 2^53. */
export function low32(value: number): number {
  return value >>> 0;
}

/** The high u32 of a number below 2^53. */
export function high32(value: number): number {
  return (value / 2 ** 32) >>> 0;
}

/** A u32 pair as one number; exact below 2^53. */
export function join64(lo: number, hi: number): number {
  return (hi >>> 0) * 2 ** 32 + (lo >>> 0);
}

/** A u32 pair as `0x` and 16 hexadecimal digits. */
export function hex64(lo: number, hi: number): string {
  return `0x${(hi >>> 0).toString(16).padStart(8, "0")}${(lo >>> 0).toString(16).padStart(8, "0")}`;
}

/** A non-negative number as `0x` and hexadecimal digits. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
