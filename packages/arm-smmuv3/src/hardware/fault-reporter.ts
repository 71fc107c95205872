import { type PhysicalMemory, type Trace, type Words, newWords } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { EVENT, EVENT_CLASS, type EventFields, encodeEvent, eventName } from "../layout/event-record.ts";
import type { FaultSite } from "./fault-site.ts";
import type { RecordQueue } from "./record-queue.ts";
import type { Request } from "./request.ts";

/** Code of a termination that has no event. */
const SILENT = "0x00";

/**
 * Turns a refused request into an event record in memory and a `fault` event of the trace.
 *
 * Source: SMMUv3 §7.3.
 */
export class FaultReporter {
  readonly #name: string;
  readonly #memory: PhysicalMemory;
  readonly #trace: Trace;
  readonly #events: RecordQueue;
  readonly #record = newWords(4);

  constructor(name: string, memory: PhysicalMemory, trace: Trace, events: RecordQueue) {
    this.#name = name;
    this.#memory = memory;
    this.#trace = trace;
    this.#events = events;
  }

  /**
   * Reports an event.
   *
   * @param record whether the architecture wants a record
   * @returns whether one was written
   */
  report(request: Request, event: number, site: FaultSite, record: boolean): boolean {
    const written =
      record && this.#events.write(encodeEvent(fieldsOf(request, event, site), this.#record)) === "written";
    this.#tell(request, codeOf(event), eventName(event), written, site.address);
    return written;
  }

  /** Reports a termination without an event. */
  silent(request: Request, name: string, address: number): void {
    this.#tell(request, SILENT, name, false, address);
  }

  /** The record of a stalled transaction; the trace hears of it at once. */
  stallRecord(request: Request, event: number, site: FaultSite, stallTag: number): Words {
    this.#tell(request, codeOf(event), `${eventName(event)}, stalled`, true, site.address);
    return encodeEvent({ ...fieldsOf(request, event, site), stallTag });
  }

  /** Writes the record of a stalled transaction. @returns false while there is no room */
  writeStall(record: Words): boolean {
    return this.#events.offer(record);
  }

  #tell(request: Request, code: string, name: string, recorded: boolean, address: number): void {
    if (!this.#trace.active) {
      return;
    }
    const { rid, pasid, page } = request;
    const table = address === 0 ? 0 : this.#memory.writerOf(address);
    const substream = pasid === NO_PASID ? {} : { pasid };
    this.#trace.emit("fault", { iommu: this.#name, rid, ...substream, page, code, name, recorded, table });
  }
}

function codeOf(event: number): string {
  return `0x${event.toString(16).padStart(2, "0")}`;
}

/** Which fields an event has. */
function fieldsOf(request: Request, id: number, site: FaultSite): EventFields {
  const { sid, pasid, page, offset } = request;
  const substream = pasid === NO_PASID ? {} : { ssid: pasid };
  const access = {
    read: !request.write,
    privileged: request.privileged,
    instruction: request.instruction,
    page,
    offset,
    stage2: site.stage2,
    class: site.class,
  };
  switch (id) {
    case EVENT.F_STREAM_DISABLED:
      return { id, sid };
    case EVENT.F_TRANSL_FORBIDDEN:
      return { id, sid, read: !request.write, page, offset };
    case EVENT.F_BAD_ATS_TREQ:
      return { id, sid, ...substream, page, offset };
    case EVENT.F_STE_FETCH:
    case EVENT.F_CD_FETCH:
      return { id, sid, ...substream, fetchAddress: site.address };
    case EVENT.F_WALK_EABT:
      return { id, sid, ...substream, ...access, fetchAddress: site.address };
    case EVENT.F_TRANSLATION:
    case EVENT.F_ADDR_SIZE:
    case EVENT.F_ACCESS:
      return { id, sid, ...substream, ...access, ...intermediate(site) };
    case EVENT.F_PERMISSION:
      return {
        id,
        sid,
        ...substream,
        ...access,
        ...intermediate(site),
        tableRead: site.class === EVENT_CLASS.tt && site.tableRead,
      };
    default:
      return { id, sid, ...substream };
  }
}

/** Faults of stage 2 have the intermediate address. */
function intermediate(site: FaultSite): { readonly ipa?: number } {
  return site.stage2 ? { ipa: site.ipa } : {};
}
