import process from "node:process";
import { InputError } from "@iommu-lab/core";
import { Command, CommanderError } from "commander";
import { addCompare } from "./compare-command.ts";
import { addInspect } from "./inspect-command.ts";
import { addList } from "./list-command.ts";

/** Exit codes: 0 fine, 1 an expectation failed, 2 bad input, 3 only unknowns stood in the way. */
const BAD_INPUT = 2;

const program = new Command("iommu-lab")
  .description("When is ATS on, who can still reach memory, what goes out on the wire? Measured on three IOMMUs.")
  .exitOverride()
  .configureHelp({ sortSubcommands: true })
  .addHelpText("after", "\nExamples:\n  iommu-lab compare ats-lifecycle\n  iommu-lab inspect lspci.txt");
addCompare(program);
addInspect(program);
addList(program);

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") {
    process.exit(0);
  }
  throw error;
});

try {
  program.parse();
} catch (error) {
  if (error instanceof InputError) {
    process.stderr.write(`iommu-lab: ${error.message}\n`);
    process.exitCode = BAD_INPUT;
  } else if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : BAD_INPUT;
  } else {
    throw error;
  }
}
