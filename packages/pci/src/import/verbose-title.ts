import { classCode } from "./class-names.ts";

/** What the first line of a function says of it. */
export interface TitleFacts {
  /** Base class and sub-class, four hexadecimal digits. */
  class?: string;
  /** Vendor ID, four hexadecimal digits. */
  vendor?: string;
  /** Device ID, four hexadecimal digits. */
  device?: string;
  /** Revision ID, two hexadecimal digits. */
  revision?: string;
  /** Programming interface, two hexadecimal digits. */
  progIf?: string;
}

const REVISION = / \(rev ([\da-f]{2})\)/i;
const PROG_IF = / \(prog-if ([\da-f]{2})\b/i;
const NUMERIC = /^(?:Class )?([\da-f]{4}): (?:Device )?([\da-f]{4}):([\da-f]{4})\b/i;
const CLASS_IN_BRACKETS = /^[^:[]{0,80}\[([\da-f]{4})\]: /i;
const UNNAMED_CLASS = /^(?:Unassigned class|Class) \[?([\da-f]{4})/i;
const IDS_IN_BRACKETS = /\[([\da-f]{4}):([\da-f]{4})\]/gi;
const IDS_WITHOUT_NAME = /: Device ([\da-f]{4}):([\da-f]{4})\b/i;
const DEVICE_WITHOUT_NAME = / Device ([\da-f]{4})(?= \(|$)/i;

/**
 * Reads what stands behind the address: `0604: 8086:7075 (rev 01)` as `lspci -n` prints it, `PCI bridge [0604]: … [8086:7075]`
 * as `lspci -nn`, or names, of which the class and a device that has none are understood.
 */
export function readTitle(title: string): TitleFacts {
  const facts: TitleFacts = {};
  const revision = REVISION.exec(title)?.[1];
  const progIf = PROG_IF.exec(title)?.[1];
  if (revision !== undefined) {
    facts.revision = revision.toLowerCase();
  }
  if (progIf !== undefined) {
    facts.progIf = progIf.toLowerCase();
  }
  const numeric = NUMERIC.exec(title);
  if (numeric !== null) {
    setIds(facts, numeric[2], numeric[3]);
    facts.class = numeric[1]?.toLowerCase() ?? "";
    return facts;
  }
  readClass(title, facts);
  readIds(title, facts);
  return facts;
}

function readClass(title: string, facts: TitleFacts): void {
  const name = title.split(": ", 1)[0] ?? "";
  const digits = CLASS_IN_BRACKETS.exec(title)?.[1] ?? UNNAMED_CLASS.exec(title)?.[1];
  const found = digits?.toLowerCase() ?? classCode(name);
  if (found !== undefined) {
    facts.class = found;
  }
}

function readIds(title: string, facts: TitleFacts): void {
  // The last pair in brackets: a name may have brackets of its own.
  const ids = [...title.matchAll(IDS_IN_BRACKETS)].at(-1) ?? IDS_WITHOUT_NAME.exec(title);
  if (ids !== null && ids !== undefined) {
    setIds(facts, ids[1], ids[2]);
    return;
  }
  const device = DEVICE_WITHOUT_NAME.exec(title)?.[1];
  if (device !== undefined) {
    facts.device = device.toLowerCase();
  }
}

function setIds(facts: TitleFacts, vendor: string | undefined, device: string | undefined): void {
  if (vendor !== undefined && device !== undefined) {
    facts.vendor = vendor.toLowerCase();
    facts.device = device.toLowerCase();
  }
}
