import type { CapabilityEntry } from "./capability-list.ts";
import { capabilityLayout } from "./capability-layouts.ts";
import { type CapabilityLayout, type RegisterReader, readRegister } from "./register-layout.ts";

/**
 * The fields of one capability by name: `register.field`, or the register's name alone where its only field is named like
 * it.
 */
export type DecodedFields = Readonly<Record<string, number>>;

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
  return layout === undefined ? {} : decodeLayout(config, layout, entry.offset, present);
}

/** Decodes the registers of `layout` as they stand at offset `at`, up to byte `present`. */
function decodeLayout(config: RegisterReader, layout: CapabilityLayout, at: number, present: number): DecodedFields {
  const fields: Record<string, number> = {};
  for (const register of layout.registers) {
    const isThere = at + register.offset + register.size <= present;
    if (!isThere || (register.when !== undefined && !register.when(config, at))) {
      continue;
    }
    const value = readRegister(config, at + register.offset, register.size);
    const only = register.fields.length === 1 ? register.fields[0] : undefined;
    for (const field of register.fields) {
      const name = only?.name === register.name ? register.name : `${register.name}.${field.name}`;
      fields[name] = Math.floor(value / 2 ** field.low) % 2 ** (field.high - field.low + 1);
    }
  }
  return fields;
}
