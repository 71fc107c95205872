import { DmaResult, TranslationResult } from "../fabric/outcome.ts";
import { AT_TRANSLATED, AT_UNTRANSLATED, NO_PASID, REQUEST_NO_WRITE, REQUEST_WRITE } from "../fabric/request.ts";
import type { Atc } from "./atc.ts";
import type { Dma } from "./dma.ts";
import type { Finished, InFlight, InFlightRequest, UsedTranslation } from "./in-flight.ts";
import { type Sender, checkOffset } from "./sender.ts";
import { type TranslationOptions, requestFlags } from "./translations.ts";
import type { Translator } from "./translator.ts";

/** How a request is queued. */
export interface QueueOptions extends TranslationOptions {
  /** The PASID; none at first. */
  readonly pasid?: number;
  /** Traffic class, 0 … 7; 0 at first. */
  readonly trafficClass?: number;
}

/**
 * Begins requests that finish in the function's later steps: writes that wait for their turn to leave, and reads and
 * Translation Requests whose completion is on its way. How a request reaches memory is decided when it begins.
 *
 * Source: PCIe 6.0 §2.4.1, §10.3.2.
 */
export interface RequestQueue {
  /**
   * A write of 4 bytes, Translated where the ATC permits it. What holds the function back when its turn comes drops it.
   *
   * @returns the request; undefined when it could not begin
   */
  write(page: number, offset: number, value: number, options?: QueueOptions): InFlightRequest | undefined;
  /** A read of 4 bytes. It reads when it begins; the data come when it ends. @returns undefined when it could not begin */
  read(page: number, offset: number, options?: QueueOptions): InFlightRequest | undefined;
  /**
   * A Translation Request. The IOMMU answers when it begins; the ATC takes the answer when it ends, unless an Invalidate
   * Request for the range came between.
   *
   * Source: PCIe 6.0 §10.3.2.
   *
   * @returns undefined when it could not begin
   */
  translation(page: number, options?: QueueOptions): InFlightRequest | undefined;
}

/** {@link RequestQueue} over the parts of a function. */
export class QueuedRequests implements RequestQueue {
  readonly #inFlight: InFlight;
  readonly #sender: Sender;
  readonly #dma: Dma;
  readonly #translator: Translator;
  readonly #atc: Atc;

  constructor(inFlight: InFlight, sender: Sender, dma: Dma, translator: Translator, atc: Atc) {
    this.#inFlight = inFlight;
    this.#sender = sender;
    this.#dma = dma;
    this.#translator = translator;
    this.#atc = atc;
  }

  write(page: number, offset: number, value: number, options: QueueOptions = {}): InFlightRequest | undefined {
    const { pasid = NO_PASID, trafficClass = 0 } = options;
    checkOffset(offset);
    const flags = REQUEST_WRITE | requestFlags(options);
    const plan = this.#dma.plan(page, flags, pasid);
    if (plan === undefined) {
      return undefined;
    }
    const type = plan.translated ? AT_TRANSLATED | REQUEST_WRITE : AT_UNTRANSLATED | flags;
    const used = plan.translated ? this.#used(page, pasid) : undefined;
    const { page: to, pasid: carried } = plan;
    const result = new DmaResult();
    return this.#inFlight.begin("write", trafficClass, used, () =>
      finished(this.#sender.memory(to, offset, type, value, carried, result)),
    );
  }

  read(page: number, offset: number, options: QueueOptions = {}): InFlightRequest | undefined {
    const { pasid = NO_PASID, trafficClass = 0 } = options;
    checkOffset(offset);
    const flags = requestFlags(options) & ~REQUEST_NO_WRITE;
    const plan = this.#dma.plan(page, flags, pasid);
    if (plan === undefined) {
      return undefined;
    }
    const type = plan.translated ? AT_TRANSLATED : AT_UNTRANSLATED | flags;
    const used = plan.translated ? this.#used(page, pasid) : undefined;
    const result = new DmaResult();
    this.#sender.memory(plan.page, offset, type, 0, plan.pasid, result);
    return result.sent ? this.#inFlight.begin("read", trafficClass, used, () => finished(result)) : undefined;
  }

  translation(page: number, options: QueueOptions = {}): InFlightRequest | undefined {
    const { pasid = NO_PASID, trafficClass = 0 } = options;
    const result = new TranslationResult();
    if (!this.#translator.ask(page, pasid, requestFlags(options), result)) {
      return undefined;
    }
    const { sizeLog2, global } = result;
    const used = { page: page - (page % 2 ** (sizeLog2 - 12)), sizeLog2, pasid, global };
    return this.#inFlight.begin("translation", trafficClass, used, (stale) => {
      if (stale) {
        return { status: result.status, reason: "invalidated on its way", dropped: true };
      }
      this.#translator.take(result, pasid);
      return { status: result.status, reason: result.fault };
    });
  }

  #used(page: number, pasid: number): UsedTranslation {
    const hit = this.#atc.lookup(page, pasid);
    const sizeLog2 = hit?.sizeLog2 ?? 12;
    return { page: page - (page % 2 ** (sizeLog2 - 12)), sizeLog2, pasid, global: hit?.global ?? false };
  }
}

function finished(result: DmaResult): Finished {
  return result.sent
    ? { status: result.status, value: result.value, reason: result.fault }
    : { status: result.status, reason: result.reason, dropped: true };
}
