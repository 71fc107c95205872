import { NO_PASID } from "../fabric/request.ts";
import type { Choices } from "./choices.ts";

/** What an Invalidate Request names. */
export interface InvalidationScope {
  /** First page number. */
  readonly page: number;
  /** 12 … 64; 64 = everything. */
  readonly sizeLog2: number;
  /** The PASID or {@link NO_PASID}. */
  readonly pasid: number;
  /** Global Invalidate, where the function supports it. */
  readonly global: boolean;
}

/**
 * Whether an Invalidate Request takes a translation. Without a PASID it takes those of its range that have none, and with
 * one all of them or those of its range, by the reading; with a PASID those of that PASID in the range that are not Global;
 * with the Global bit all with any PASID in the range.
 *
 * Source: PCIe 6.0 §10.3.1.
 *
 * @param page first page number of the translation
 * @param sizeLog2 log2 of its bytes
 */
export function invalidationHits(
  scope: InvalidationScope,
  page: number,
  sizeLog2: number,
  pasid: number,
  global: boolean,
  withoutPasid: Choices["withoutPasid"],
): boolean {
  const inRange = page < scope.page + 2 ** (scope.sizeLog2 - 12) && page + 2 ** (sizeLog2 - 12) > scope.page;
  if (scope.pasid === NO_PASID) {
    return inRange || (pasid !== NO_PASID && withoutPasid === "everything");
  }
  if (!inRange || pasid === NO_PASID) {
    return false;
  }
  return scope.global || (pasid === scope.pasid && !global);
}
