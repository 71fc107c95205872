import type { ConfigSpace } from "../config-space/config-space.ts";
import type { Rid } from "./request.ts";

/**
 * One function as config requests find it. What software reads and writes goes through here, so that a function in
 * reset, or one that is gone, does not answer.
 */
export interface PciFunction {
  /** Requester ID, which is also its config address. */
  readonly rid: Rid;
  /** Such as `0000:01:00.0`. */
  readonly name: string;
  /** Its registers, as the silicon holds them. */
  readonly config: ConfigSpace;
  /** Whether it is plugged in. A function in reset is. */
  present(): boolean;
  /** A Configuration Read; all ones when nothing answers. */
  readConfig(offset: number, size: 1 | 2 | 4): number;
  /** A Configuration Write; lost when nothing answers. */
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void;
}
