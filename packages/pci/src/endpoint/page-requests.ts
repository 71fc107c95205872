import type { Digest } from "@iommu-lab/core";
import type { Delivery } from "../fabric/iommu-hardware.ts";
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

/** The Page Request Interface of a function: credits, groups that wait, and what responses do. Source: PCIe 6.0 §10.4. */
export class PageRequests {
  readonly #registers: FunctionRegisters;
  /** Group index → requests of it that wait for the response. */
  readonly #groups = new Map<number, number>();
  readonly #responses: PageResponse[] = [];
  #outstanding = 0;

  constructor(registers: FunctionRegisters) {
    this.#registers = registers;
  }

  /** The responses so far, oldest first. */
  get responses(): readonly PageResponse[] {
    return this.#responses;
  }

  /** Why a request cannot be sent; `""` = it can. */
  refusal(obeys: boolean): string {
    if (!obeys) {
      return "";
    }
    if (!this.#registers.priEnabled) {
      return "PRI Enable is 0";
    }
    if (this.#registers.priStopped) {
      return "the page request interface has stopped";
    }
    return this.#outstanding < this.#registers.priAllocation ? "" : "no page request credit is left";
  }

  /** A request left. */
  sent(groupIndex: number): void {
    this.#outstanding += 1;
    this.#groups.set(groupIndex, (this.#groups.get(groupIndex) ?? 0) + 1);
  }

  /** A response came: it frees the group's credits; any code but Success and Invalid Request stops the interface. */
  answered(_pasid: number, groupIndex: number, code: number): void {
    const waiting = this.#groups.get(groupIndex);
    if (waiting === undefined) {
      this.#registers.noteUnexpectedIndex();
      return;
    }
    this.#groups.delete(groupIndex);
    this.#outstanding -= waiting;
    this.#responses.push({ groupIndex, code });
    if (code !== SUCCESS && code !== INVALID_REQUEST) {
      this.#registers.failPri();
    }
  }

  /** PRI Reset, or a reset of the function: nothing waits any more. */
  reset(): void {
    this.#groups.clear();
    this.#outstanding = 0;
    if (this.#registers.hasPri) {
      this.#registers.clearPri();
    }
  }

  /** Writes what waits. */
  digest(into: Digest): void {
    for (const [group, count] of this.#groups) {
      into.number(group);
      into.number(count);
    }
  }
}
