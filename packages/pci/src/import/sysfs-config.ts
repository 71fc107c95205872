import { InputError } from "@iommu-lab/core";
import { type DumpFunction, functionAddress } from "./lspci-dump.ts";

const ADDRESS = /(?:^|[^\da-f])(?:([\da-f]{4,8}):)?([\da-f]{2}):([\da-f]{2})\.([0-7])(?![\da-f])/gi;
const SIZES: ReadonlySet<number> = new Set([64, 256, 4096]);

/** A config space file with its warnings. */
export interface SysfsConfig extends DumpFunction {
  /** What was odd but readable. */
  readonly warnings: readonly string[];
}

/**
 * Reads a `config` file of sysfs, whose path names the function: `/sys/bus/pci/devices/0000:01:00.0/config`, or a copy such as
 * `0000:01:00.0.config`. Of several addresses in a path the last one counts, since those before it are bridges.
 *
 * @param path - path or file name, also named in errors
 * @param bytes - 64 bytes (what sysfs gives to others than root), 256 or 4096
 * @throws InputError when the path names no function, and for other numbers of bytes than 1 to 4096
 */
export function parseSysfsConfig(path: string, bytes: Uint8Array): SysfsConfig {
  const [, domain, bus = "", device = "", fn = ""] = [...path.slice(-4096).matchAll(ADDRESS)].at(-1) ?? [];
  const bdf = bus === "" ? undefined : functionAddress(domain, bus, device, fn);
  if (bdf === undefined) {
    throw new InputError("the path names no function, expected one such as /sys/bus/pci/devices/0000:01:00.0/config", {
      file: path,
    });
  }
  if (bytes.length === 0 || bytes.length > 4096) {
    throw new InputError(`config space of ${bytes.length} bytes, expected 64, 256 or 4096`, { file: path });
  }
  const warnings = SIZES.has(bytes.length)
    ? []
    : [`${bdf} has ${bytes.length} bytes instead of 64, 256 or 4096: the file seems cut off`];
  return {
    bdf,
    bytes,
    line: 1,
    warnings: bytes.length === 64 ? [`${bdf} has its header only: sysfs shows the rest to root alone`] : warnings,
  };
}
