import type { Port } from "./port.ts";
import type { Rid } from "./request.ts";

/** Who sends a request, as the fabric sees it. */
export interface Requester {
  /** Its own requester ID; the one in a request may be another. */
  readonly rid: Rid;
  /** Such as `0000:01:00.0`. */
  readonly name: string;
  /** The port above it; undefined for a function integrated into the root complex. */
  readonly port: Port | undefined;
}
