import process from "node:process";
import { InputError } from "@iommu-lab/core";
import { Command, CommanderError } from "commander";
import { addCompare } from "./compare-command.ts";
import { addDecode } from "./decode-command.ts";
import { addGroups } from "./groups-command.ts";
import { addInspect } from "./inspect-command.ts";
import { addList } from "./list-command.ts";

/** Exit codes: 0 fine, 1 an expectation failed, 2 bad input, 3 only unknowns stood in the way. */
const BAD_INPUT = 2;

/**
 * Runs the command.
 *
 * @param argv the words after the command's name
 * @returns the exit code
 */
export function runCommand(argv: readonly string[]): number {
  const program = new Command("iommu-lab")
    .description("When is ATS on, who can still reach memory, what goes out on the wire? Measured on three IOMMUs.")
    .exitOverride()
    .configureHelp({ sortSubcommands: true })
    .addHelpText("after", "\nExamples:\n  iommu-lab compare ats-lifecycle\n  iommu-lab inspect lspci.txt");
  addCompare(program);
  addDecode(program);
  addGroups(program);
  addInspect(program);
  addList(program);
  for (const command of program.commands) {
    command.exitOverride();
  }
  try {
    program.parse(argv, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof InputError) {
      process.stderr.write(`iommu-lab: ${error.message}\n`);
      return BAD_INPUT;
    }
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? 0 : BAD_INPUT;
    }
    throw error;
  }
}
