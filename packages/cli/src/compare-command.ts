import { InputError } from "@iommu-lab/core";
import { compare, defaultViews, formatMarkdown, formatTable, views } from "@iommu-lab/matrix";
import type { Cell, DeviceUnderTest, NamedPolicy, Scenario } from "@iommu-lab/scenario";
import { accelerator, atsLifecycle, deviceFromDump, nic } from "@iommu-lab/scenario";
import type { Command } from "commander";
import { Option } from "commander";
import pico from "picocolors";
import { backendsNamed } from "./backends.ts";
import { readText, splitDevice } from "./files.ts";
import { colourful, emit, progress } from "./output.ts";
import { policies } from "./policies.ts";

/** The scenarios that the command knows. */
export const scenarios: readonly Scenario[] = [atsLifecycle];

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
  const scenario = scenarios.find(({ id }) => id === name);
  if (scenario === undefined) {
    throw new InputError(
      `unknown scenario ${JSON.stringify(name)}: expected one of ${scenarios.map(({ id }) => id).join(", ")}`,
    );
  }
  const shown = flags.show.map((id) => {
    const view = views.find((candidate) => candidate.id === id);
    if (view === undefined) {
      throw new InputError(`unknown view ${JSON.stringify(id)}: expected one of ${views.map((v) => v.id).join(", ")}`);
    }
    return view;
  });
  const comparison = compare(scenario, {
    backends: backendsNamed(flags.backend),
    devices: flags.device.length === 0 ? [nic, accelerator] : flags.device.map(deviceNamed),
    kernels: flags.kernel.length === 0 ? ["7.2"] : flags.kernel,
    policies: flags.policy.map(policyNamed),
    cmdline: flags.cmdline,
    onColumn: (id, index, count) => {
      progress(`measuring ${index + 1}/${count} ${id}`);
    },
  });
  progress(undefined);
  const chosen = shown.length === 0 ? defaultViews : shown;
  if (flags.format === "json") {
    emit(`${JSON.stringify(comparison, undefined, 2)}\n`, flags.output);
  } else if (flags.format === "markdown") {
    emit(formatMarkdown(comparison, chosen), flags.output);
  } else {
    const colours = pico.createColors(colourful(flags.output));
    const paint = (text: string, cell: Cell): string => paintCell(text, cell, colours);
    emit(formatTable(comparison, chosen, { paint, heading: colours.bold, why: flags.why }), flags.output);
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

function deviceNamed(argument: string): DeviceUnderTest {
  const builtIn = [nic, accelerator].find(({ id }) => id === argument);
  if (builtIn !== undefined) {
    return builtIn;
  }
  const { file, bdf } = splitDevice(argument);
  return deviceFromDump(readText(file), file, bdf);
}

function policyNamed(name: string): NamedPolicy {
  const found = policies.find(({ id }) => id === name);
  if (found === undefined) {
    throw new InputError(
      `unknown policy ${JSON.stringify(name)}: expected one of ${policies.map(({ id }) => id).join(", ")}`,
    );
  }
  return found;
}
