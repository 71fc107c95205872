import type { ConfigSpace } from "../config-space/config-space.ts";
import { EXT_CAP_ID_AER } from "../config-space/extended-layouts.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import type { TlpHeader } from "./tlp-header.ts";

const DEVICE_STATUS = 0xa;
const STATUS = 4;
const MASK = 8;
const SEVERITY = 0xc;
const CONTROL = 0x18;
const HEADER_LOG = 0x1c;
const PREFIX_LOG = 0x38;
const PREFIX_LOG_PRESENT = 0x800;
const DEVICE_CAPABILITIES_2 = 0x24;
const END_END_PREFIX = 0x20_0000;
const NON_FATAL_DETECTED = 2;
const FATAL_DETECTED = 4;
const UNSUPPORTED_REQUEST_DETECTED = 8;

/** Uncorrectable errors that the fabric finds, by their bit in the AER status register (PCIe 6.0 §7.8.4.2). */
export const AER_ERROR = {
  /** A request got no completion. */
  completionTimeout: 14,
  /** A completer gave CA. */
  completerAbort: 15,
  /** A completion that nobody asked for. */
  unexpectedCompletion: 16,
  /** A TLP that the receiver cannot read, such as a prefix it does not support. */
  malformedTlp: 18,
  /** A request that the completer does not take. */
  unsupportedRequest: 20,
  /** ACS blocked it. */
  acsViolation: 21,
} as const;

/** One of {@link AER_ERROR}. */
export type AerError = (typeof AER_ERROR)[keyof typeof AER_ERROR];

/** Told about an error that a function found. */
export type ErrorListener = (error: AerError, fatal: boolean) => void;

/**
 * Where a function notes uncorrectable errors: Device Status and, with AER, status bit, first error pointer, header log and
 * prefix log. A masked error sets its status bit and nothing more. The logs keep the first error until software clears its
 * bit. The prefix log belongs to functions that support End-End prefixes.
 *
 * Source: PCIe 6.0 §6.2.4, §7.8.4.
 */
export class ErrorLog {
  readonly #config: ConfigSpace;
  readonly #aer: number;
  readonly #pcie: number;
  #listeners: readonly ErrorListener[] = [];

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#aer = config.findExtendedCapability(EXT_CAP_ID_AER);
    this.#pcie = config.findCapability(CAP_ID_EXP);
  }

  /** End-End TLP Prefix Supported (Device Capabilities 2). */
  get supportsPrefix(): boolean {
    return (
      this.#pcie !== 0 &&
      (this.#config.read8(this.#pcie + 2) & 0xf) >= 2 &&
      (this.#config.read32(this.#pcie + DEVICE_CAPABILITIES_2) & END_END_PREFIX) !== 0
    );
  }

  /** Calls `listener` for every error that is not masked. @returns its removal */
  onError(listener: ErrorListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /**
   * Notes an error.
   *
   * @param header the TLP at fault
   * @param prefix its End-End prefix, 0 = none
   */
  note(error: AerError, header: TlpHeader, prefix: number): void {
    const bit = 2 ** error;
    const masked = this.#aer !== 0 && (this.#config.read32(this.#aer + MASK) & bit) !== 0;
    const fatal = this.#aer !== 0 && (this.#config.read32(this.#aer + SEVERITY) & bit) !== 0;
    if (this.#pcie !== 0) {
      const at = this.#pcie + DEVICE_STATUS;
      const unsupported = error === AER_ERROR.unsupportedRequest ? UNSUPPORTED_REQUEST_DETECTED : 0;
      this.#config.poke8(at, this.#config.read8(at) | unsupported | (fatal ? FATAL_DETECTED : NON_FATAL_DETECTED));
    }
    if (this.#aer !== 0) {
      this.#log(error, bit, masked, header, prefix);
    }
    if (!masked) {
      for (const listener of this.#listeners) {
        listener(error, fatal);
      }
    }
  }

  #log(error: AerError, bit: number, masked: boolean, header: TlpHeader, prefix: number): void {
    const at = this.#aer;
    const before = this.#config.read32(at + STATUS);
    this.#config.poke32(at + STATUS, (before | bit) >>> 0);
    const control = this.#config.read32(at + CONTROL);
    const pending = (before & (1 << (control & 0x1f))) !== 0;
    if (masked || pending) {
      return;
    }
    const hasPrefix = prefix === 0 || !this.supportsPrefix ? 0 : PREFIX_LOG_PRESENT;
    this.#config.poke32(at + CONTROL, ((control & ~(0x1f | PREFIX_LOG_PRESENT)) | error | hasPrefix) >>> 0);
    for (const [index, word] of header.entries()) {
      this.#config.poke32(at + HEADER_LOG + 4 * index, word);
    }
    if (hasPrefix !== 0) {
      this.#config.poke32(at + PREFIX_LOG, prefix);
    }
  }
}
