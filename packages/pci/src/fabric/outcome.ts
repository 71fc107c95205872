/**
 * What became of a memory request: `success`; `UR` and `CA` as the completer answered (a posted write gets no answer on
 * the wire; then it is what the completer did with it); `acs` = ACS blocked it, and a non-posted request got CA;
 * `master-abort` = nothing is at that address, and a non-posted request got UR; `malformed` = a port could not read it and
 * dropped it; `lost` = what it was sent to does not answer. After the last two no completion comes.
 */
export type RequestStatus = "success" | "UR" | "CA" | "acs" | "master-abort" | "malformed" | "lost";

/** The completion that a non-posted request with this outcome got. Source: PCIe 6.0 §2.2.9, §6.12.4. */
export function completionOf(status: RequestStatus): "success" | "UR" | "CA" | "none" {
  switch (status) {
    case "success":
      return "success";
    case "UR":
    case "master-abort":
      return "UR";
    case "CA":
    case "acs":
      return "CA";
    default:
      return "none";
  }
}

/** What became of one memory access. One object per sender, reused: read it before the next request. */
export class DmaResult {
  /** False when the function did not send it; then {@link DmaResult.reason} says why and `status` says nothing. */
  sent = false;
  /** What became of it. */
  status: RequestStatus = "success";
  /** The 4 bytes that a read brought back, unsigned. */
  value: number | undefined = undefined;
  /** The function whose memory it reached; undefined = the root complex or nothing. */
  peer: number | undefined = undefined;
  /** Name of the fault, `""` when there is none. */
  fault = "";
  /** Whether the fault was written where software can read it. */
  recorded = false;
  /** Id of the request's `tlp` event, 0 when nobody listened. */
  event = 0;
  /** Why it was not sent: the register bit or state in the way. `""` when it was. */
  reason = "";

  /** Sets everything to a success without data. @returns this */
  reset(): this {
    this.sent = true;
    this.status = "success";
    this.value = undefined;
    this.peer = undefined;
    this.fault = "";
    this.recorded = false;
    this.event = 0;
    this.reason = "";
    return this;
  }

  /** The function keeps the request to itself. @returns this */
  withhold(reason: string): this {
    this.reset();
    this.sent = false;
    this.status = "UR";
    this.reason = reason;
    return this;
  }
}

/** What came back for a Translation Request. One object per sender, reused: read it before the next request. */
export class TranslationResult {
  /** False when the function did not send it; then {@link TranslationResult.reason} says why and `status` says nothing. */
  sent = false;
  /** Completion status; a Success may carry neither permission. */
  status: RequestStatus = "success";
  /** Page number (address / 4096) that was asked for. */
  page = 0;
  /** Host page number of the page asked for. */
  host = 0;
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
  /** Whether the ATC holds it now. */
  cached = false;
  /** Name of the fault, `""` when there is none. */
  fault = "";
  /** Whether the fault was written where software can read it. */
  recorded = false;
  /** Id of the request's `tlp` event, 0 when nobody listened. */
  event = 0;
  /** Why it was not sent: the register bit or state in the way. `""` when it was. */
  reason = "";

  /** Sets everything to a Success without permissions. @returns this */
  reset(page: number): this {
    this.sent = true;
    this.status = "success";
    this.page = page;
    this.host = 0;
    this.sizeLog2 = 12;
    this.read = false;
    this.write = false;
    this.execute = false;
    this.privileged = false;
    this.global = false;
    this.untranslatedOnly = false;
    this.noSnoop = false;
    this.cxlIo = false;
    this.cached = false;
    this.fault = "";
    this.recorded = false;
    this.event = 0;
    this.reason = "";
    return this;
  }

  /** The function keeps the request to itself. @returns this */
  withhold(page: number, reason: string): this {
    this.reset(page);
    this.sent = false;
    this.status = "UR";
    this.reason = reason;
    return this;
  }
}
