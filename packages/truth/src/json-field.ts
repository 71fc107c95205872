import { InputError } from "@iommu-lab/core";

/**
 * A value inside a parsed JSON document that knows where it stands, so that a damaged file is reported with the file,
 * the phase and the field. Every reader checks the type; none casts.
 */
export class JsonField {
  readonly #value: unknown;
  readonly #file: string;
  readonly #path: string;

  /**
   * @param value what `JSON.parse` gave
   * @param file printed first in errors
   * @param path where the value stands, such as `phase 3 "unbind:vnet_ats", state.devices`; empty for the document
   */
  constructor(value: unknown, file: string, path: string = "") {
    this.#value = value;
    this.#file = file;
    this.#path = path;
  }

  /** The document in a text. @throws InputError when it is not JSON */
  static parse(text: string, file: string): JsonField {
    try {
      return new JsonField(JSON.parse(text), file);
    } catch (error) {
      throw new InputError(`not a JSON document: ${error instanceof Error ? error.message : String(error)}`, { file });
    }
  }

  /** Whether the field is there and not null. */
  get present(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  /** The field of an object. @throws InputError when this is no object; not when the field is absent */
  at(key: string): JsonField {
    return new JsonField(this.#object()[key], this.#file, this.#path === "" ? key : `${this.#path}.${key}`);
  }

  /** Fields of an object in file order, null ones included. @throws InputError */
  entries(): [string, JsonField][] {
    return Object.keys(this.#object()).map((key) => [key, this.at(key)]);
  }

  /** Elements of an array. @throws InputError */
  items(): JsonField[] {
    if (!Array.isArray(this.#value)) {
      return this.fail(`expected an array, found ${describe(this.#value)}`);
    }
    return this.#value.map((element: unknown, index) => new JsonField(element, this.#file, `${this.#path}[${index}]`));
  }

  /** A string. @throws InputError */
  text(): string {
    if (typeof this.#value !== "string") {
      return this.fail(`expected a string, found ${describe(this.#value)}`);
    }
    return this.#value;
  }

  /** A string, or undefined when the field is absent or null. @throws InputError */
  optionalText(): string | undefined {
    return this.present ? this.text() : undefined;
  }

  /** A number. @throws InputError */
  number(): number {
    if (typeof this.#value !== "number") {
      return this.fail(`expected a number, found ${describe(this.#value)}`);
    }
    return this.#value;
  }

  /** A number, or undefined when the field is absent or null. @throws InputError */
  optionalNumber(): number | undefined {
    return this.present ? this.number() : undefined;
  }

  /** A string of the form `0x…`, as an unsigned 64-bit word. @throws InputError */
  word(): bigint {
    const text = this.text();
    if (!/^0x[0-9a-f]{1,16}$/iu.test(text)) {
      return this.fail(`expected a hexadecimal word such as "0x8000", found ${JSON.stringify(text)}`);
    }
    return BigInt(text);
  }

  /** The same field under a path that reads better in errors. */
  named(path: string): JsonField {
    return new JsonField(this.#value, this.#file, path);
  }

  /** @throws InputError always; says where */
  fail(what: string): never {
    throw new InputError(`${this.#path === "" ? "" : `${this.#path}: `}${what}`, { file: this.#file });
  }

  #object(): Readonly<Record<string, unknown>> {
    if (typeof this.#value !== "object" || this.#value === null || Array.isArray(this.#value)) {
      return this.fail(`expected an object, found ${describe(this.#value)}`);
    }
    return this.#value as Readonly<Record<string, unknown>>;
  }
}

function describe(value: unknown): string {
  if (value === undefined) {
    return "nothing";
  }
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "an array";
  }
  if (typeof value === "object") {
    return "an object";
  }
  return `${typeof value} ${JSON.stringify(value)}`;
}
