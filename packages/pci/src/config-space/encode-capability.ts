import type { ConfigBuilder } from "./config-builder.ts";
import type { DecodedFields } from "./decode-capability.ts";
import { type CapabilityLayout, type RegisterReader, fieldMask, readRegister, registersOf } from "./register-layout.ts";

/** A field that could not be written, and why. */
export interface RefusedField {
  /** Its name. */
  readonly key: string;
  /** What is wrong with it, to be put behind the name. */
  readonly why: string;
}

/**
 * Writes fields into the capability that starts at `at`, the opposite of decoding: absent fields stay as they are. Registers
 * are written in order, so that counts and capability bits decide about what follows them.
 *
 * @returns fields that were not written: names that this instance of the capability does not have, values that do not fit
 */
export function encodeLayout(
  into: ConfigBuilder,
  layout: CapabilityLayout,
  at: number,
  fields: DecodedFields,
  limit: number,
): RefusedField[] {
  const refused: RefusedField[] = [];
  const left = new Set(Object.keys(fields));
  for (const register of registersOf(layout, into, at)) {
    const offset = at + register.offset;
    if (offset + register.size > limit) {
      break;
    }
    let value = readRegister(into, offset, register.size);
    for (let index = 0; index < register.fields.length; index += 1) {
      const field = register.fields[index];
      const key = register.keys[index] ?? "";
      const wanted = fields[key];
      if (field === undefined || wanted === undefined) {
        continue;
      }
      left.delete(key);
      const most = 2 ** (field.high - field.low + 1) - 1;
      if (!Number.isInteger(wanted) || wanted < 0 || wanted > most) {
        refused.push({ key, why: `is ${wanted}, expected 0 to ${most}` });
        continue;
      }
      const mask = fieldMask(field);
      value = ((value & ~mask) | ((wanted << field.low) & mask)) >>> 0;
    }
    into.set(offset, register.size, value);
  }
  for (const key of left) {
    refused.push({ key, why: "is no field of this capability as its other fields describe it" });
  }
  return refused;
}

/** Length in bytes of the capability that starts at `at`: what it says itself, but no less than its fixed registers. */
export function layoutLength(layout: CapabilityLayout, config: RegisterReader, at: number, limit: number): number {
  let end = at < 0x100 ? 2 : 4;
  for (const register of registersOf(layout, config, at)) {
    if (at + register.offset + register.size > limit) {
      break;
    }
    end = Math.max(end, register.offset + register.size);
  }
  const said = layout.length?.(config, at) ?? 0;
  return Math.min(Math.max(end, said), limit - at);
}

/** The bits of each byte of a capability that some field covers, from its start on. */
export function coveredBits(layout: CapabilityLayout, config: RegisterReader, at: number, length: number): Uint8Array {
  const covered = new Uint8Array(length);
  for (const register of registersOf(layout, config, at)) {
    if (register.offset >= length) {
      break;
    }
    if (register.offset + register.size > length) {
      continue;
    }
    for (const field of register.fields) {
      const mask = fieldMask(field);
      for (let index = 0; index < register.size; index += 1) {
        const byte = register.offset + index;
        covered[byte] = (covered[byte] ?? 0) | (mask >>> (8 * index));
      }
    }
  }
  return covered;
}
