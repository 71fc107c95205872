import { InputError } from "@iommu-lab/core";
import { capabilityId } from "../config-space/capability-names.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import { describeFunction } from "./describe-function.ts";
import type { DescribedCapability, DescribedFunction, MachineDescription } from "./machine-description.ts";
import { functionAddress } from "./lspci-dump.ts";
import { expectInputSize } from "./input-size.ts";
import { readBar, readRom, readWindow } from "./verbose-addresses.ts";
import { readLine } from "./verbose-fields.ts";
import { type CapabilityRules, type LineRule } from "./verbose-rule.ts";
import { headerRules, rulesOf } from "./verbose-rules.ts";
import { readTitle } from "./verbose-title.ts";
import { portTypeWords } from "./verbose-words.ts";
import { Warnings } from "./warnings.ts";

/** What decoded text holds. */
export interface LspciVerbose {
  /** The functions. */
  readonly machine: MachineDescription;
  /** What was odd but readable, with line numbers. */
  readonly warnings: readonly string[];
}

const FUNCTION = /^(?:([\da-f]{4,8}):)?([\da-f]{2}):([\da-f]{2})\.([\da-f])(?: (.*))?$/i;
const CAPABILITY = /^\s+Capabilities: \[([\da-f]{2,3})(?: v(\d+))?\] (.*)$/i;
/** Longer than any line that `lspci` prints. */
const MAX_LINE = 2000;

/**
 * Reads the text of `lspci -vv` or `-vvv`, with names, with `-n` or with `-nn`: for each function what it is, its base
 * addresses and bus numbers, its capabilities with every field that the text tells, its driver and IOMMU group.
 *
 * @param fileName - named in errors
 * @throws InputError with the line number for a function that comes twice and an address that is none; for a text without
 *   any function, and for more than 64 MiB
 */
export function parseLspciVerbose(text: string, fileName?: string): LspciVerbose {
  expectInputSize("the text of lspci -vvv", text.length, fileName);
  const reader = new VerboseReader(fileName);
  let line = 0;
  let start = text.codePointAt(0) === 0xfeff ? 1 : 0;
  while (start < text.length) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    line += 1;
    reader.line(text.slice(start, Math.min(end, start + MAX_LINE)).trimEnd(), line);
    start = end + 1;
  }
  return reader.finish();
}

/** A function of which more lines may come. */
class OpenFunction {
  readonly facts: { -readonly [Key in keyof DescribedFunction]?: DescribedFunction[Key] } = {};
  readonly header: Record<string, number> = {};
  readonly capabilities: (DescribedCapability & { readonly fields: Record<string, number> })[] = [];
  rules: readonly LineRule[] = headerRules;
  fields: Record<string, number> = this.header;
  current: LineRule | undefined;
  readonly upper: Set<string> = new Set<string>();
}

class VerboseReader {
  readonly #file: string | undefined;
  readonly #devices: DescribedFunction[] = [];
  readonly #lines = new Map<string, number>();
  readonly #warnings = new Warnings();
  #open: OpenFunction | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  line(text: string, line: number): void {
    if (text === "") {
      return;
    }
    if (!/^\s/.test(text)) {
      this.#startFunction(text, line);
      return;
    }
    const open = this.#open;
    if (open === undefined) {
      this.#warnings.add(line, "passed over: it belongs to no function");
      return;
    }
    const capability = CAPABILITY.exec(text);
    if (capability !== null) {
      startCapability(open, capability[1] ?? "", capability[2], capability[3] ?? "");
    } else if (/^\s+Capabilities: <access denied>/.test(text)) {
      this.#warnings.add(line, "the capabilities are missing: lspci -vvv shows them to root only");
    } else if (!readFact(open, text.trim())) {
      readRuled(open, text.trim());
    }
  }

  finish(): LspciVerbose {
    this.#close();
    if (this.#devices.length === 0) {
      throw this.#error(
        undefined,
        "no function found, expected the text of lspci -vvv: a line such as 00:1f.3 Audio device: … and indented lines behind it",
      );
    }
    return { machine: { devices: withNeighbours(this.#devices) }, warnings: this.#warnings.list() };
  }

  #startFunction(text: string, line: number): void {
    const match = FUNCTION.exec(text);
    if (match === null) {
      this.#warnings.add(line, `passed over: no function: ${JSON.stringify(text.slice(0, 40))}`);
      return;
    }
    this.#close();
    const [, domain, bus = "", device = "", fn = "", title = ""] = match;
    const bdf = functionAddress(domain, bus, device, fn);
    if (bdf === undefined) {
      throw this.#error(line, `${bus}:${device}.${fn} is no function: device 00 to 1f, function 0 to 7`);
    }
    const first = this.#lines.get(bdf);
    if (first !== undefined) {
      throw this.#error(line, `function ${bdf} comes a second time, first on line ${first}`);
    }
    this.#lines.set(bdf, line);
    const open = new OpenFunction();
    Object.assign(open.facts, { bdf, ...(title === "" ? {} : { title }), ...readTitle(title) });
    this.#open = open;
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open !== undefined) {
      this.#devices.push(describeFunction(open.facts, open.header, open.capabilities));
    }
  }

  #error(line: number | undefined, what: string): InputError {
    return new InputError(what, {
      ...(this.#file === undefined ? {} : { file: this.#file }),
      ...(line === undefined ? {} : { line }),
    });
  }
}

function startCapability(open: OpenFunction, offset: string, version: string | undefined, name: string): void {
  const isExtended = offset.length === 3;
  const id = capabilityId(name, isExtended);
  const rules: CapabilityRules | undefined = id === undefined ? undefined : rulesOf(id, isExtended);
  const fields: Record<string, number> = {};
  if (rules?.title !== undefined) {
    readLine(name, rules.title, fields);
  }
  if (id === CAP_ID_EXP && !isExtended) {
    const type = portTypeWords.find(([words]) => name.includes(`) ${words}`))?.[1];
    if (type !== undefined) {
      fields["flags.type"] = type;
    }
  }
  open.capabilities.push({
    offset: offset.toLowerCase(),
    name,
    ...(version === undefined ? {} : { version: Number(version) }),
    fields,
  });
  open.rules = rules?.lines ?? [];
  open.fields = fields;
  open.current = undefined;
}

/** Reads a line by the rules of where it stands; a line that begins with no known words goes on with the one before it. */
function readRuled(open: OpenFunction, line: string): void {
  const rule = open.rules.find(({ label }) => line.startsWith(label) && line[label.length] === ":");
  if (rule !== undefined) {
    open.current = rule;
  } else if (/^[A-Z][\w ]{1,24}:\s/.test(line) && open.fields !== open.header) {
    // Another line of the capability, which no rule knows.
    open.current = readBar(line, open.fields, "vfBar", open.upper) ? open.current : undefined;
    return;
  }
  if (open.current !== undefined) {
    readLine(line, open.current, open.fields);
  }
}

const FACTS: readonly (readonly [RegExp, (facts: OpenFunction["facts"], words: RegExpExecArray) => void])[] = [
  [/^Kernel driver in use: (.+)$/, (facts, words): void => void (facts.driver = words[1] ?? "")],
  [/^IOMMU group: (\d+)$/, (facts, words): void => void (facts.iommuGroup = words[1] ?? "")],
  [/^NUMA node: (\d+)$/, (facts, words): void => void (facts.numaNode = Number(words[1]))],
  [
    /^!!! Unknown header type ([\da-f]{2})$/i,
    (facts, words): void => void (facts.headerType = Number.parseInt(words[1] ?? "0", 16)),
  ],
  [/^DpcCap:\s+(.+)$/, (facts, words): void => void (facts.dpcCap = words[1] ?? "")],
  [
    /^Subsystem: (?:(?:.*\[)|(?:Device ))?([\da-f]{4}):([\da-f]{4})\]?$/i,
    (facts, words): void =>
      void (facts.subsystem = { vendor: (words[1] ?? "").toLowerCase(), device: (words[2] ?? "").toLowerCase() }),
  ],
];

/** Reads a line that says something of the function as a whole. Whether no more is to be read from it. */
function readFact(open: OpenFunction, line: string): boolean {
  for (const [pattern, take] of FACTS) {
    const words = pattern.exec(line);
    if (words !== null) {
      take(open.facts, words);
      return !line.startsWith("DpcCap");
    }
  }
  if (open.fields === open.header) {
    const cacheLine = /Cache Line Size: (\d+) bytes/.exec(line)?.[1];
    if (cacheLine !== undefined) {
      open.header["cacheLineSize"] = Number(cacheLine) / 4;
    }
    return readBar(line, open.header, "bar", open.upper) || readRom(line, open.header) || readWindow(line, open.header);
  }
  return false;
}

/** Says of each function whether another one of its slot is in the text. */
function withNeighbours(devices: readonly DescribedFunction[]): readonly DescribedFunction[] {
  const seen = new Map<string, number>();
  for (const { bdf } of devices) {
    const slot = bdf.slice(0, -2);
    seen.set(slot, (seen.get(slot) ?? 0) + 1);
  }
  return devices.map((device) =>
    Object.assign({}, device, { severalFunctionsSeen: (seen.get(device.bdf.slice(0, -2)) ?? 0) > 1 }),
  );
}
