import type { LayoutFields, LayoutValue } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";

/** Takes the fields of one object of decoded JSON, each with its check; what nobody took is an error at the end. */
export class FieldTaker {
  readonly #fields: LayoutFields;
  readonly #where: string;
  readonly #taken: string[] = [];

  /** @param where names the object in errors */
  constructor(fields: LayoutFields, where: string) {
    this.#fields = fields;
    this.#where = where;
  }

  /** A field as it is given. */
  raw(name: string): LayoutValue | undefined {
    this.#taken.push(name);
    return this.#fields[name];
  }

  /** An unsigned integer of at most `bits` bits. @throws InputError */
  number(name: string, bits: number, otherwise: number = 0): number {
    const given = this.raw(name) ?? otherwise;
    const value = typeof given === "string" && /^0x[0-9a-f]{1,16}$/i.test(given) ? Number(given) : given;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value >= 2 ** bits) {
      throw this.error(name, `is ${JSON.stringify(given)}, expected an unsigned integer of ${Math.min(bits, 53)} bits`);
    }
    return value;
  }

  /** A text. @throws InputError */
  text(name: string, otherwise: string = ""): string {
    const value = this.raw(name) ?? otherwise;
    if (typeof value !== "string") {
      throw this.error(name, `is ${JSON.stringify(value)}, expected a text`);
    }
    return value;
  }

  /** A list of objects, none when absent. @throws InputError */
  list(name: string): readonly FieldTaker[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) {
      throw this.error(name, `is ${JSON.stringify(value)}, expected a list`);
    }
    return (value as readonly LayoutValue[]).map((item, index) => {
      const where = `${this.#where}.${name}[${index}]`;
      if (typeof item !== "object" || Array.isArray(item)) {
        throw new InputError(`${where} is ${JSON.stringify(item)}, expected an object`);
      }
      return new FieldTaker(item as LayoutFields, where);
    });
  }

  /** An error about a field. */
  error(name: string, what: string): InputError {
    return new InputError(`${this.#where}.${name} ${what}`);
  }

  /** @throws InputError for a field that nobody took */
  done(): void {
    const unknown = Object.keys(this.#fields).find((name) => !this.#taken.includes(name));
    if (unknown !== undefined) {
      throw new InputError(
        `${this.#where} has no field ${JSON.stringify(unknown)}, expected ${this.#taken.join(", ")}`,
      );
    }
  }
}
