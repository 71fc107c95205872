import { kernels } from "@iommu-lab/core";
import { views } from "@iommu-lab/matrix";
import { accelerator, nic } from "@iommu-lab/scenario";
import { Argument, type Command, Option } from "commander";
import { backends } from "./backends.ts";
import { scenarios } from "./compare-request.ts";
import { layouts } from "./layouts.ts";
import { emit } from "./output.ts";
import { policies } from "./policies.ts";

interface Item {
  readonly id: string;
  readonly title: string;
}

const lists: Readonly<Record<string, () => readonly Item[]>> = {
  scenarios: () => scenarios.map(({ id, title, question }) => ({ id, title: `${title}. ${question}` })),
  backends: () => backends.map(({ id, title }) => ({ id, title })),
  kernels: () => kernels.map((id) => ({ id, title: "Linux as Debian packages it" })),
  policies: () => policies.map(({ id, title }) => ({ id, title })),
  devices: () => [nic, accelerator].map(({ id, title }) => ({ id, title })),
  layouts: () => layouts.map(({ kind, title, source }) => ({ id: kind, title: `${title} (${source})` })),
  views: () => views.map(({ id, title }) => ({ id, title })),
};

/** `iommu-lab list`. */
export function addList(program: Command): void {
  program
    .command("list")
    .description("what there is to choose from")
    .addArgument(new Argument("<what>", "which list").choices(Object.keys(lists)))
    .addOption(new Option("-f, --format <format>", "output format").choices(["table", "json"]).default("table"))
    .addHelpText("after", "\nExamples:\n  iommu-lab list backends\n  iommu-lab list policies --format json")
    .action((what: string, flags: { readonly format: string }) => {
      const items = lists[what]?.() ?? [];
      if (flags.format === "json") {
        emit(`${JSON.stringify({ schema: "iommu-lab/list@1", what, items }, undefined, 2)}\n`, undefined);
        return;
      }
      const width = Math.max(0, ...items.map(({ id }) => id.length));
      emit(items.map(({ id, title }) => `${id.padEnd(width)}  ${title}\n`).join(""), undefined);
    });
}
