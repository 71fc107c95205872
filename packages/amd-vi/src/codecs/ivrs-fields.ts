import type { LayoutFields, LayoutValue } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";

/** Takes fields out of an object that a user gave, each with its check; what nobody took is an error at the end. */
export class GivenFields {
  readonly #fields: LayoutFields;
  readonly #where: string;
  readonly #taken = new Set<string>();

  /** @param where names the object in errors */
  constructor(value: LayoutValue, where: string) {
    if (typeof value !== "object" || Array.isArray(value)) {
      throw new InputError(`ivrs: ${where} is ${JSON.stringify(value)}, expected an object`);
    }
    this.#fields = value as LayoutFields;
    this.#where = where;
  }

  /** An unsigned integer of some bytes; absent = 0. @throws InputError */
  number(name: string, bytes: number): number {
    return Number(this.big(name, bytes));
  }

  /** The same as a bigint. @throws InputError */
  big(name: string, bytes: number): bigint {
    this.#taken.add(name);
    const value = this.#fields[name] ?? 0;
    const text = typeof value === "string" && /^0x[0-9a-f]{1,16}$/iu.test(value);
    if (!text && !(typeof value === "number" && Number.isSafeInteger(value) && value >= 0)) {
      throw this.#error(name, value, "a whole number, above 2^53 as 0x…");
    }
    const found = BigInt(value);
    if (found >= 1n << BigInt(bytes * 8)) {
      throw this.#error(name, value, `at most ${bytes} bytes`);
    }
    return found;
  }

  /** A text; absent = empty. @throws InputError */
  text(name: string): string {
    this.#taken.add(name);
    const value = this.#fields[name] ?? "";
    if (typeof value !== "string") {
      throw this.#error(name, value, "a text");
    }
    return value;
  }

  /** Bytes as hexadecimal digits; absent = none. @throws InputError */
  bytes(name: string): Uint8Array {
    const value = this.text(name);
    if (!/^(?:[0-9a-f]{2})*$/iu.test(value)) {
      throw this.#error(name, value, "hexadecimal digits, two for each byte");
    }
    return Uint8Array.from(value.match(/../gu) ?? [], (digits) => Number.parseInt(digits, 16));
  }

  /** An object; absent = empty. @throws InputError */
  object(name: string): GivenFields {
    this.#taken.add(name);
    return new GivenFields(this.#fields[name] ?? {}, `${this.#where}.${name}`);
  }

  /** A list of objects; absent = empty. @throws InputError */
  list(name: string): readonly GivenFields[] {
    this.#taken.add(name);
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value)) {
      throw this.#error(name, value, "a list");
    }
    const items = value as readonly LayoutValue[];
    return items.map((item, index) => new GivenFields(item, `${this.#where}.${name}[${index}]`));
  }

  /** All fields were taken. @throws InputError naming one that was not */
  done(): void {
    const unknown = Object.keys(this.#fields).find((name) => !this.#taken.has(name));
    if (unknown !== undefined) {
      const known = [...this.#taken].join(", ");
      throw new InputError(`ivrs: ${this.#where} has no field ${JSON.stringify(unknown)}, expected one of ${known}`);
    }
  }

  #error(name: string, value: LayoutValue, expected: string): InputError {
    return new InputError(`ivrs: ${this.#where}.${name} is ${JSON.stringify(value)}, expected ${expected}`);
  }
}

/** A value as a layout shows it: bytes as digits, 64 bits above 2^53 as text. */
export function shown(value: unknown): LayoutValue {
  if (typeof value === "bigint") {
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? `0x${value.toString(16)}` : Number(value);
  }
  if (value instanceof Uint8Array) {
    return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown) => shown(item));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shown(item)]));
  }
  return value as LayoutValue;
}
