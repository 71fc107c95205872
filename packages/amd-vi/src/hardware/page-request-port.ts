import type { IommuHardware, PageRequest, RootComplex } from "@iommu-lab/pci";
import { NO_PASID } from "@iommu-lab/pci";
import { encodeInvalidPprRequest } from "../layout/event.ts";
import { encodePprEntry } from "../layout/ppr-log-entry.ts";
import { CONTROL_BIT } from "../layout/registers.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceTable } from "./device-table.ts";
import type { LogBuffer } from "./log-buffer.ts";

/** Code of a PRG Response: Invalid Request. */
const INVALID_REQUEST = 1;

/** What taking page requests needs. */
export interface PageRequestParts {
  readonly unit: IommuHardware;
  readonly control: ControlRegister;
  readonly table: DeviceTable;
  readonly root: RootComplex;
  readonly events: LogBuffer;
  readonly requests: LogBuffer;
  /** PPRAutoRspSup. */
  readonly autoResponse: boolean;
  /** Code of automatic responses, from the PPR Auto Response register. */
  autoResponseCode(): number;
}

/**
 * Takes page requests: into the PPR log when the DTE allows them, else INVALID_PPR_REQUEST and an Invalid Request response
 * to the last of a group. When the log has stopped the request is lost, or with PprAutoRspEn answered by the unit itself.
 *
 * Source: AMD IOMMU specification §2.6; the response is unconfirmed.
 */
export class PageRequestPort {
  readonly #parts: PageRequestParts;

  constructor(parts: PageRequestParts) {
    this.#parts = parts;
  }

  /** A page request arrived. */
  receive(request: PageRequest): void {
    const { unit, root, control, table, requests, autoResponse } = this.#parts;
    const entry = table.fetch(request.rid);
    const taken = entry !== undefined && entry.valid && entry.translationValid && entry.pageRequests;
    if (!control.enabled || !control.has(CONTROL_BIT.PPREn) || !taken) {
      this.#refuse(request);
      return;
    }
    const { rid, pasid, groupIndex, last, read, write, page } = request;
    const who = pasid === NO_PASID ? {} : { pasid };
    const logged = requests.append(encodePprEntry({ deviceId: rid, ...who, groupIndex, last, read, write, page }));
    const answers = autoResponse && (logged ? "PprAutoRspAlwaysOn" : "PprAutoRspEn");
    if (last && answers !== false && control.has(CONTROL_BIT[answers])) {
      root.sendPageResponse(unit, rid, pasid, groupIndex, this.#parts.autoResponseCode());
    }
  }

  #refuse({ rid, pasid, groupIndex, last, page }: PageRequest): void {
    const { unit, root, events } = this.#parts;
    const who = pasid === NO_PASID ? undefined : pasid;
    const lo = ((page % 2 ** 20) * 4096) >>> 0;
    events.append(encodeInvalidPprRequest(rid, who, groupIndex, lo, Math.floor(page / 2 ** 20)));
    if (last) {
      root.sendPageResponse(unit, rid, pasid, groupIndex, INVALID_REQUEST);
    }
  }
}
