import { InputError } from "@iommu-lab/core";
import { inspectFunction, parseLspciDump } from "@iommu-lab/pci";
import { type Command, Option } from "commander";
import pico from "picocolors";
import { asJson, asText } from "./decode-command.ts";
import { readBytes } from "./files.ts";
import { firmwareTable } from "./firmware-table.ts";
import { formatInspection } from "./inspect-text.ts";
import { hasConfigBytes } from "./machine-input.ts";
import { colourful, emit } from "./output.ts";

interface InspectFlags {
  readonly format: "table" | "json";
  readonly output?: string;
}

/** `iommu-lab inspect`. */
export function addInspect(program: Command): void {
  program
    .command("inspect")
    .description("decode an lspci -xxxx dump or an ACPI table of firmware (CEDT, DMAR, IORT, IVRS)")
    .argument("<file>", "output of lspci -xxxx (or -xxx, -x), or a file of /sys/firmware/acpi/tables")
    .addOption(new Option("-f, --format <format>", "output format").choices(["table", "json"]).default("table"))
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      "\nExamples:\n  lspci -xxxx > lspci.txt && iommu-lab inspect lspci.txt\n  iommu-lab inspect lspci.txt --format json\n  iommu-lab inspect /sys/firmware/acpi/tables/CEDT",
    )
    .action((file: string, flags: InspectFlags) => {
      const bytes = readBytes(file);
      const table = firmwareTable(bytes, file);
      if (table !== undefined) {
        const decoded = table.decode(bytes, file);
        emit(flags.format === "json" ? asJson(table.kind, bytes, decoded) : asText(decoded, true), flags.output);
        return;
      }
      const text = new TextDecoder().decode(bytes);
      if (!hasConfigBytes(text)) {
        throw new InputError(
          "is neither the text of lspci -xxxx nor an ACPI table; decoded text (lspci -vvv) and machine descriptions are read by groups",
          { file },
        );
      }
      const dump = parseLspciDump(text, file);
      const functions = dump.functions.map((one) => inspectFunction(one.bdf, one.bytes));
      const { warnings } = dump;
      if (flags.format === "json") {
        const document = { schema: "iommu-lab/inspect@1", file, functions, warnings };
        emit(`${JSON.stringify(document, undefined, 2)}\n`, flags.output);
        return;
      }
      emit(formatInspection(functions, warnings, pico.createColors(colourful(flags.output))), flags.output);
    });
}
