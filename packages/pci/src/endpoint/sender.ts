import { InputError } from "@iommu-lab/core";
import type { Fabric } from "../fabric/fabric.ts";
import type { MemoryTarget } from "../fabric/memory-target.ts";
import type { DmaResult, TranslationResult } from "../fabric/outcome.ts";
import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_PRIVILEGED,
  REQUEST_T,
  REQUEST_XT,
  type Rid,
} from "../fabric/request.ts";
import type { Gate } from "./gate.ts";

const PAGE = 4096;

/** What a function puts into its requests besides what they ask for. */
export interface RequestMarks {
  /** Requester ID to put into requests instead of its own. */
  readonly spoofRid: Rid | undefined;
  /** T bit. */
  readonly t: boolean;
  /** XT bit. */
  readonly xt: boolean;
}

/** The way out of a function: requests that its {@link Gate} lets go, with its marks on them. */
export class Sender {
  readonly #from: MemoryTarget & RequestMarks;
  readonly #fabric: Fabric;
  readonly #gate: Gate;

  constructor(from: MemoryTarget & RequestMarks, fabric: Fabric, gate: Gate) {
    this.#from = from;
    this.#fabric = fabric;
    this.#gate = gate;
  }

  /** The requester ID that its requests carry. */
  get rid(): Rid {
    return this.#from.spoofRid ?? this.#from.rid;
  }

  /** Why a memory request stays here; `""` = it may go. */
  refusal(flags: number, pasid: number): string {
    return this.#gate.memory(pasid, flags) || ((flags & AT_MASK) === AT_UNTRANSLATED ? "" : this.#gate.ats());
  }

  /**
   * Sends a memory request of 4 bytes.
   *
   * @param offset multiple of 4 below 4096
   * @throws InputError for another offset
   */
  memory(page: number, offset: number, flags: number, value: number, pasid: number, into: DmaResult): DmaResult {
    checkOffset(offset);
    const reason = this.refusal(flags, pasid);
    if (reason !== "") {
      return into.withhold(reason);
    }
    this.#fabric.access(this.#from, this.rid, pasid, page, offset, this.#marked(flags, pasid), value, into);
    return into;
  }

  /** Sends a Translation Request for one unit. */
  translation(page: number, flags: number, pasid: number, into: TranslationResult): void {
    this.#fabric.translation(this.#from, this.rid, pasid, page, this.#marked(flags, pasid), into);
  }

  /** Why a Translation Request stays here; `""` = it may go. */
  translationRefusal(flags: number, pasid: number): string {
    return this.refusal(flags | AT_TRANSLATION_REQUEST, pasid);
  }

  /** Without a PASID prefix there is no place for Execute and Privileged. */
  #marked(flags: number, pasid: number): number {
    const carried = pasid === NO_PASID ? flags & ~(REQUEST_EXECUTE | REQUEST_PRIVILEGED) : flags;
    return carried | (this.#from.t ? REQUEST_T : 0) | (this.#from.xt ? REQUEST_XT : 0);
  }
}

/** @throws InputError when `offset` is no multiple of 4 in a page */
export function checkOffset(offset: number): void {
  if (offset % 4 !== 0 || offset < 0 || offset >= PAGE) {
    throw new InputError(`offset ${offset} is no multiple of 4 below ${PAGE}`);
  }
}
