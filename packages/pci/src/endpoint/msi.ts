import type { ConfigSpace } from "../config-space/config-space.ts";
import { CAP_ID_MSI } from "../config-space/standard-layouts.ts";
import type { InterruptMessage } from "./msix-table.ts";

const CONTROL = 2;
const ADDRESS = 4;
const ENABLE = 1;
const ADDRESS_64 = 0x80;
const PER_VECTOR_MASKING = 0x100;

/** The MSI capability of a function. Source: PCIe 6.0 §6.1.4, §7.7.1. */
export class Msi {
  readonly #config: ConfigSpace;
  readonly #at: number;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#at = config.findCapability(CAP_ID_MSI);
  }

  /** MSI Enable. */
  get enabled(): boolean {
    return this.#at !== 0 && (this.#control & ENABLE) !== 0;
  }

  /** How many vectors software gave it. */
  get vectors(): number {
    return 2 ** Math.min((this.#control >>> 4) & 7, 5);
  }

  /** Mask bit of a vector; false without per-vector masking. */
  masked(vector: number): boolean {
    return (this.#control & PER_VECTOR_MASKING) !== 0 && (this.#config.read32(this.#maskAt) & (1 << vector)) !== 0;
  }

  /** Pending bit of a vector. */
  pending(vector: number): boolean {
    return (this.#control & PER_VECTOR_MASKING) !== 0 && (this.#config.read32(this.#maskAt + 4) & (1 << vector)) !== 0;
  }

  /** Sets or clears a pending bit. */
  setPending(vector: number, pending: boolean): void {
    const at = this.#maskAt + 4;
    const bits = this.#config.read32(at);
    this.#config.poke32(at, pending ? bits | (1 << vector) : bits & ~(1 << vector));
  }

  /** The message of a vector: its number stands in the low bits of the data. */
  message(vector: number): InterruptMessage {
    const wide = (this.#control & ADDRESS_64) !== 0;
    const low = this.#config.read32(this.#at + ADDRESS);
    const upper = wide ? this.#config.read32(this.#at + ADDRESS + 4) : 0;
    const data = this.#config.read16(this.#at + (wide ? 0xc : 8));
    const place = this.vectors - 1;
    return { page: upper * 2 ** 20 + (low >>> 12), offset: low & 0xffc, data: (data & ~place) | (vector & place) };
  }

  get #control(): number {
    return this.#config.read16(this.#at + CONTROL);
  }

  get #maskAt(): number {
    return this.#at + ((this.#control & ADDRESS_64) === 0 ? 0xc : 0x10);
  }
}
