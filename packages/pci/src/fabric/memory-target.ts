import type { AcsControl } from "./acs-control.ts";
import type { DmaResult } from "./outcome.ts";
import type { Requester } from "./requester.ts";
import type { Rid } from "./request.ts";
import type { TlpHeader } from "./tlp-header.ts";

/** A function as the target of memory requests of its peers. */
export interface MemoryTarget extends Requester {
  /** Its ACS registers, which count in a multi-function device. */
  readonly acs: AcsControl;
  /** Whether its device carries requests between its own functions without using the link. */
  readonly routesInternally: boolean;
  /** Whether one of its base addresses covers this page and Memory Space is on. */
  claims(page: number): boolean;
  /** A memory request arrives. @param into gets status and data */
  receiveMemory(page: number, offset: number, flags: number, value: number, into: DmaResult): void;
  /** A completion arrives that it did not ask for. */
  receiveUnexpectedCompletion(): void;
  /** It finds that ACS blocks its own request. */
  noteViolation(header: TlpHeader, prefix: number): void;
}

/** Bit of a function in the egress vector of its own device: with ARI all eight bits of the number count. */
export function functionNumber(rid: Rid, belowPort: boolean): number {
  return belowPort ? rid & 0xff : rid & 7;
}
