import { InputError } from "@iommu-lab/core";
import { Argument, Command, CommanderError, Option } from "commander";
import pc from "picocolors";
import { exitCode, formatReport } from "./report.ts";
import { RECORDINGS, committedExplanations, runTruth } from "./run.ts";

const EXAMPLES = `
Examples:
  iommu-lab-truth                            replay the recordings of this package
  iommu-lab-truth ../shared/recordings       replay another directory
  iommu-lab-truth --format json | jq .totals

Exit code: 0 all agrees or is explained, 1 something differs, 2 a file could not be read.
`;

/** Where the command prints. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether the table may be coloured. Default: what the terminal can do. */
  readonly color?: boolean;
}

/**
 * The command `iommu-lab-truth`.
 *
 * @param argv words after the command's name
 * @returns the exit code: 0 fine, 1 something differs, 2 bad input
 */
export function runCommand(argv: readonly string[], output: Output): number {
  let code = 0;
  const program = new Command("iommu-lab-truth")
    .description(
      "Replays recordings of real kernels on the model and compares: driver, group, domain type, ATS, PASID and PRI " +
        "control words, the bytes of the IOMMU's tables, and the order of what happened.",
    )
    .addArgument(
      new Argument("[directory]", "recordings (CASE.json with CASE.lspci-xxxx.txt beside it)").default(
        RECORDINGS,
        "the recordings of this package",
      ),
    )
    .addOption(new Option("--format <format>", "how to print").choices(["table", "json"]).default("table"))
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({ writeOut: output.out, writeErr: output.err })
    .action((directory: string, options: { readonly format: "table" | "json" }) => {
      const report = runTruth(directory, committedExplanations());
      output.out(
        options.format === "json"
          ? `${JSON.stringify(report, undefined, 1)}\n`
          : formatReport(report, pc.createColors(output.color)),
      );
      code = exitCode(report);
    });
  try {
    program.parse(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? 0 : 2;
    }
    if (!(error instanceof InputError)) {
      throw error;
    }
    output.err(`iommu-lab-truth: ${error.message}\n`);
    return 2;
  }
  return code;
}
