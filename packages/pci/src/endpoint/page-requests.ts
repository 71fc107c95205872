import type { Digest } from "@iommu-lab/core";
import type { Delivery } from "../fabric/iommu-hardware.ts";
import { NO_PASID } from "../fabric/request.ts";
import type { FunctionRegisters } from "./function-registers.ts";

const SUCCESS = 0;
const INVALID_REQUEST = 1;

/** What a Page Request says besides page and PASID. */
export interface PageRequestOptions {
  /** R: it wants to read. */
  readonly read: boolean;
  /** W: it wants to write. */
  readonly write: boolean;
  /** L: the last request of its group. */
  readonly last: boolean;
  /** PRG Index, 0 … 511. */
  readonly groupIndex: number;
  /** Execute Requested (with a PASID). */
  readonly execute?: boolean;
  /** Privileged Mode Requested (with a PASID). */
  readonly privileged?: boolean;
}

/** What became of a Page Request; the response comes later, to the whole group. */
export interface PageRequestResult {
  /** False when the function did not send it. */
  readonly sent: boolean;
  /** Why it was not sent, `""` when it was. */
  readonly reason: string;
  /** What became of the message. */
  readonly delivery: Delivery;
  /** Id of its `tlp` event, 0 when nobody listened. */
  readonly event: number;
}

/** A PRG Response that came. */
export interface PageResponse {
  /** PRG Index, 0 … 511. */
  readonly groupIndex: number;
  /** 0 Success, 1 Invalid Request, 15 Response Failure. */
  readonly code: number;
}

/** A group whose response has not come. */
interface Group {
  /** PASID of its requests. */
  readonly pasid: number;
  /** Its requests so far. */
  count: number;
  /** The request with L is out. */
  closed: boolean;
}

/**
 * The Page Request Interface of a function: credits, groups that wait, and what responses do. With Enable off it is stopped
 * once nothing waits any more.
 *
 * Source: PCIe 6.0 §10.4, §10.5.2.
 */
export class PageRequests {
  readonly #registers: FunctionRegisters;
  readonly #groups = new Map<number, Group>();
  readonly #responses: PageResponse[] = [];
  #outstanding = 0;

  constructor(registers: FunctionRegisters) {
    this.#registers = registers;
  }

  /** The responses so far, oldest first. */
  get responses(): readonly PageResponse[] {
    return this.#responses;
  }

  /** Requests that hold a credit. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Why a request cannot be sent; `""` = it can. A stop marker needs no credit. */
  refusal(pasid: number, options: PageRequestOptions, obeys: boolean): string {
    if (!obeys) {
      return "";
    }
    if (!this.#registers.priEnabled) {
      return "PRI Enable is 0";
    }
    if (this.#registers.priStopped) {
      return "the page request interface has stopped";
    }
    if (isStopMarker(options)) {
      return pasid === NO_PASID ? "a stop marker needs a PASID" : "";
    }
    if (this.#outstanding >= this.#registers.priAllocation) {
      return "no page request credit is left";
    }
    const group = this.#groups.get(options.groupIndex);
    if (group?.closed === true) {
      return "the group waits for its response";
    }
    return group !== undefined && group.pasid !== pasid ? "the group is of another PASID" : "";
  }

  /** A request left. */
  sent(pasid: number, options: PageRequestOptions): void {
    if (isStopMarker(options)) {
      return;
    }
    this.#outstanding += 1;
    const group = this.#groups.get(options.groupIndex);
    if (group === undefined) {
      this.#groups.set(options.groupIndex, { pasid, count: 1, closed: options.last });
    } else {
      group.count += 1;
      group.closed ||= options.last;
    }
  }

  /**
   * A response came: it frees the group's credits; any code but Success and Invalid Request stops the interface, and what
   * comes after that is ignored. A response that no group waits for sets the unexpected-index bit: an unknown index, a group
   * that is still open, or one of another PASID where responses carry it.
   */
  answered(pasid: number, groupIndex: number, code: number): void {
    if (this.#registers.priFailed) {
      return;
    }
    const group = this.#groups.get(groupIndex);
    if (group === undefined || !group.closed || (this.#registers.priResponsePasid && group.pasid !== pasid)) {
      this.#registers.noteUnexpectedIndex();
      return;
    }
    this.#groups.delete(groupIndex);
    this.#outstanding -= group.count;
    this.#responses.push({ groupIndex, code });
    if (code !== SUCCESS && code !== INVALID_REQUEST) {
      this.#registers.failPri();
    } else {
      this.#settle();
    }
  }

  /** Enable went from 0 to 1. */
  enabled(): void {
    if (!this.#registers.priFailed) {
      this.#registers.setPriStopped(false);
    }
  }

  /** Enable went from 1 to 0: the interface stops when the last response is in. */
  disabled(): void {
    this.#settle();
  }

  /** PRI Reset, which counts with Enable off alone, or a reset of the function: nothing waits any more. */
  reset(): void {
    this.#groups.clear();
    this.#outstanding = 0;
    if (this.#registers.hasPri) {
      this.#registers.clearPri();
      this.#settle();
    }
  }

  /** Writes what waits. */
  digest(into: Digest): void {
    for (const [index, { pasid, count, closed }] of this.#groups) {
      into.number(index * 2 + (closed ? 1 : 0));
      into.number(pasid);
      into.number(count);
    }
  }

  #settle(): void {
    if (!this.#registers.priEnabled && this.#outstanding === 0) {
      this.#registers.setPriStopped(true);
    }
  }
}

/** L without R and W: the last message of a PASID, which nobody answers. Source: PCIe 6.0 §10.4.1.2. */
function isStopMarker({ read, write, last }: PageRequestOptions): boolean {
  return last && !read && !write;
}
