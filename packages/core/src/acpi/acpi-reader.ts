import { InputError } from "../sim/errors.ts";

/**
 * Reads little-endian fields of an ACPI table at given offsets. Every read is bounded: what lies beyond the end is an
 * {@link InputError} with the offset.
 */
export class AcpiReader {
  /** The bytes, from the table's first. */
  readonly bytes: Uint8Array;
  /** The file, named in errors. */
  readonly file: string | undefined;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, file?: string) {
    this.bytes = bytes;
    this.file = file;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Number of bytes. */
  get length(): number {
    return this.bytes.length;
  }

  /** A byte. */
  u8(offset: number): number {
    this.#need(offset, 1);
    return this.#view.getUint8(offset);
  }

  /** 16 bits. */
  u16(offset: number): number {
    this.#need(offset, 2);
    return this.#view.getUint16(offset, true);
  }

  /** 32 bits. */
  u32(offset: number): number {
    this.#need(offset, 4);
    return this.#view.getUint32(offset, true);
  }

  /** 64 bits. */
  u64(offset: number): bigint {
    this.#need(offset, 8);
    return this.#view.getBigUint64(offset, true);
  }

  /**
   * 64 bits that hold an address or a size.
   *
   * @throws InputError above 2^53, which no physical address here reaches
   */
  address(offset: number): number {
    const value = this.u64(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.error(offset, `0x${value.toString(16)} is no physical address: at most 52 bits are taken`);
    }
    return Number(value);
  }

  /** `length` bytes of ASCII; trailing NULs are dropped, other unprintable characters become `.`. */
  text(offset: number, length: number): string {
    this.#need(offset, length);
    let end = offset + length;
    while (end > offset && this.bytes[end - 1] === 0) {
      end -= 1;
    }
    return Array.from(this.bytes.subarray(offset, end), (code) =>
      code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : ".",
    ).join("");
  }

  /** `length` bytes, not copied. */
  slice(offset: number, length: number): Uint8Array {
    this.#need(offset, length);
    return this.bytes.subarray(offset, offset + length);
  }

  /** An error at an offset of this table. */
  error(offset: number, what: string): InputError {
    return new InputError(what, this.file === undefined ? { offset } : { file: this.file, offset });
  }

  #need(offset: number, count: number): void {
    if (offset < 0 || offset + count > this.bytes.length) {
      throw this.error(offset, `${count} bytes wanted, the table ends at 0x${this.bytes.length.toString(16)}`);
    }
  }
}
