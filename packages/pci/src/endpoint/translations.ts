import { REQUEST_EXECUTE, REQUEST_NO_WRITE, REQUEST_PRIVILEGED, REQUEST_SOURCE_CXL } from "../fabric/request.ts";

/** What a Translation Request can ask besides a page. */
export interface TranslationOptions {
  /** NW: write permission is not asked for. */
  readonly noWrite?: boolean;
  /** Source-CXL: the translation is meant for CXL.cache. */
  readonly sourceCxl?: boolean;
  /** Execute Requested (with a PASID). */
  readonly execute?: boolean;
  /** Privileged Mode Requested (with a PASID). */
  readonly privileged?: boolean;
}

/** A translation that a function once got. */
export interface PastTranslation {
  /** Page number that was asked for. */
  readonly page: number;
  /** The PASID it was asked with, or `NO_PASID`. */
  readonly pasid: number;
  /** Host page number of that page. */
  readonly host: number;
  /** log2 of the size of the translation in bytes. */
  readonly sizeLog2: number;
  /** Reads are permitted. */
  readonly read: boolean;
  /** Writes are permitted. */
  readonly write: boolean;
  /** Trace event of the request, 0 when nobody listened. */
  readonly event: number;
  /** Virtual time in ns at which it came. */
  readonly time: number;
}

/** The `REQUEST_` bits of what a request asks. */
export function requestFlags(options: TranslationOptions): number {
  return (
    (options.noWrite === true ? REQUEST_NO_WRITE : 0) |
    (options.sourceCxl === true ? REQUEST_SOURCE_CXL : 0) |
    (options.execute === true ? REQUEST_EXECUTE : 0) |
    (options.privileged === true ? REQUEST_PRIVILEGED : 0)
  );
}
