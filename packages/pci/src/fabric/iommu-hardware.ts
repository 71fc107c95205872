import type { Rid } from "./request.ts";

/** Completion status: `UR` Unsupported Request, `CA` Completer Abort; `pending` = the request is stalled. */
export type CompletionStatus = "success" | "UR" | "CA" | "pending";

/**
 * What an IOMMU says to one request. One object per IOMMU, reused: read it before the next request.
 *
 * For Untranslated and Translated requests `success` means that the access goes on to `page`; for Translation Requests
 * it means a Success completion whose R and W may both be 0.
 */
export class TranslateResult {
  /** Completion status. */
  status: CompletionStatus = "success";
  /** Host page number (address / 4096); for a larger translation the page of the request, not of its start. */
  page = 0;
  /** log2 of the size of the translation in bytes: 12 = 4 KiB. */
  sizeLog2 = 12;
  /** Reads are permitted. */
  read = false;
  /** Writes are permitted. */
  write = false;
  /** Execution is permitted. */
  execute = false;
  /** It holds for Privileged Mode. */
  privileged = false;
  /** Valid for all PASIDs. */
  global = false;
  /** U: only Untranslated requests may use the range. */
  untranslatedOnly = false;
  /** N of the completion, as it is on the wire. */
  noSnoop = false;
  /** The range must be accessed through CXL.io, not CXL.cache. */
  cxlIo = false;
  /** Name of the fault, `""` when there is none. A Success with R=W=0 has none. */
  fault = "";
  /** Whether the fault was written where software can read it. */
  recorded = false;
  /** A refusal that the sender does not see: a read gives zero, a write goes nowhere. */
  ignored = false;
  /** Of `pending`: what names the stalled request until software decides; -1 otherwise. */
  stallTag = -1;

  /** Sets everything to a Success without permissions. @returns this */
  reset(): this {
    this.status = "success";
    this.page = 0;
    this.sizeLog2 = 12;
    this.read = false;
    this.write = false;
    this.execute = false;
    this.privileged = false;
    this.global = false;
    this.untranslatedOnly = false;
    this.noSnoop = false;
    this.cxlIo = false;
    this.fault = "";
    this.recorded = false;
    this.ignored = false;
    this.stallTag = -1;
    return this;
  }

  /** A passed request. @returns this */
  pass(page: number, read: boolean, write: boolean, sizeLog2: number = 12): this {
    this.reset();
    this.page = page;
    this.read = read;
    this.write = write;
    this.sizeLog2 = sizeLog2;
    return this;
  }

  /** A refused request. @returns this */
  refuse(status: "UR" | "CA", fault: string, recorded: boolean): this {
    this.reset();
    this.status = status;
    this.fault = fault;
    this.recorded = recorded;
    return this;
  }
}

/** A page request (PRI). */
export interface PageRequest {
  /** Requester ID. */
  readonly rid: Rid;
  /** {@link NO_PASID} when it carries none. */
  readonly pasid: number;
  /** Page number (address / 4096). */
  readonly page: number;
  /** R: it wants to read. */
  readonly read: boolean;
  /** W: it wants to write. */
  readonly write: boolean;
  /** L: the last request of its group. */
  readonly last: boolean;
  /** 0 … 511. */
  readonly groupIndex: number;
  /** Execute Requested of the PASID prefix. */
  readonly execute?: boolean;
  /** Privileged Mode Requested of the PASID prefix. */
  readonly privileged?: boolean;
}

/** What the silicon of an IOMMU does, as the fabric sees it. MMIO and memory are its only other inputs. */
export interface IommuHardware {
  /** Such as `smmu0`, `dmar0`, `amd0`. */
  readonly name: string;
  /**
   * Judges one memory request.
   *
   * @param pasid the PASID or {@link NO_PASID}
   * @param page address / 4096, exact for any 64-bit address
   * @param offset address % 4096
   * @param flags AT and the `REQUEST_` bits
   */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult;
  /** A Page Request arrived. */
  pageRequest(request: PageRequest): void;
  /**
   * An Invalidate Completion arrived.
   *
   * @param itags bit n = ITag n
   * @param count CC: how many completions carry this ITag in all, 1 … 8
   */
  invalidateCompletion(rid: Rid, itags: number, count: number): void;
}

/** What became of a message sent down. `UR`: the function does not take such a message; `lost`: nothing answers. */
export type Delivery = "delivered" | "UR" | "lost";

/** What an IOMMU can send down. Implemented by the fabric. */
export interface RootComplex {
  /**
   * Sends an Invalidate Request.
   *
   * @param itag 0 … 31
   * @param pasid the PASID or {@link NO_PASID}
   * @param page first page; a multiple of the size
   * @param sizeLog2 12 … 64; 64 = everything
   * @param global the Global Invalidate bit
   * @param cause trace event id of the command
   */
  sendInvalidate(
    from: IommuHardware,
    rid: Rid,
    itag: number,
    pasid: number,
    page: number,
    sizeLog2: number,
    global: boolean,
    cause: number,
  ): Delivery;
  /** Sends a PRG Response. `code`: 0 Success, 1 Invalid Request, 15 Response Failure. */
  sendPageResponse(from: IommuHardware, rid: Rid, pasid: number, groupIndex: number, code: number): Delivery;
}
