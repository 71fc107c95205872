import type { CapabilityEntry } from "./capability-list.ts";
import { capabilityLayout } from "./capability-layouts.ts";
import { type CapabilityLayout, type RegisterReader, readRegister, registersOf } from "./register-layout.ts";

/**
 * The fields of one capability by name: `register.field`, or the register's name alone where its only field is named like
 * it.
 */
export type DecodedFields = Readonly<Record<string, number>>;

/** Where a capability of the standard list must end. */
const CONVENTIONAL_BYTES = 256;

/**
 * Decodes every field of a capability. Empty where the model only knows the capability's name.
 *
 * @param present - how many bytes are known; registers beyond them are left out
 */
export function decodeCapability(
  config: RegisterReader,
  entry: CapabilityEntry,
  present: number = config.size,
): DecodedFields {
  const layout = capabilityLayout(config, entry);
  if (layout === undefined) {
    return {};
  }
  return decodeLayout(config, layout, entry.offset, entry.extended ? present : Math.min(present, CONVENTIONAL_BYTES));
}

/** Decodes the registers of `layout` as they stand at offset `at`, up to byte `present`. */
export function decodeLayout(
  config: RegisterReader,
  layout: CapabilityLayout,
  at: number,
  present: number,
): Record<string, number> {
  const fields: Record<string, number> = {};
  for (const register of registersOf(layout, config, at)) {
    if (at + register.offset + register.size > present) {
      // Repeated registers go on for as long as damaged counts say.
      if (at + register.offset >= config.size) {
        break;
      }
      continue;
    }
    const value = readRegister(config, at + register.offset, register.size);
    for (let index = 0; index < register.fields.length; index += 1) {
      const field = register.fields[index];
      const key = register.keys[index];
      if (field !== undefined && key !== undefined) {
        fields[key] = (value >>> field.low) & (0xffffffff >>> (31 - field.high + field.low));
        if (field.high - field.low === 31) {
          fields[key] = value;
        }
      }
    }
  }
  return fields;
}
