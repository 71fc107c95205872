import type { DecodedFields } from "./decode-capability.ts";
import { type CapabilityLayout, type RegisterReader, registersOf } from "./register-layout.ts";

/**
 * What a capability says, one sentence for each field that is not zero: its name, its value where it has more than one bit,
 * and its meaning.
 */
export function meaningOf(
  layout: CapabilityLayout,
  config: RegisterReader,
  at: number,
  fields: DecodedFields,
): readonly string[] {
  const sentences: string[] = [];
  for (const register of registersOf(layout, config, at)) {
    if (at + register.offset >= config.size) {
      break;
    }
    for (let index = 0; index < register.fields.length; index += 1) {
      const field = register.fields[index];
      const key = register.keys[index] ?? "";
      const value = fields[key] ?? 0;
      if (field !== undefined && value !== 0) {
        const shown = field.high === field.low ? key : `${key} ${value > 9 ? `0x${value.toString(16)}` : value}`;
        sentences.push(`${shown}: ${field.meaning}.`);
      }
    }
  }
  return sentences;
}
