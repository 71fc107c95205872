import type { Digest, Digestible } from "@iommu-lab/core";
import type { InterruptSink } from "../interrupt.ts";
import { EVENT_MASK, EVENT_PENDING } from "../layout/registers.ts";

/**
 * Control, data, address and upper address of one event (fault, invalidation, page request). A masked event stays
 * pending and is sent when the mask goes.
 *
 * Source: VT-d 5.10 §11.4.7.2 to §11.4.7.5.
 */
export class EventBlock implements Digestible {
  readonly #sink: InterruptSink;
  #masked = true;
  #pending = false;
  #data = 0;
  #address = 0;
  #upperAddress = 0;

  constructor(sink: InterruptSink) {
    this.#sink = sink;
  }

  /** Reads the register `index`: 0 control, 1 data, 2 address, 3 upper address. */
  read(index: number): number {
    const control = (this.#masked ? EVENT_MASK : 0) + (this.#pending ? EVENT_PENDING : 0);
    return [control, this.#data, this.#address, this.#upperAddress][index] ?? 0;
  }

  /** Writes the register `index`. */
  write(index: number, value: number): void {
    switch (index) {
      case 0:
        this.#masked = value >= EVENT_MASK;
        this.#send();
        break;
      case 1:
        this.#data = value & 0xffff;
        break;
      case 2:
        this.#address = (value & 0xfffffffc) >>> 0;
        break;
      default:
        this.#upperAddress = value;
    }
  }

  /** The event happened. */
  raise(): void {
    this.#pending = true;
    this.#send();
  }

  /** What caused it is gone. */
  clear(): void {
    this.#pending = false;
  }

  digest(into: Digest): void {
    for (let index = 0; index < 4; index += 1) {
      into.number(this.read(index));
    }
  }

  #send(): void {
    if (this.#pending && !this.#masked) {
      this.#pending = false;
      this.#sink.message(this.#upperAddress * 2 ** 32 + this.#address, this.#data);
    }
  }
}
