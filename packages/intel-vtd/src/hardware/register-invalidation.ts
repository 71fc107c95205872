import { type Digest, type Digestible, bits32 } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import { GRANULARITY_DOMAIN, GRANULARITY_GLOBAL, GRANULARITY_SELECTIVE } from "../layout/descriptor.ts";
import type { TranslationCaches } from "./translation-caches.ts";

const START = 0x80000000;
/** From this version on the registers do nothing. */
const QUEUE_ONLY_VERSION = 6;

/**
 * The invalidation registers of old: CCMD, and IVA with IOTLB. They work in legacy mode while the queue is off, at once;
 * where they do not, the command ends with an actual granularity of 0.
 *
 * Source: VT-d 5.10 §6.5.1, §11.4.6.
 */
export class RegisterInvalidation implements Digestible {
  readonly #caps: Capabilities;
  readonly #caches: TranslationCaches;
  readonly #allowed: () => boolean;
  #contextLo = 0;
  #contextHi = 0;
  #addressLo = 0;
  #addressHi = 0;
  #iotlbLo = 0;
  #iotlbHi = 0;

  /**
   * @param majorVersion of the architecture
   * @param legacyWithoutQueue TTM is that of legacy mode and QIES=0
   */
  constructor(caps: Capabilities, caches: TranslationCaches, majorVersion: number, legacyWithoutQueue: () => boolean) {
    this.#caps = caps;
    this.#caches = caches;
    this.#allowed = () => majorVersion < QUEUE_ONLY_VERSION && legacyWithoutQueue();
  }

  /** CCMD as halves. */
  get contextCommand(): readonly [lo: number, hi: number] {
    return [this.#contextLo, this.#contextHi];
  }

  /** IVA as halves. */
  get address(): readonly [lo: number, hi: number] {
    return [this.#addressLo, this.#addressHi];
  }

  /** IOTLB as halves. */
  get iotlbCommand(): readonly [lo: number, hi: number] {
    return [this.#iotlbLo, this.#iotlbHi];
  }

  /** Writes CCMD; ICC starts the invalidation. */
  writeContextCommand(lo: number, hi: number): void {
    const asked = bits32(hi, 30, 29);
    const done = hi >= START && this.#allowed() ? this.#contexts(asked, lo, hi) : 0;
    this.#contextLo = lo;
    this.#contextHi = hi >= START ? ((hi & 0x67ffffff) | (done << 27)) >>> 0 : hi;
  }

  /** Writes IVA. */
  writeAddress(lo: number, hi: number): void {
    this.#addressLo = (lo & 0xfffff07f) >>> 0;
    this.#addressHi = hi;
  }

  /** Writes IOTLB; IVT starts the invalidation. */
  writeIotlbCommand(lo: number, hi: number): void {
    const asked = bits32(hi, 29, 28);
    const done = hi >= START && this.#allowed() ? this.#translations(asked, hi & 0xffff) : 0;
    this.#iotlbLo = lo;
    this.#iotlbHi = hi >= START ? ((hi & 0x79ffffff) | (done << 25)) >>> 0 : hi;
  }

  digest(into: Digest): void {
    for (const value of [
      this.#contextLo,
      this.#contextHi,
      this.#addressLo,
      this.#addressHi,
      this.#iotlbLo,
      this.#iotlbHi,
    ]) {
      into.number(value);
    }
  }

  /** @returns the granularity done, 0 = none */
  #contexts(granularity: number, lo: number, hi: number): number {
    switch (granularity) {
      case GRANULARITY_GLOBAL:
        this.#caches.clearContexts();
        break;
      case GRANULARITY_DOMAIN:
        this.#caches.invalidateContextsOfDomain(lo & 0xffff);
        break;
      case GRANULARITY_SELECTIVE:
        this.#caches.invalidateContextsOfDevice(lo >>> 16, hi & 3, lo & 0xffff);
        break;
      default:
    }
    return granularity;
  }

  /** @returns the granularity done, 0 = none */
  #translations(granularity: number, domainId: number): number {
    const order = this.#addressLo & 0x3f;
    switch (granularity) {
      case GRANULARITY_GLOBAL:
        this.#caches.clearTranslations();
        break;
      case GRANULARITY_DOMAIN:
        this.#caches.invalidateDomain(domainId);
        break;
      case GRANULARITY_SELECTIVE: {
        if (!this.#caps.psi || order > this.#caps.mamv) {
          return 0;
        }
        const page = this.#addressHi * 2 ** 20 + (this.#addressLo >>> 12);
        this.#caches.invalidatePages(domainId, page, order, (this.#addressLo & 0x40) !== 0);
        break;
      }
      default:
    }
    return granularity;
  }
}
