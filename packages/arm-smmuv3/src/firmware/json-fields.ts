import { InputError, type LayoutFields, type LayoutValue } from "@iommu-lab/core";
import type { ByteFields, ByteValues } from "./iort-layout.ts";

/** A value as a layout shows it: 64 bits above 2^53 are hexadecimal text. */
export function shown(value: unknown): LayoutValue {
  if (typeof value === "bigint") {
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? `0x${value.toString(16)}` : Number(value);
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown) => shown(item));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shown(item)]));
  }
  return value as LayoutValue;
}

/** Takes fields out of decoded JSON, each with its check; what nobody took is an error at the end. */
export class JsonFields {
  readonly #fields: LayoutFields;
  readonly #where: string;
  readonly #taken = new Set<string>();

  /** @param where names the object in errors */
  constructor(fields: LayoutFields, where: string) {
    this.#fields = fields;
    this.#where = where;
  }

  /** Whether a field is given. */
  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  /** An unsigned integer. @throws InputError when it is none or too large */
  number(name: string, bytes: number, otherwise: number = 0): number {
    return Number(this.big(name, bytes, BigInt(otherwise)));
  }

  /** The same as a bigint. @throws InputError */
  big(name: string, bytes: number, otherwise: bigint = 0n): bigint {
    this.#taken.add(name);
    const value = this.#fields[name];
    return value === undefined ? otherwise : integer(`${this.#where}.${name}`, value, bytes);
  }

  /** A text. @throws InputError */
  text(name: string, otherwise: string = ""): string {
    this.#taken.add(name);
    const value = this.#fields[name] ?? otherwise;
    if (typeof value !== "string") {
      throw new InputError(`${this.#where}.${name} is ${JSON.stringify(value)}, expected a text`);
    }
    return value;
  }

  /** All fields of a structure. @throws InputError */
  values<S extends ByteFields>(fields: S, defaults: Readonly<Record<string, number>> = {}): ByteValues<S> {
    return Object.fromEntries(
      Object.entries(fields).map(([name, [, size]]) => {
        const value = this.big(name, size, BigInt(defaults[name] ?? 0));
        return [name, size === 8 ? value : Number(value)];
      }),
    ) as ByteValues<S>;
  }

  /** A list of integers. @throws InputError */
  integers(name: string, bytes: number): readonly bigint[] {
    return this.#list(name).map((value, index) => integer(`${this.#where}.${name}[${index}]`, value, bytes));
  }

  /** An object, empty when absent. @throws InputError */
  object(name: string): JsonFields {
    this.#taken.add(name);
    return new JsonFields(object(`${this.#where}.${name}`, this.#fields[name] ?? {}), `${this.#where}.${name}`);
  }

  /** A list of objects. @throws InputError */
  objects(name: string): readonly JsonFields[] {
    return this.#list(name).map((value, index) => {
      const where = `${this.#where}.${name}[${index}]`;
      return new JsonFields(object(where, value), where);
    });
  }

  /** An error about a field. */
  error(name: string, what: string): InputError {
    return new InputError(`${this.#where}.${name} ${what}`);
  }

  /** @throws InputError for a field that nobody took */
  done(): void {
    const unknown = Object.keys(this.#fields).find((name) => !this.#taken.has(name));
    if (unknown !== undefined) {
      throw new InputError(
        `${this.#where} has no field ${JSON.stringify(unknown)}, expected ${[...this.#taken].join(", ")}`,
      );
    }
  }

  #list(name: string): readonly LayoutValue[] {
    this.#taken.add(name);
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value)) {
      throw new InputError(`${this.#where}.${name} is ${JSON.stringify(value)}, expected a list`);
    }
    return value as readonly LayoutValue[];
  }
}

function integer(where: string, value: LayoutValue, bytes: number): bigint {
  const given =
    typeof value === "number" && Number.isSafeInteger(value)
      ? BigInt(value)
      : typeof value === "string" && /^0x[0-9a-f]{1,16}$/i.test(value)
        ? BigInt(value)
        : undefined;
  if (given === undefined || given < 0n || given >= 1n << BigInt(bytes * 8)) {
    throw new InputError(`${where} is ${JSON.stringify(value)}, expected an unsigned integer of ${bytes * 8} bits`);
  }
  return given;
}

function object(where: string, value: LayoutValue): LayoutFields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InputError(`${where} is ${JSON.stringify(value)}, expected an object`);
  }
  return value as LayoutFields;
}
