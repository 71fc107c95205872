import type { RegisterReader } from "./register-layout.ts";
import { CAP_ID_EXP, CAP_ID_PCIX } from "./standard-layouts.ts";

/** One capability of a function. */
export interface CapabilityEntry {
  /** Capability id: 8 bits in the standard list, 16 bits in the extended one. */
  readonly id: number;
  /** Byte offset of its header. */
  readonly offset: number;
  /** Whether it is in the extended list (offset 0x100 and above). */
  readonly extended: boolean;
  /** Version of the extended header; 0 in the standard list, which has none. */
  readonly version: number;
}

/** What the two capability lists of a function hold, and what was wrong with them. */
export interface CapabilityLists {
  /** Standard list in list order, then the extended list in list order. */
  readonly entries: readonly CapabilityEntry[];
  /** Loops, truncation, pointers that lead nowhere. */
  readonly warnings: readonly string[];
}

const EXTENDED_START = 0x100;

/**
 * Walks both lists. Never loops: an offset that comes a second time ends its list with a warning.
 *
 * The extended list is walked where Linux 7.2 `pci_cfg_space_size()` finds 4096 bytes: the function is PCI Express or
 * PCI-X at 266 MHz or more, and its extended space is not a copy of the first 256 bytes.
 *
 * @param present - how many bytes are known; a list that leads beyond them is cut off with a warning
 */
export function walkCapabilities(config: RegisterReader, present: number): CapabilityLists {
  const entries: CapabilityEntry[] = [];
  const warnings: string[] = [];
  walkStandard(config, present, entries, warnings);
  if (present > EXTENDED_START && reachesExtended(config, entries)) {
    if (isAliased(config, present)) {
      warnings.push("extended config space repeats the first 256 bytes: no extended capabilities");
    } else {
      walkExtended(config, present, entries, warnings);
    }
  }
  return { entries, warnings };
}

function walkStandard(config: RegisterReader, present: number, entries: CapabilityEntry[], warnings: string[]): void {
  if (config.read16(0) === 0xffff || (config.read16(0x06) & 0x10) === 0) {
    return;
  }
  const headerType = config.read8(0x0e) & 0x7f;
  if (headerType > 2) {
    return;
  }
  const seen = new Set<number>();
  let at = config.read8(headerType === 2 ? 0x14 : 0x34) & 0xfc;
  while (at !== 0) {
    if (at < 0x40) {
      warnings.push(`capability pointer ${at3(at)} points into the header`);
      return;
    }
    if (at + 1 >= present) {
      warnings.push(`capability at ${at3(at)} lies beyond the ${present} bytes present`);
      return;
    }
    if (seen.has(at)) {
      warnings.push(`capability list loops back to ${at3(at)}`);
      return;
    }
    seen.add(at);
    const id = config.read8(at);
    if (id === 0xff) {
      warnings.push(`capability at ${at3(at)} reads as all ones: the list is broken there`);
      return;
    }
    entries.push({ id, offset: at, extended: false, version: 0 });
    at = config.read8(at + 1) & 0xfc;
  }
}

function walkExtended(config: RegisterReader, present: number, entries: CapabilityEntry[], warnings: string[]): void {
  const seen = new Set<number>();
  let at = EXTENDED_START;
  while (at !== 0) {
    if (at < EXTENDED_START) {
      warnings.push(`extended capability pointer ${at3(at)} points below 0x100`);
      return;
    }
    if (at + 3 >= present) {
      warnings.push(`extended capability at ${at3(at)} lies beyond the ${present} bytes present`);
      return;
    }
    if (seen.has(at)) {
      warnings.push(`extended capability list loops back to ${at3(at)}`);
      return;
    }
    seen.add(at);
    const header = config.read32(at);
    if (header === 0xffffffff || header === 0) {
      if (at !== EXTENDED_START) {
        warnings.push(
          `extended capability at ${at3(at)} is ${header === 0 ? "empty" : "all ones"}: the list is broken`,
        );
      }
      return;
    }
    entries.push({ id: header & 0xffff, offset: at, extended: true, version: (header >>> 16) & 0xf });
    at = (header >>> 20) & 0xffc;
  }
}

/** Whether requests of this function reach its extended space. */
function reachesExtended(config: RegisterReader, entries: readonly CapabilityEntry[]): boolean {
  return entries.some(
    (entry) =>
      entry.id === CAP_ID_EXP ||
      // PCI-X status: 266 MHz or 533 MHz capable (mode 2).
      (entry.id === CAP_ID_PCIX && (config.read32(entry.offset + 4) & 0xc000_0000) !== 0),
  );
}

/** Linux 7.2 `pci_ext_cfg_is_aliased()`: the id registers come back at every 256 bytes. */
function isAliased(config: RegisterReader, present: number): boolean {
  const id = config.read32(0);
  for (let at = EXTENDED_START; at < present; at += 0x100) {
    if (config.read32(at) !== id) {
      return false;
    }
  }
  return true;
}

function at3(offset: number): string {
  return `0x${offset.toString(16).padStart(2, "0")}`;
}
