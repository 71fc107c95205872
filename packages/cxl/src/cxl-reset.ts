import type { Clock, Digest, Engine } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import { CXL_DVSEC_DEVICE, CXL_DVSEC_FUNCTION_MAP, DVSEC_VENDOR_CXL, type Endpoint } from "@iommu-lab/pci";

const CONTROL2 = 0x10;
const DISABLE_CACHING = 1;
const INITIATE_WRITEBACK = 2;
const INITIATE_RESET = 4;
const STATUS2 = 0x12;
const CACHE_INVALID = 1;
const RESET_COMPLETE = 2;
const RESET_ERROR = 4;
const FUNCTION_MAP = 0xc;
const MS = 1_000_000;

/** How long a CXL device takes for what software starts in its DVSEC. */
export interface CxlResetTimes {
  /** Writeback and invalidation of its cache, in ns. Default 1 ms. */
  readonly writebackNs?: number;
  /** CXL reset, in ns. Default 10 ms, the shortest timeout a device can advertise. */
  readonly resetNs?: number;
}

/**
 * What the PCIe DVSEC of a CXL device starts: writeback and invalidation of the cache, and CXL reset. A CXL reset takes
 * the registers, CXL.cache and CXL.mem state of all functions of the device that its Non-CXL Function Map does not except;
 * configuration requests are answered meanwhile, so that software sees Reset_Complete or Reset_Error.
 *
 * Source: CXL 3.1 §9.7, §8.1.3.4; which registers survive is unconfirmed.
 */
export class CxlReset implements Engine {
  readonly name: string;
  /** Set it, and the next reset ends in Reset_Error. */
  fails = false;
  readonly #endpoint: Endpoint;
  readonly #functions: () => readonly Endpoint[];
  readonly #clock: Clock;
  readonly #dvsec: number;
  readonly #writebackNs: number;
  readonly #resetNs: number;
  #writtenBackAt = Infinity;
  #resetAt = Infinity;

  /**
   * @param endpoint the function with the DVSEC
   * @param functions all functions of the device, this one included
   * @throws InputError when it has no CXL device DVSEC
   */
  constructor(endpoint: Endpoint, functions: () => readonly Endpoint[], clock: Clock, times: CxlResetTimes = {}) {
    this.name = `${endpoint.name} CXL reset`;
    this.#endpoint = endpoint;
    this.#functions = functions;
    this.#clock = clock;
    this.#writebackNs = times.writebackNs ?? MS;
    this.#resetNs = times.resetNs ?? 10 * MS;
    this.#dvsec = endpoint.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE);
    if (this.#dvsec === 0) {
      throw new InputError(`${endpoint.name} has no CXL device DVSEC`);
    }
    endpoint.config.onWrite((offset, size, before, after, started) => {
      const index = this.#dvsec + CONTROL2 - offset;
      if (index >= 0 && index < size) {
        this.#written(before >>> (8 * index), after >>> (8 * index), started >>> (8 * index));
      }
    });
  }

  /** Whether a CXL reset is under way. */
  get resetting(): boolean {
    return this.#clock.now < this.#resetAt && this.#resetAt !== Infinity;
  }

  ready(): boolean {
    return this.#clock.now >= this.deadline();
  }

  step(): void {
    if (this.#clock.now >= this.#resetAt) {
      this.#resetAt = Infinity;
      this.#setStatus(this.fails ? RESET_ERROR : RESET_COMPLETE, true);
      this.fails = false;
    } else if (this.#clock.now >= this.#writtenBackAt) {
      this.#writtenBackAt = Infinity;
      this.#setStatus(CACHE_INVALID, true);
    }
  }

  deadline(): number {
    return Math.min(this.#writtenBackAt, this.#resetAt);
  }

  /** Writes what is under way. */
  digest(into: Digest): void {
    into.number(this.#writtenBackAt);
    into.number(this.#resetAt);
    into.number(this.fails ? 1 : 0);
  }

  #written(before: number, after: number, started: number): void {
    if ((started & INITIATE_WRITEBACK) !== 0) {
      this.#writtenBackAt = this.#clock.now + this.#writebackNs;
    }
    if ((before & DISABLE_CACHING) !== 0 && (after & DISABLE_CACHING) === 0) {
      this.#setStatus(CACHE_INVALID, false);
    }
    if ((started & INITIATE_RESET) !== 0) {
      this.#begin();
    }
  }

  #begin(): void {
    this.#writtenBackAt = Infinity;
    this.#resetAt = this.#clock.now + this.#resetNs;
    this.#setStatus(CACHE_INVALID | RESET_COMPLETE | RESET_ERROR, false);
    for (const endpoint of this.#functions()) {
      if (this.#takesPart(endpoint)) {
        endpoint.reset("cxl");
      }
    }
  }

  /** A function number is a device number (the bit) and a function (the register), with ARI too. Unconfirmed. */
  #takesPart({ rid }: Endpoint): boolean {
    const { config } = this.#endpoint;
    const map = config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_FUNCTION_MAP);
    return map === 0 || ((config.read32(map + FUNCTION_MAP + 4 * (rid & 7)) >>> ((rid >>> 3) & 0x1f)) & 1) === 0;
  }

  #setStatus(mask: number, on: boolean): void {
    const at = this.#dvsec + STATUS2;
    const status = this.#endpoint.config.read16(at);
    this.#endpoint.config.poke16(at, on ? status | mask : status & ~mask);
  }
}
