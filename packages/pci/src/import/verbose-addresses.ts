const REGION =
  /^Region (\d): (?:\[virtual\] )?(?:Memory at ([\da-f]{1,16}|<unassigned>)(?: \((64-bit|32-bit|low-1M), (non-)?prefetchable\))|I\/O ports at ([\da-f]{1,8}|<unassigned>))/i;
const ROM = /^Expansion ROM at ([\da-f]{1,8})/i;
const WINDOW =
  /^(I\/O|Memory|Prefetchable memory) behind bridge: ([\da-f]{1,16})-([\da-f]{1,16})(?: \[(?:disabled|size=[\w.]{1,12})\])*(?: \[(16|32|64)-bit\])?/i;

/**
 * Reads a base address register into `bar0` …, with its type bits. Whether the line was one.
 *
 * @param upper - registers that are the upper half of the one before them: `lspci -F` prints those as well, as if they were
 *   base addresses of their own
 */
export function readBar(
  line: string,
  fields: Record<string, number>,
  name: "bar" | "vfBar",
  upper: Set<string>,
): boolean {
  const match = REGION.exec(line);
  if (match === null) {
    return false;
  }
  const [, index = "0", memory, width, non, ports] = match;
  const at = Number(index);
  if (upper.has(`${name}${at}`)) {
    return true;
  }
  if (ports !== undefined) {
    fields[`${name}${at}`] = (address(ports, 0) | 1) >>> 0;
    return true;
  }
  const type = width === "64-bit" ? 4 : width === "low-1M" ? 2 : 0;
  fields[`${name}${at}`] = (address(memory ?? "0", 0) | type | (non === undefined ? 8 : 0)) >>> 0;
  if (type === 4 && at < 5) {
    upper.add(`${name}${at + 1}`);
    fields[`${name}${at + 1}`] = address(memory ?? "0", 1);
  }
  return true;
}

/** Reads an expansion ROM that answers. Whether the line was one. */
export function readRom(line: string, fields: Record<string, number>): boolean {
  const rom = line.includes("[disabled]") ? undefined : ROM.exec(line)?.[1];
  if (rom !== undefined) {
    fields["romBar"] = (Number.parseInt(rom, 16) | 1) >>> 0;
  }
  return rom !== undefined;
}

/** Lower (0) or upper (1) 32 bits of an address; 0 where none was assigned. */
function address(text: string, half: 0 | 1): number {
  const digits = /^[\da-f]+$/i.test(text) ? text.padStart(16, "0") : "0".repeat(16);
  return Number.parseInt(half === 0 ? digits.slice(8) : digits.slice(0, 8), 16);
}

/** Reads a window of a bridge. Whether the line was one. */
export function readWindow(line: string, fields: Record<string, number>): boolean {
  const match = WINDOW.exec(line);
  if (match === null) {
    return false;
  }
  const [, kind = "", base = "", limit = "", width] = match;
  if (kind === "I/O") {
    fields["ioBase.base"] = (address(base, 0) >>> 12) & 0xf;
    fields["ioLimit.limit"] = (address(limit, 0) >>> 12) & 0xf;
    if (width !== undefined) {
      fields["ioBase.addressing"] = width === "32" ? 1 : 0;
      fields["ioLimit.addressing"] = width === "32" ? 1 : 0;
      fields["ioBaseUpper.base"] = address(base, 0) >>> 16;
      fields["ioLimitUpper.limit"] = address(limit, 0) >>> 16;
    }
    return true;
  }
  const register = kind === "Memory" ? "memory" : "prefetchable";
  fields[`${register}Base.base`] = address(base, 0) >>> 20;
  fields[`${register}Limit.limit`] = address(limit, 0) >>> 20;
  if (kind !== "Memory" && width !== undefined) {
    fields["prefetchableBase.addressing"] = width === "64" ? 1 : 0;
    fields["prefetchableLimit.addressing"] = width === "64" ? 1 : 0;
    if (width === "64") {
      fields["prefetchableBaseUpper.base"] = address(base, 1);
      fields["prefetchableLimitUpper.limit"] = address(limit, 1);
    }
  }
  return true;
}
