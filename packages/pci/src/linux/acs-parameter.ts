import type { PciDev } from "./pci-dev.ts";

/** Bits of ACS Control to change, and what they become. */
export interface AcsChange {
  /** The bits that are changed. */
  readonly mask: number;
  /** What they become. */
  readonly flags: number;
}

const ALL_FLAGS = 0x7f;
const IDS = /^pci:([\da-f]{1,4}):([\da-f]{1,4})(?::([\da-f]{1,4}):([\da-f]{1,4}))?/i;
const ADDRESS = /^(?:([\da-f]+):)?([\da-f]+):([\da-f]+)\.([\da-f]+)$/i;
const STEP = /^([\da-f]+)\.([\da-f]+)$/i;

/** The value of one of the words of `pci=`; the last counts, and its value ends at the next comma. */
function valueOf(dev: PciDev, name: string): string | undefined {
  const words = dev.platform.parameter.split(",").filter((word) => word.startsWith(`${name}=`));
  return words.at(-1)?.slice(name.length + 1);
}

/** Whether `pci=disable_acs_redir=` names the function. Source: Linux 7.2 `__pci_config_acs()`. */
export function disablesRedirect(dev: PciDev): boolean {
  const value = valueOf(dev, "disable_acs_redir");
  for (const entry of value?.split(";") ?? []) {
    const matched = namesDevice(dev, entry);
    if (matched !== false) {
      return matched === true;
    }
  }
  return false;
}

/**
 * What `pci=config_acs=` wants of the function: `<flags>@<device>[; ...]`, the flags as 0, 1 and x from the highest bit to the
 * lowest. The first entry that names it counts; a malformed one ends the search.
 *
 * Source: Linux 7.2 `__pci_config_acs()`.
 */
export function configAcsFor(dev: PciDev): AcsChange | undefined {
  const value = valueOf(dev, "config_acs");
  if (value === undefined) {
    return undefined;
  }
  for (const entry of value.split(";")) {
    const at = entry.indexOf("@");
    const change = at < 0 ? undefined : parseFlags(entry.slice(0, at));
    if (change === undefined) {
      return undefined;
    }
    const matched = namesDevice(dev, entry.slice(at + 1));
    if (matched !== false) {
      return matched === true ? change : undefined;
    }
  }
  return undefined;
}

function parseFlags(text: string): AcsChange | undefined {
  let mask = 0;
  let flags = 0;
  for (let index = 0; index < text.length; index += 1) {
    const digit = text[text.length - 1 - index];
    if (digit === "0" || digit === "1") {
      mask |= 1 << index;
      flags |= Number(digit) << index;
    } else if (digit !== "x" && digit !== "X") {
      return undefined;
    }
  }
  return (mask & ~ALL_FLAGS) === 0 ? { mask, flags } : undefined;
}

/**
 * Whether a text names the function: `[domain:]bus:device.function[/device.function]*`, a path down from there, or
 * `pci:vendor:device[:subvendor:subdevice]`, where 0 stands for any. Undefined = it cannot be read.
 *
 * Source: Linux 7.2 `pci_dev_str_match()`, `pci_dev_str_match_path()`.
 */
function namesDevice(dev: PciDev, text: string): boolean | undefined {
  if (text.startsWith("pci:")) {
    const own = [dev.vendor, dev.device, dev.subsystemVendor, dev.subsystemDevice];
    return numbersOf(IDS, text)?.every((id, index) => id === 0 || id === own[index]);
  }
  const [first = "", ...steps] = text.split("/");
  const start = numbersOf(ADDRESS, first);
  const path = steps.map((step) => numbersOf(STEP, step));
  if (start === undefined || path.includes(undefined)) {
    return undefined;
  }
  return isAtPath(dev, start, path);
}

/** Whether the function is where a path of bus, device and function, then device and function of each step, leads. */
function isAtPath(dev: PciDev, start: readonly number[], path: readonly (readonly number[] | undefined)[]): boolean {
  let at: PciDev | undefined = dev;
  for (const step of path.toReversed()) {
    const [slot = 0, fn = 0] = step ?? [];
    if (at === undefined || (at.rid & 0xff) !== ((slot << 3) | fn)) {
      return false;
    }
    at = at.bridge;
  }
  const [domain = 0, bus = 0, slot = 0, fn = 0] = start;
  return at !== undefined && at.segment === domain && at.rid === ((bus << 8) | (slot << 3) | fn);
}

function numbersOf(form: RegExp, text: string): readonly number[] | undefined {
  return form
    .exec(text)
    ?.slice(1)
    .map((part) => Number.parseInt(part ?? "0", 16));
}
