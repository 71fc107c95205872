import { TranslateResult } from "@iommu-lab/pci";
import { EVENT, eventName } from "../layout/event-record.ts";
import type { FaultReporter } from "./fault-reporter.ts";
import type { FaultSite } from "./fault-site.ts";
import type { Request } from "./request.ts";

/** Faults of the translation itself, which CD.A, CD.R and CD.S are about. Source: SMMUv3 §5.5. */
export function isTranslationFault(event: number): boolean {
  return event >= EVENT.F_TRANSLATION && event <= EVENT.F_PERMISSION;
}

/**
 * What is said to a request, with its record. One result object, reused.
 *
 * A transaction that is terminated with abort is answered UR here; on PCIe the root complex makes UR or CA of it.
 */
export class Answers {
  /** The answer. */
  readonly result: TranslateResult = new TranslateResult();
  readonly #faults: FaultReporter;
  readonly #site: FaultSite;

  constructor(faults: FaultReporter, site: FaultSite) {
    this.#faults = faults;
    this.#site = site;
  }

  /** Terminates with abort. @param record the architecture wants a record */
  abort(request: Request, event: number, record: boolean): TranslateResult {
    const recorded = this.#faults.report(request, event, this.#site, record);
    return this.result.refuse("UR", eventName(event), recorded);
  }

  /** Answers a Translation Request with CA. */
  completerAbort(request: Request, event: number, record: boolean): TranslateResult {
    const recorded = this.#faults.report(request, event, this.#site, record);
    return this.result.refuse("CA", eventName(event), recorded);
  }

  /** Terminates as RAZ/WI: a read gives zero, a write goes nowhere, and the sender sees no error. */
  ignore(request: Request, event: number, record: boolean): TranslateResult {
    const recorded = this.#faults.report(request, event, this.#site, record);
    this.result.refuse("UR", eventName(event), recorded);
    this.result.ignored = true;
    return this.result;
  }

  /** The request waits for software. @param tag what names it until then */
  stall(event: number, tag: number): TranslateResult {
    this.result.reset();
    this.result.status = "pending";
    this.result.stallTag = tag;
    this.result.fault = eventName(event);
    this.result.recorded = true;
    return this.result;
  }

  /** Terminates without an event. */
  silent(request: Request, name: string): TranslateResult {
    this.#faults.silent(request, name, this.#site.address);
    return this.result.refuse("UR", name, false);
  }
}
