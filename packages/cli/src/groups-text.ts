import type { ExplainedGroups, GroupChange, GroupReason, WayToIsolation } from "@iommu-lab/pci";
import type pico from "picocolors";

type Colours = ReturnType<typeof pico.createColors>;

/** All that `iommu-lab groups` found. */
export interface GroupsAnswer {
  readonly file: string;
  readonly titles: ReadonlyMap<string, string>;
  readonly groups: ExplainedGroups;
  readonly warnings: readonly string[];
  /** What was assumed, as typed, and what it changes. */
  readonly whatIf: { readonly assumed: readonly string[]; readonly changes: readonly GroupChange[] } | undefined;
  readonly why: { readonly bdf: string; readonly way: WayToIsolation } | undefined;
}

const SHOWN_WARNINGS = 8;

/** The answer for people. */
export function formatGroups(answer: GroupsAnswer, colours: Colours): string {
  const parts: string[] = [];
  if (answer.why !== undefined) {
    parts.push(...whyLines(answer, answer.why.bdf, answer.why.way, colours));
  } else if (answer.whatIf === undefined) {
    parts.push(...tableLines(answer, colours));
  }
  if (answer.whatIf !== undefined) {
    parts.push(...changeLines(answer.whatIf.assumed, answer.whatIf.changes, colours));
  }
  parts.push(...answer.warnings.slice(0, SHOWN_WARNINGS).map((text) => colours.yellow(`warning: ${text}`)));
  if (answer.warnings.length > SHOWN_WARNINGS) {
    const more = answer.warnings.length - SHOWN_WARNINGS;
    parts.push(colours.yellow(`and ${plural(more, "more warning")}; --format json has all`));
  }
  return `${parts.join("\n").trimEnd()}\n`;
}

function tableLines({ file, groups, titles }: GroupsAnswer, colours: Colours): string[] {
  const count = groups.groups.reduce((sum, { members }) => sum + members.length, 0);
  const lines = [
    colours.bold(
      `${plural(groups.groups.length, "group")} of ${plural(count, "function")}, ${kernelName(groups.kernel)}: ${file}`,
    ),
  ];
  for (const [number, { members, reasons }] of groups.groups.entries()) {
    lines.push("", colours.bold(`group ${number}`));
    for (const member of members) {
      const title = titles.get(member);
      lines.push(`  ${member}${title === undefined ? "" : ` ${colours.dim(title)}`}`);
      lines.push(`    ${settled(reasons, member)}`);
    }
  }
  if (groups.withoutGroup.length > 0) {
    lines.push("", colours.bold("no group"));
    lines.push(...groups.withoutGroup.map((one) => `  ${one.function} ${one.reason}`));
  }
  return [...lines, ""];
}

/** What settled a member's place, with the hop before it where one decided. */
function settled(reasons: readonly GroupReason[], member: string): string {
  const own = reasons.filter((reason) => reason.member === member);
  const joins = own.filter(({ with: other }) => other !== undefined);
  const chosen = joins.length > 0 ? joins : own.slice(-1);
  return chosen.map(({ text }) => (text.startsWith(`${member} `) ? text.slice(member.length + 1) : text)).join("; ");
}

function whyLines({ groups, titles }: GroupsAnswer, bdf: string, way: WayToIsolation, colours: Colours): string[] {
  const number = groups.groups.findIndex(({ members }) => members.includes(bdf));
  const group = groups.groups[number];
  const title = titles.get(bdf);
  const heading = `${bdf}${title === undefined ? "" : ` ${title}`}`;
  if (group === undefined) {
    const reason = groups.withoutGroup.find((one) => one.function === bdf)?.reason ?? "";
    return [colours.bold(heading), `  no group: ${reason}`, ""];
  }
  const others = group.members.filter((member) => member !== bdf);
  const lines = [
    colours.bold(heading),
    `  group ${number}, ${kernelName(groups.kernel)}: ${others.length === 0 ? "alone" : `with ${others.join(", ")}`}`,
  ];
  lines.push(
    "",
    "  how the kernel got there:",
    ...group.reasons.filter(({ member }) => member === bdf).flatMap(reasonLines),
  );
  const companions = group.reasons.filter(({ member, with: other }) => member !== bdf && other !== undefined);
  if (companions.length > 0) {
    lines.push("", "  why the others are here:", ...companions.flatMap(reasonLines));
  }
  return [...lines, ...wayLines(bdf, way), ""];
}

function reasonLines(reason: GroupReason): string[] {
  const facts = [
    `rule ${reason.rule}`,
    ...(reason.hop === undefined ? [] : [`at ${reason.hop}`]),
    ...(reason.missing === undefined ? [] : [`missing ${reason.missing.join(", ")}`]),
    reason.source,
  ];
  return [`    ${reason.text}`, `      ${facts.join("; ")}`];
}

function wayLines(bdf: string, way: WayToIsolation): string[] {
  if (way.isolated && way.steps.length === 0) {
    return [];
  }
  const lines = ["", "  what would change it:"];
  for (const { hop, missing, members } of way.steps) {
    const left = members.length === 1 ? "alone" : `with ${members.filter((member) => member !== bdf).join(", ")}`;
    lines.push(`    ACS at ${hop} (${missing.join(", ")}): ${left}`);
  }
  if (way.obstacle !== undefined) {
    lines.push(`    no ACS setting separates the rest: ${way.obstacle.text}`);
  } else if (!way.isolated) {
    lines.push("    no ACS setting separates the rest");
  }
  if (way.steps.length > 0) {
    lines.push(`    try: ${way.steps.map(({ hop }) => `--what-if acs=on:${hop}`).join(" ")}`);
  }
  return lines;
}

function changeLines(assumed: readonly string[], changes: readonly GroupChange[], colours: Colours): string[] {
  const lines = [colours.bold(`what if ${assumed.join(", ")}`)];
  if (changes.length === 0) {
    return [...lines, "  no group changes", ""];
  }
  for (const { before, after } of changes) {
    lines.push(...before.map((members) => colours.red(`  - ${members.join(" ")}`)));
    lines.push(...after.map((members) => colours.green(`  + ${members.join(" ")}`)));
  }
  return [...lines, ""];
}

/** The answer as Markdown tables. */
export function formatGroupsMarkdown(answer: GroupsAnswer): string {
  const { groups, titles, whatIf, why } = answer;
  const lines = [
    `### IOMMU groups, ${kernelName(groups.kernel)}`,
    "",
    "| group | function | device | why |",
    "|---|---|---|---|",
  ];
  for (const [number, { members, reasons }] of groups.groups.entries()) {
    for (const member of why === undefined || members.includes(why.bdf) ? members : []) {
      lines.push(`| ${number} | ${member} | ${cell(titles.get(member) ?? "")} | ${cell(settled(reasons, member))} |`);
    }
  }
  lines.push(
    ...groups.withoutGroup.map(
      (one) => `| – | ${one.function} | ${cell(titles.get(one.function) ?? "")} | ${cell(one.reason)} |`,
    ),
  );
  if (whatIf !== undefined) {
    lines.push(
      "",
      `What if ${whatIf.assumed.map((word) => `\`${word}\``).join(", ")}:`,
      "",
      "| before | after |",
      "|---|---|",
    );
    lines.push(...whatIf.changes.map(({ before, after }) => `| ${sets(before)} | ${sets(after)} |`));
  }
  if (why !== undefined) {
    lines.push(
      "",
      ...wayLines(why.bdf, why.way)
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .map((line) => `- ${line}`),
    );
  }
  lines.push(...(answer.warnings.length > 0 ? [""] : []), ...answer.warnings.map((text) => `- warning: ${text}`));
  return `${lines.join("\n")}\n`;
}

function sets(groups: readonly (readonly string[])[]): string {
  return groups.map((members) => members.join(" ")).join("<br>");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

function kernelName(id: string): string {
  return id.replace("linux-", "Linux ");
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
