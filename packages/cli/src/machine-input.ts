import { InputError } from "@iommu-lab/core";
import {
  type MachineDescription,
  type MachineFunction,
  describedFunctions,
  parseLspciDump,
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
const CAPABILITY_LINE = /^\s+Capabilities: /m;

/**
 * Reads a machine: an `lspci -xxxx` dump, or a machine description in JSON, told apart by what they look like.
 *
 * @throws InputError when it is neither, or cannot be read
 */
export function readMachine(file: string): MachineInput {
  const text = readText(file);
  if (/^\uFEFF?\s*\{/.test(text)) {
    return ofDescription(parseMachineJson(text, file), [], file);
  }
  if (HEX_LINE.test(text)) {
    const { functions, warnings } = parseLspciDump(text, file);
    const titles = functions.flatMap(({ bdf, header }) => (header === undefined ? [] : [[bdf, header] as const]));
    return { functions, titles: new Map(titles), warnings };
  }
  if (CAPABILITY_LINE.test(text)) {
    throw new InputError("is decoded text; expected lspci -xxxx, whose bytes tell all", { file });
  }
  throw new InputError("is neither the text of lspci -xxxx nor a machine description in JSON", { file });
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
