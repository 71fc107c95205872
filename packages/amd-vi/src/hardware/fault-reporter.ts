import type { PhysicalMemory, Trace } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { eventName } from "../layout/event-text.ts";
import { EVENT, encodeEvent } from "../layout/event.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { LogBuffer } from "./log-buffer.ts";
import type { Request } from "./request.ts";

/** What went wrong with a request. */
export interface Fault {
  /** One of {@link EVENT}. */
  readonly code: number;
  /** Flags and type of word 1 of the event. */
  readonly flags: number;
  /** DomainID of the event; for guest accesses the PASID stands instead. */
  readonly domainId: number;
  /** The PASID of the event; undefined = the request had none. */
  readonly pasid: number | undefined;
  /** Address of the table entry at fault. */
  readonly line: number;
  /** The address in the event when it is not the request's: that of a table entry. */
  readonly address?: number;
  /** No event is due. */
  readonly silent?: boolean;
}

/** A request that is refused; what is left out comes from the request and its DTE. */
export type Refusal = Pick<Fault, "code" | "flags"> & Partial<Fault>;

/** Writes events of requests into the event log and tells the trace. */
export class FaultReporter {
  readonly #name: string;
  readonly #memory: PhysicalMemory;
  readonly #trace: Trace;
  readonly #log: LogBuffer;

  constructor(name: string, memory: PhysicalMemory, trace: Trace, log: LogBuffer) {
    this.#name = name;
    this.#memory = memory;
    this.#trace = trace;
    this.#log = log;
  }

  /**
   * Reports a refused request. SA and SE of the DTE hold IO_PAGE_FAULTs back.
   *
   * Source: AMD IOMMU specification §2.2.2.1 (SE, SA), §2.5.
   *
   * @returns whether software can read an event of it
   */
  report(request: Request, fault: Fault, dte: FetchedDte | undefined): boolean {
    const recorded = fault.silent !== true && !suppressed(fault.code, dte) && this.#write(request, fault);
    if (this.#trace.active) {
      const { rid, carried, page } = request;
      this.#trace.emit("fault", {
        iommu: this.#name,
        rid,
        ...(carried === NO_PASID ? {} : { pasid: carried }),
        page,
        code: `0x${fault.code.toString(16)}`,
        name: eventName(fault.code),
        recorded,
        table: this.#memory.writerOf(fault.line),
      });
    }
    return recorded;
  }

  #write(request: Request, fault: Fault): boolean {
    const { code, flags, domainId, pasid, address } = fault;
    const lo = address === undefined ? request.lo : address >>> 0;
    const hi = address === undefined ? request.hi : Math.floor(address / 2 ** 32);
    const who = pasid === undefined ? { domainId } : { pasid };
    return this.#log.append(encodeEvent({ code, deviceId: request.rid, ...who, flags, lo, hi }));
  }
}

function suppressed(code: number, dte: FetchedDte | undefined): boolean {
  if (code !== EVENT.IO_PAGE_FAULT || dte === undefined) {
    return false;
  }
  const before = dte.reported;
  dte.reported = true;
  return dte.suppressAll || (dte.suppressFurther && before);
}
