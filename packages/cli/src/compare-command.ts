import { assemble, defaultViews, formatMarkdown, formatTable, measureColumn, views } from "@iommu-lab/matrix";
import type { Cell } from "@iommu-lab/scenario";
import type { Command } from "commander";
import { Option } from "commander";
import pico from "picocolors";
import { named, planOf } from "./compare-request.ts";
import { colourful, emit, progress } from "./output.ts";

interface CompareFlags {
  readonly backend: string[];
  readonly device: string[];
  readonly kernel: string[];
  readonly policy: string[];
  readonly cmdline: string;
  readonly show: string[];
  readonly why: boolean;
  readonly format: "table" | "json" | "markdown";
  readonly output?: string;
}

function list(value: string, before: string[]): string[] {
  return [...before, ...value.split(",").filter((part) => part !== "")];
}

function one(value: string, before: string[]): string[] {
  return [...before, value];
}

/** `iommu-lab compare`. */
export function addCompare(program: Command): void {
  program
    .command("compare")
    .description("play a scenario on every IOMMU and print, side by side, what was measured")
    .argument("<scenario>", "name of a scenario (see: iommu-lab list scenarios)")
    .option("-b, --backend <names>", "backends, comma separated (default: all)", list, [])
    .option(
      "-d, --device <file[@bdf]>",
      "device under test: nic, accelerator, or a function of an lspci -xxxx dump",
      one,
      [],
    )
    .option("-k, --kernel <versions>", "kernel versions, comma separated (default: 7.2)", list, [])
    .option("-p, --policy <names>", "policies instead of the shipped ones (see: iommu-lab list policies)", list, [])
    .option("--cmdline <words>", "more kernel parameters", "")
    .option("--why", "tell every rule that decided, with its source", false)
    .option(
      "--show <views>",
      `tables to print: ${views.map(({ id }) => id).join(", ")} (default: ${defaultViews.map(({ id }) => id).join(", ")})`,
      list,
      [],
    )
    .addOption(
      new Option("-f, --format <format>", "output format").choices(["table", "json", "markdown"]).default("table"),
    )
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      `
Examples:
  iommu-lab compare ats-lifecycle
  iommu-lab compare ats-lifecycle --backend arm-smmuv3,amd-vi --device accelerator --why
  iommu-lab compare ats-lifecycle --device lspci.txt@11:00.0 --format json -o result.json
  iommu-lab compare ats-lifecycle --backend amd-vi --cmdline mem_encrypt=on
  iommu-lab compare ats-lifecycle --backend intel-vtd:scalable --policy vtd-track-pasids`,
    )
    .action((name: string, flags: CompareFlags) => {
      run(name, flags);
    });
}

function run(name: string, flags: CompareFlags): void {
  const shown = flags.show.length === 0 ? defaultViews : flags.show.map((id) => named("view", views, id));
  const plan = planOf({
    scenario: name,
    backends: flags.backend,
    devices: flags.device,
    kernels: flags.kernel,
    policies: flags.policy,
    cmdline: flags.cmdline,
  });
  const measured = plan.columns.map((planned, index) => {
    progress(`measuring ${index + 1}/${plan.columns.length} ${planned.subject.id}`);
    const column = measureColumn(plan.scenario, planned);
    // A cell is measured where it is read; reading here what will be printed keeps the progress true.
    for (const cell of column.cells) {
      if (flags.format === "json") {
        JSON.stringify(cell);
      } else {
        shown.forEach((view) => view.text(cell));
      }
    }
    return column;
  });
  progress(undefined);
  const comparison = assemble(plan.scenario, measured);
  if (flags.format === "json") {
    emit(`${JSON.stringify(comparison, undefined, 2)}\n`, flags.output);
  } else if (flags.format === "markdown") {
    emit(formatMarkdown(comparison, shown), flags.output);
  } else {
    const colours = pico.createColors(colourful(flags.output));
    const paint = (text: string, cell: Cell): string => paintCell(text, cell, colours);
    emit(formatTable(comparison, shown, { paint, heading: colours.bold, why: flags.why }), flags.output);
  }
}

function paintCell(text: string, cell: Cell, colours: ReturnType<typeof pico.createColors>): string {
  if (cell.status === "not-applicable") {
    return colours.dim(text);
  }
  if (text.startsWith("ok") || text.startsWith("on")) {
    return colours.yellow(text);
  }
  return text.startsWith("off") || text.startsWith("not-sent") ? colours.dim(text) : colours.green(text);
}
