import { InputError } from "@iommu-lab/core";
import {
  type MachineDescription,
  type MachineFunction,
  describedFunctions,
  parseLspciDump,
  parseLspciVerbose,
  parseMachineJson,
} from "@iommu-lab/pci";
import { readText } from "./files.ts";

/** A machine that was read from a file. */
export interface MachineInput {
  /** Its functions. */
  readonly functions: readonly MachineFunction[];
  /** What each is called, by `dddd:bb:dd.f`; absent where the file does not say. */
  readonly titles: ReadonlyMap<string, string>;
  /** What was odd but readable. */
  readonly warnings: readonly string[];
}

const HEX_LINE = /^[\da-f]{2,3}:(?: [\da-f]{2}){1,16}\s*$/im;
const FUNCTION_LINE = /^(?:[\da-f]{4,8}:)?[\da-f]{2}:[\da-f]{2}\.[0-7] /im;

/** Whether a text has a line of config space bytes, as `lspci -x` prints them. */
export function hasConfigBytes(text: string): boolean {
  return HEX_LINE.test(text);
}

/**
 * Reads a machine: an `lspci -xxxx` dump, the decoded text of `lspci -vvv`, or a machine description in JSON, told apart by
 * what they look like. Where a text has both bytes and words, the bytes count.
 *
 * @throws InputError when it is none of them, or cannot be read
 */
export function readMachine(file: string): MachineInput {
  const text = readText(file);
  if (/^\uFEFF?\s*\{/.test(text)) {
    return ofDescription(parseMachineJson(text, file), [], file);
  }
  if (hasConfigBytes(text)) {
    const { functions, warnings } = parseLspciDump(text, file);
    const titles = functions.flatMap(({ bdf, header }) => (header === undefined ? [] : [[bdf, header] as const]));
    return { functions, titles: new Map(titles), warnings };
  }
  if (FUNCTION_LINE.test(text)) {
    const { machine, warnings } = parseLspciVerbose(text, file);
    return ofDescription(machine, warnings, file);
  }
  throw new InputError("is neither the text of lspci -xxxx or -vvv nor a machine description in JSON", { file });
}

function ofDescription(machine: MachineDescription, warnings: readonly string[], file: string): MachineInput {
  if (machine.devices.every(({ capabilities, pcie }) => capabilities.length === 0 && pcie === undefined)) {
    throw new InputError(
      "has no capability of any function; expected what root's lspci -vvv or -xxxx shows, without which groups cannot be told",
      { file },
    );
  }
  const titles = machine.devices.flatMap(({ bdf, title }) => (title === undefined ? [] : [[bdf, title] as const]));
  return { functions: describedFunctions(machine), titles: new Map(titles), warnings };
}
