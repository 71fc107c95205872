import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, type Rid, type TranslateResult } from "@iommu-lab/pci";
import type { AtsRequests } from "./ats-requests.ts";
import type { FaultSite } from "./fault-site.ts";
import { Request } from "./request.ts";
import type { UntranslatedRequests } from "./untranslated-requests.ts";

/** What judges requests. */
export interface RequestPortParts {
  readonly untranslated: UntranslatedRequests;
  readonly ats: AtsRequests;
  readonly site: FaultSite;
  /** StreamID of a requester ID. */
  readonly streamIdOf: (rid: Rid) => number;
}

/**
 * The fate of every memory request, by its Address Type. Judging one is atomic, and allocates nothing while caches hit
 * and nobody listens.
 */
export class RequestPort {
  readonly #untranslated: UntranslatedRequests;
  readonly #ats: AtsRequests;
  readonly #site: FaultSite;
  readonly #streamIdOf: (rid: Rid) => number;
  readonly #request = new Request();

  constructor(parts: RequestPortParts) {
    this.#untranslated = parts.untranslated;
    this.#ats = parts.ats;
    this.#site = parts.site;
    this.#streamIdOf = parts.streamIdOf;
  }

  /** Judges one request. See {@link IommuHardware.translate}. */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    const request = this.#request;
    request.set(rid, this.#streamIdOf(rid), pasid, page, offset, flags);
    this.#site.reset();
    switch (request.type) {
      case AT_TRANSLATION_REQUEST:
        return this.#ats.translationRequest(request);
      case AT_TRANSLATED:
        return this.#ats.translated(request);
      default:
        return this.#untranslated.judge(request);
    }
  }
}
