import { inspectFunction, parseLspciDump } from "@iommu-lab/pci";
import { type Command, Option } from "commander";
import pico from "picocolors";
import { readText } from "./files.ts";
import { formatInspection } from "./inspect-text.ts";
import { colourful, emit } from "./output.ts";

interface InspectFlags {
  readonly format: "table" | "json";
  readonly output?: string;
}

/** `iommu-lab inspect`. */
export function addInspect(program: Command): void {
  program
    .command("inspect")
    .description("decode an lspci -xxxx dump: ids, capabilities, and what matters for ATS")
    .argument("<file>", "output of lspci -xxxx (or -xxx, -x)")
    .addOption(new Option("-f, --format <format>", "output format").choices(["table", "json"]).default("table"))
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      "\nExamples:\n  lspci -xxxx > lspci.txt && iommu-lab inspect lspci.txt\n  iommu-lab inspect lspci.txt --format json",
    )
    .action((file: string, flags: InspectFlags) => {
      const dump = parseLspciDump(readText(file), file);
      const functions = dump.functions.map(({ bdf, bytes }) => inspectFunction(bdf, bytes));
      const { warnings } = dump;
      if (flags.format === "json") {
        const document = { schema: "iommu-lab/inspect@1", file, functions, warnings };
        emit(`${JSON.stringify(document, undefined, 2)}\n`, flags.output);
        return;
      }
      emit(formatInspection(functions, warnings, pico.createColors(colourful(flags.output))), flags.output);
    });
}
