import { InputError } from "../sim/errors.ts";
import type { LayoutFields, LayoutValue } from "./codec.ts";

/** No layout nests its fields this deep; what does is not one. */
const MOST_LEVELS = 16;

/**
 * Checks that decoded JSON is fields of a layout: objects, lists, texts, booleans and finite numbers, at most 16 levels
 * deep. JSON's `null` is none of them: a field that is not given is left out.
 *
 * @param value what `JSON.parse` gave
 * @param where names the value in errors
 * @throws InputError naming the first value that cannot be one
 * @example
 * ```ts
 * codec.encode(layoutFields(JSON.parse(text), codec.kind));
 * ```
 */
export function layoutFields(value: unknown, where: string): LayoutFields {
  requireValue(value, where, 0);
  return object(where, value);
}

function requireValue(value: unknown, where: string, level: number): asserts value is LayoutValue {
  if (level > MOST_LEVELS) {
    throw new InputError(`${where} is nested more than ${MOST_LEVELS} levels deep`);
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      requireValue(item, `${where}[${index}]`, level + 1);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      requireValue(item, `${where}.${name}`, level + 1);
    }
  } else if (typeof value !== "string" && typeof value !== "boolean" && !Number.isFinite(value)) {
    throw new InputError(
      value === null
        ? `${where} is null; leave out what is not given`
        : `${where} is ${typeof value === "number" ? value : typeof value}, expected a number, a text, true, false, a list or an object`,
    );
  }
}

/**
 * A structure's values as a layout shows them: 64 bits above 2^53 are hexadecimal text (`0xfffffffffffff000`), bytes are
 * hexadecimal digits.
 *
 * @param value numbers, bigints, booleans, texts, bytes, and lists and objects of them
 * @throws TypeError for anything else
 */
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
  if (typeof value !== "number" && typeof value !== "boolean" && typeof value !== "string") {
    throw new TypeError(`a layout cannot show a value of type ${typeof value}`);
  }
  return value;
}

/**
 * Takes the fields out of one object of decoded JSON, each with its check; what nobody took is an error at the end. A
 * field that is absent has its default; `null` is refused.
 *
 * @example
 * ```ts
 * const fields = new JsonFields({ revision: 1, entries: [{ id: 3 }] }, "table");
 * const revision = fields.number("revision", 8);
 * const ids = fields.objects("entries").map((entry) => entry.number("id", 16));
 * fields.done();
 * ```
 */
export class JsonFields {
  readonly #fields: LayoutFields;
  readonly #where: string;
  readonly #known = new Set<string>();

  /** @param where names the object in errors */
  constructor(fields: LayoutFields, where: string) {
    this.#fields = fields;
    this.#where = where;
  }

  /** Whether a field is given. */
  has(name: string): boolean {
    this.#known.add(name);
    return this.#fields[name] !== undefined;
  }

  /**
   * An unsigned integer.
   *
   * @param bits it fits in; above 53, what a number holds exactly
   * @param otherwise when it is absent
   * @throws InputError when it is none, or too large
   */
  number(name: string, bits: number, otherwise: number = 0): number {
    return Number(this.big(name, Math.min(bits, 53), BigInt(otherwise)));
  }

  /**
   * The same of up to 64 bits, which JSON may give as text such as `"0xfffffffffffff000"`.
   *
   * @throws InputError when it is none, or too large
   */
  big(name: string, bits: number, otherwise: bigint = 0n): bigint {
    return this.has(name) ? integer(`${this.#where}.${name}`, this.#take(name, 0), bits) : otherwise;
  }

  /** A text. @throws InputError when it is none */
  text(name: string, otherwise: string = ""): string {
    const value = this.#take(name, otherwise);
    if (typeof value !== "string") {
      throw this.error(name, `is ${JSON.stringify(value)}, expected a text`);
    }
    return value;
  }

  /** Bytes as hexadecimal digits; none when absent. @throws InputError when it is something else */
  bytes(name: string): Uint8Array {
    const value = this.text(name);
    if (!/^(?:[0-9a-f]{2})*$/iu.test(value)) {
      throw this.error(name, `is ${JSON.stringify(value)}, expected hexadecimal digits, two for each byte`);
    }
    return Uint8Array.from(value.match(/../gu) ?? [], (digits) => Number.parseInt(digits, 16));
  }

  /** A list of unsigned integers; empty when absent. @throws InputError when an item is none, or too large */
  integers(name: string, bits: number): readonly bigint[] {
    return this.#list(name).map((value, index) => integer(`${this.#where}.${name}[${index}]`, value, bits));
  }

  /** An object; empty when absent. @throws InputError when it is something else */
  object(name: string): JsonFields {
    const where = `${this.#where}.${name}`;
    return new JsonFields(object(where, this.#take(name, {})), where);
  }

  /** A list of objects; empty when absent. @throws InputError when it is something else */
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
    const unknown = Object.keys(this.#fields).find((name) => !this.#known.has(name));
    if (unknown !== undefined) {
      throw new InputError(
        `${this.#where} has no field ${JSON.stringify(unknown)}, expected ${[...this.#known].join(", ")}`,
      );
    }
  }

  #list(name: string): readonly LayoutValue[] {
    const value = this.#take(name, []);
    if (!Array.isArray(value)) {
      throw this.error(name, `is ${JSON.stringify(value)}, expected a list`);
    }
    return value as readonly LayoutValue[];
  }

  /** A field as it is given. Only `undefined` is absent: `??` would take a null for it, and hide it. */
  #take(name: string, otherwise: LayoutValue): LayoutValue {
    this.#known.add(name);
    const value = this.#fields[name];
    return value === undefined ? otherwise : value;
  }
}

function integer(where: string, value: LayoutValue, bits: number): bigint {
  const isNumber = typeof value === "number" && Number.isSafeInteger(value);
  const isText = typeof value === "string" && /^0x[0-9a-f]{1,16}$/iu.test(value);
  const given = isNumber || isText ? BigInt(value) : -1n;
  if (given < 0n || given >= 1n << BigInt(bits)) {
    throw new InputError(`${where} is ${JSON.stringify(value)}, expected an unsigned integer of ${bits} bits`);
  }
  return given;
}

function object(where: string, value: unknown): LayoutFields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InputError(`${where} is ${JSON.stringify(value)}, expected an object`);
  }
  return value as LayoutFields;
}
