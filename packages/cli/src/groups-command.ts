import { type ExplainedGroups, explainGroups, groupChanges, pciKernels, wayToIsolation } from "@iommu-lab/pci";
import { type Command, Option } from "commander";
import pico from "picocolors";
import { functionNamed, groupsRequest } from "./groups-request.ts";
import { type GroupsAnswer, formatGroups, formatGroupsMarkdown } from "./groups-text.ts";
import { readMachine } from "./machine-input.ts";
import { colourful, emit } from "./output.ts";

interface GroupsFlags {
  readonly why?: string;
  readonly whatIf: readonly string[];
  readonly kernel: string;
  readonly cmdline: string;
  readonly firmware: "acpi" | "device-tree";
  readonly iommu?: "amd-vi" | "arm-smmuv3" | "intel-vtd";
  readonly pchPeerDecode?: "on" | "off";
  readonly format: "table" | "json" | "markdown";
  readonly output?: string;
}

function one(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** `iommu-lab groups`. */
export function addGroups(program: Command): void {
  program
    .command("groups")
    .description("the IOMMU groups that Linux makes of a machine, each with its reason, and what would change them")
    .argument(
      "<file>",
      "output of lspci -xxxx or of lspci -vvv (as root), or a machine description in JSON; - is standard input",
    )
    .option("--why <bdf>", "tell every decision about one function, and what would make it alone")
    .option("--what-if <change>", "acs=on:BDF, acs=off:BDF or quirk=off: show what changes (may be repeated)", one, [])
    .addOption(new Option("-k, --kernel <version>", "kernel version").choices(versions()).default("7.2"))
    .option("--cmdline <words>", "kernel parameters, such as pci=disable_acs_redir=00:1c.0", "")
    .addOption(
      new Option("--firmware <kind>", "what tells the kernel of the IOMMU")
        .choices(["acpi", "device-tree"])
        .default("acpi"),
    )
    .addOption(
      new Option("--iommu <kind>", "whose IOMMU it is, where the functions do not tell").choices([
        "amd-vi",
        "arm-smmuv3",
        "intel-vtd",
      ]),
    )
    .addOption(
      new Option(
        "--pch-peer-decode <state>",
        "whether an old Intel PCH decodes peer requests, where the file does not tell",
      ).choices(["on", "off"]),
    )
    .addOption(
      new Option("-f, --format <format>", "output format").choices(["table", "json", "markdown"]).default("table"),
    )
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      `
Examples:
  sudo lspci -xxxx > lspci.txt && iommu-lab groups lspci.txt
  iommu-lab groups lspci.txt --why 03:00.0
  iommu-lab groups lspci.txt --what-if acs=on:00:1c.0 --what-if acs=on:00:1c.4
  iommu-lab groups lspci.txt --kernel 6.12 --firmware device-tree --iommu arm-smmuv3
  iommu-lab groups lspci.txt --cmdline pci=noats --format json`,
    )
    .action((file: string, flags: GroupsFlags) => {
      run(file, flags);
    });
}

function versions(): readonly string[] {
  return pciKernels.map((id) => id.replace("linux-", ""));
}

function run(file: string, flags: GroupsFlags): void {
  const { functions, titles, warnings } = readMachine(file);
  const request = groupsRequest({ ...flags, iommu: flags.iommu, pchPeerDecode: flags.pchPeerDecode }, functions);
  const why = flags.why === undefined ? undefined : functionNamed(flags.why, functions);
  const groups = explainGroups(functions, request.asIs);
  const after = request.whatIf === undefined ? undefined : explainGroups(functions, request.whatIf);
  const answer: GroupsAnswer = {
    file,
    titles,
    groups,
    warnings: [...warnings, ...groups.warnings.map(({ bdf, text }) => `${bdf}: ${text}`)],
    whatIf: after === undefined ? undefined : { assumed: flags.whatIf, changes: groupChanges(groups, after) },
    why: why === undefined ? undefined : { bdf: why, way: wayToIsolation(functions, why, request.asIs) },
  };
  if (flags.format === "json") {
    emit(`${JSON.stringify(documentOf(answer, after), undefined, 2)}\n`, flags.output);
  } else if (flags.format === "markdown") {
    emit(formatGroupsMarkdown(answer), flags.output);
  } else {
    emit(formatGroups(answer, pico.createColors(colourful(flags.output))), flags.output);
  }
}

/** `iommu-lab/groups@1`: groups as they are; with what-if also those after, and what changes. */
function documentOf(answer: GroupsAnswer, after: ExplainedGroups | undefined): object {
  const { file, groups, whatIf, why, warnings } = answer;
  return {
    schema: "iommu-lab/groups@1",
    file,
    kernel: groups.kernel,
    groups: groups.groups,
    withoutGroup: groups.withoutGroup,
    ...(whatIf === undefined ? {} : { whatIf: { ...whatIf, groups: after?.groups } }),
    ...(why === undefined ? {} : { why: { function: why.bdf, ...why.way } }),
    warnings,
  };
}
