import { InputError } from "@iommu-lab/core";
import { type Rid, formatRid } from "../fabric/request.ts";

/** One function of a machine that was read in: its address and its config space. */
export interface MachineFunction {
  /** `dddd:bb:dd.f`; the domain is 0 when absent. */
  readonly bdf: string;
  /** Config space from offset 0: 1 to 4096 bytes. */
  readonly bytes: Uint8Array;
  /** Firmware marks it as a port that leads out of the box. Default false. */
  readonly externalFacing?: boolean;
  /** What the source does not tell of it, in words. Default: nothing is missing. */
  readonly unknown?: readonly string[];
}

/** Where a function is. */
export interface MachineAddress {
  /** PCI segment (domain). */
  readonly segment: number;
  /** Requester ID. */
  readonly rid: Rid;
}

const ADDRESS = /^(?:([\da-f]{4,8}):)?([\da-f]{2}):([01][\da-f])\.([0-7])$/i;

/** Reads `dddd:bb:dd.f` or `bb:dd.f`. @throws InputError when it is neither */
export function parseMachineAddress(bdf: string): MachineAddress {
  const match = ADDRESS.exec(bdf);
  if (match === null) {
    throw new InputError(`${JSON.stringify(bdf)} is no function address, expected the form 0000:01:00.0`);
  }
  const [segment = 0, bus = 0, slot = 0, fn = 0] = match.slice(1).map((part) => Number.parseInt(part ?? "0", 16));
  return { segment, rid: (bus << 8) | (slot << 3) | fn };
}

/** The kernel's name of a function. */
export function machineName(address: MachineAddress): string {
  const { segment, rid } = address;
  return `${segment.toString(16).padStart(4, "0")}:${formatRid(rid)}`;
}
