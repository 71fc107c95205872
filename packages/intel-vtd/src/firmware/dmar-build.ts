import { InputError } from "@iommu-lab/core";
import type { NewDmarStructure } from "./dmar-encode.ts";
import { encodeDmar } from "./dmar-encode.ts";
import type { DeviceScope, PathHop } from "./dmar.ts";
import { ALL_PORTS, ATC_REQUIRED, INCLUDE_PCI_ALL, SCOPE_TYPE } from "./dmar.ts";

/** Memory that functions must reach 1:1, as an RMRR tells of it. */
export interface ReservedMemory {
  /** First byte; a multiple of 4 KiB. */
  readonly base: number;
  /** Last byte; one less than a multiple of 4 KiB. */
  readonly limit: number;
  /** Functions by their paths, such as `00:02.0` or, below a bridge, `00:1c.0/00.0`. */
  readonly devices: readonly string[];
}

/** Integrated functions with an ATC, as an SATC tells of them. */
export interface IntegratedAtc {
  /** Functions by their paths, such as `00:05.0`. */
  readonly devices: readonly string[];
  /** They need it: in legacy mode the hardware then handles ATS by itself. Default false. */
  readonly required?: boolean;
}

/** What {@link buildDmar} tells of. */
export interface FirmwareOptions {
  /** Host address width in bits. */
  readonly hostAddressWidth: number;
  /** Physical address of the registers of the unit, which takes all of segment 0. */
  readonly base: number;
  /** Root ports that pass ATS: all, none, or by their paths, such as `00:1c.0`. */
  readonly atsr: "all-ports" | "none" | readonly string[];
  /** Integrated functions with an ATC. */
  readonly satc: readonly IntegratedAtc[];
  /** Memory that functions must reach 1:1. */
  readonly rmrr: readonly ReservedMemory[];
}

/**
 * The DMAR of a machine with one unit.
 *
 * @throws InputError for a path that is none, or memory that is no whole number of pages
 */
export function buildDmar(options: FirmwareOptions): Uint8Array {
  const { hostAddressWidth, base, atsr, satc, rmrr } = options;
  const structures: NewDmarStructure[] = [
    { kind: "drhd", flags: INCLUDE_PCI_ALL, size: 0, segment: 0, base, scopes: [] },
    ...rmrr.map((region) => rmrrOf(region)),
  ];
  if (atsr !== "none") {
    const all = atsr === "all-ports";
    const scopes = all ? [] : atsr.map((path) => scopeOf(SCOPE_TYPE.bridge, path));
    structures.push({ kind: "atsr", flags: all ? ALL_PORTS : 0, reserved: 0, segment: 0, scopes });
  }
  for (const { devices, required } of satc) {
    const scopes = devices.map((path) => scopeOf(SCOPE_TYPE.endpoint, path));
    structures.push({ kind: "satc", flags: required === true ? ATC_REQUIRED : 0, reserved: 0, segment: 0, scopes });
  }
  return encodeDmar({ hostAddressWidth, flags: 0, structures });
}

function rmrrOf({ base, limit, devices }: ReservedMemory): NewDmarStructure {
  const pages = Number.isInteger(base) && base >= 0 && base % 4096 === 0 && (limit + 1) % 4096 === 0;
  if (!pages || limit < base || limit >= 2 ** 52) {
    throw new InputError(
      `VT-d: reserved memory 0x${base.toString(16)} to 0x${limit.toString(16)}: expected whole pages below 2^52`,
    );
  }
  const scopes = devices.map((path) => scopeOf(SCOPE_TYPE.endpoint, path));
  return { kind: "rmrr", reserved: 0, segment: 0, base, limit, scopes };
}

function scopeOf(type: number, text: string): DeviceScope {
  const found = /^([0-9a-f]{2}):((?:[01][0-9a-f]\.[0-7])(?:\/[01][0-9a-f]\.[0-7])*)$/i.exec(text);
  if (found === null) {
    throw new InputError(
      `VT-d: ${JSON.stringify(text)} is no path of a function, expected such as 00:1c.0 or 00:1c.0/00.0`,
    );
  }
  const [, bus = "", hops = ""] = found;
  const path = hops.split("/").map((hop): PathHop => {
    const [device = "", fn = ""] = hop.split(".");
    return { device: Number.parseInt(device, 16), function: Number.parseInt(fn, 16) };
  });
  return { type, flags: 0, reserved: 0, enumerationId: 0, startBus: Number.parseInt(bus, 16), path };
}
