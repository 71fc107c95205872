import type { IommuHardware, PageRequest, RootComplex, Rid } from "@iommu-lab/pci";
import { NO_PASID } from "@iommu-lab/pci";
import type { Identification } from "../layout/id-registers.ts";
import { encodePageRequest } from "../layout/page-request-record.ts";
import type { ConfigLookup } from "./config-lookup.ts";
import type { RecordQueue } from "./record-queue.ts";

/** What page requests pass through. */
export interface PageRequestPortParts {
  readonly smmu: IommuHardware;
  readonly id: Identification;
  readonly lookup: ConfigLookup;
  readonly root: RootComplex;
  readonly queue: RecordQueue;
  readonly streamIdOf: (rid: Rid) => number;
}

/** PRG Response codes. Source: PCIe 6.0 §10.4.2. */
const SUCCESS = 0;
const FAILURE = 15;

/**
 * Page requests: into the queue, or answered by hardware where the queue cannot take them. Neither ATSCHK nor EATS
 * matters.
 *
 * Source: SMMUv3 §8.
 */
export class PageRequestPort {
  readonly #parts: PageRequestPortParts;

  constructor(parts: PageRequestPortParts) {
    this.#parts = parts;
  }

  /** A Page Request arrived. */
  receive(request: PageRequest): void {
    const { rid, pasid, read, write, last, groupIndex, page } = request;
    const record = encodePageRequest({
      sid: this.#parts.streamIdOf(rid),
      ...(pasid === NO_PASID ? {} : { ssid: pasid }),
      read,
      write,
      last,
      prgIndex: groupIndex,
      privileged: request.privileged === true,
      execute: request.execute === true,
      page,
    });
    const outcome = this.#parts.queue.write(record);
    const stopMarker = last && !read && !write && pasid !== NO_PASID;
    if (outcome === "written" || !last || stopMarker) {
      return;
    }
    if (outcome === "disabled") {
      this.#respond(request, NO_PASID, FAILURE);
    } else {
      this.#respondToOverflow(request);
    }
  }

  /** Source: SMMUv3 §8.2: whether the answer carries the PASID depends on PPS, or on the stream's PPAR. */
  #respondToOverflow(request: PageRequest): void {
    const { id, lookup, streamIdOf } = this.#parts;
    if (request.pasid === NO_PASID || id.pagePrgPasid) {
      this.#respond(request, request.pasid, SUCCESS);
      return;
    }
    const missing = lookup.findStream(streamIdOf(request.rid)) !== 0;
    const { stream } = lookup;
    if (missing || stream.rule !== 0) {
      this.#respond(request, NO_PASID, FAILURE);
    } else {
      this.#respond(request, stream.echoesPasid ? request.pasid : NO_PASID, SUCCESS);
    }
  }

  #respond(request: PageRequest, pasid: number, code: number): void {
    const { root, smmu } = this.#parts;
    root.sendPageResponse(smmu, request.rid, pasid, request.groupIndex, code);
  }
}
