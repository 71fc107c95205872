import type { Cell } from "@iommu-lab/scenario";
import type { Column, Comparison } from "./comparison.ts";

/** One thing that a table shows of every cell. */
export interface View {
  /** What it is chosen by. */
  readonly id: string;
  /** Heading of its tables. */
  readonly title: string;
  /** The words in a cell. */
  text(cell: Cell): string;
}

function word(on: boolean): string {
  return on ? "on" : "off";
}

/** What tables can show, one table each. */
export const views: readonly View[] = [
  {
    id: "summary",
    title: "ATS Enable, what the RID is attached to, and what a forged Translated write does",
    text: (cell) => `${word(cell.ats.enabled)} ${cell.domain}, forged ${cell.hostile.translated.forged}`,
  },
  {
    id: "ats",
    title: "ATS Enable in config space, and what the RID is attached to",
    text: (cell) => `${word(cell.ats.enabled)} ${cell.domain}`,
  },
  {
    id: "forged",
    title: "Hostile device: a forged Translated write to a page no domain maps",
    text: (cell) => cell.hostile.translated.forged,
  },
  {
    id: "stale",
    title: "Hostile device: the replay of a translation it once got",
    text: (cell) => cell.hostile.translated.stale,
  },
  {
    id: "untranslated",
    title: "Honest device: an Untranslated write to its buffer",
    text: (cell) => cell.honest.untranslated.write,
  },
  {
    id: "cxl",
    title: "Honest device: a CXL.cache write (only a device with CXL.cache sends it)",
    text: (cell) => cell.honest.cxlCache,
  },
];

/** What is shown when nothing else is asked for. */
export const defaultViews: readonly View[] = views.filter(({ id }) => id === "summary" || id === "cxl");

/** The text of a cell in a view: the value, or why there is none. */
export function cellText(cell: Cell, view: View): string {
  if (cell.status === "not-applicable") {
    return "not-applicable";
  }
  const text = view.text(cell);
  if (cell.status === "measured") {
    return text;
  }
  return `${text} [step ${cell.errno ?? cell.status}]`;
}

/** How a table is written. */
export interface TableStyle {
  /** Paints a cell; the text must keep its width. Default: as it is. */
  readonly paint?: (text: string, cell: Cell, view: View) => string;
  /** Paints a heading. Default: as it is. */
  readonly heading?: (text: string) => string;
  /** Whether every decision is told, or only why a step was refused and why ATS never came on. Default false. */
  readonly why?: boolean;
}

/** Columns of one device side by side; a table per view and device. */
export function formatTable(
  comparison: Comparison,
  shown: readonly View[] = defaultViews,
  style: TableStyle = {},
): string {
  const heading = style.heading ?? ((text: string): string => text);
  const lines: string[] = [];
  const devices = [...new Set(comparison.columns.map(({ device }) => device))];
  lines.push(heading(`${comparison.scenario.title}: ${comparison.scenario.question}`));
  for (const view of shown) {
    for (const device of devices) {
      const columns = comparison.columns.filter((column) => column.device === device);
      if (empty(comparison, columns, view)) {
        continue;
      }
      lines.push("", heading(`${view.title} — ${deviceTitle(columns)}`));
      lines.push(...gridOf(comparison, columns, view, style));
    }
  }
  lines.push("", ...notesOf(comparison, heading, style.why ?? false));
  return `${lines.join("\n")}\n`;
}

/** A device that never sends such a request needs no table of it. */
function empty(comparison: Comparison, columns: readonly Column[], view: View): boolean {
  const ids = new Set(columns.map(({ id }) => id));
  const cells = comparison.cells.filter((cell) => ids.has(cell.column) && cell.status !== "not-applicable");
  return cells.every((cell) => view.text(cell) === "not-sent");
}

function deviceTitle(columns: readonly Column[]): string {
  const [first] = columns;
  if (first === undefined) {
    return "";
  }
  return first.atsRequired ? `${first.device} (ATS-required)` : first.device;
}

/** The heading of a column: the backend, with kernel and policies where columns differ in them. */
function columnTitle(column: Column, all: readonly Column[]): string {
  const kernels = new Set(all.map(({ kernel }) => kernel));
  const extra = kernels.size > 1 ? ` ${column.kernel}` : "";
  return [`${column.backend}${extra}`, ...column.policies].join("+");
}

function gridOf(comparison: Comparison, columns: readonly Column[], view: View, style: TableStyle): string[] {
  const rows = comparison.steps.map((step) => ({
    step: step.id,
    cells: columns.map((column) => comparison.cells.find((cell) => cell.step === step.id && cell.column === column.id)),
  }));
  const titles = columns.map((column) => columnTitle(column, comparison.columns));
  const stepWidth = Math.max(4, ...rows.map(({ step }) => step.length));
  const widths = titles.map((title, index) =>
    Math.max(title.length, ...rows.map(({ cells }) => textOf(cells[index], view).length)),
  );
  const lines = [
    `  ${"step".padEnd(stepWidth)}  ${titles.map((title, i) => title.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd(),
  ];
  lines.push(`  ${"-".repeat(stepWidth)}  ${widths.map((width) => "-".repeat(width)).join("  ")}`);
  for (const { step, cells } of rows) {
    const texts = cells.map((cell, index) => {
      const text = textOf(cell, view);
      const painted = cell === undefined || style.paint === undefined ? text : style.paint(text, cell, view);
      return painted + " ".repeat((widths[index] ?? 0) - text.length);
    });
    lines.push(`  ${step.padEnd(stepWidth)}  ${texts.join("  ")}`.trimEnd());
  }
  return lines;
}

function textOf(cell: Cell | undefined, view: View): string {
  return cell === undefined ? "unknown" : cellText(cell, view);
}

/** Refused steps and what decided, by column. */
function notesOf(comparison: Comparison, heading: (text: string) => string, why: boolean): string[] {
  const lines: string[] = [];
  for (const column of comparison.columns) {
    const own = comparison.cells.filter((cell) => cell.column === column.id);
    const failed = own.filter((cell) => cell.status === "refused" || cell.status === "unknown");
    const told = failed.map((cell) => `${cell.step} ${cell.status}: ${cell.note ?? cell.errno ?? ""}`);
    if (why || own.every((cell) => !cell.ats.enabled)) {
      told.push(...column.notes);
    }
    if (told.length > 0) {
      lines.push(heading(column.id), ...told.map((text) => `  ${text}`));
    }
  }
  return lines;
}

/** The same as Markdown. */
export function formatMarkdown(comparison: Comparison, shown: readonly View[] = defaultViews): string {
  const lines = [`# ${comparison.scenario.title}`, "", comparison.scenario.question];
  for (const view of shown) {
    lines.push("", `## ${view.title}`, "");
    lines.push(`| step | ${comparison.columns.map(({ id }) => id).join(" | ")} |`);
    lines.push(`| --- | ${comparison.columns.map(() => "---").join(" | ")} |`);
    for (const step of comparison.steps) {
      const texts = comparison.columns.map((column) =>
        textOf(
          comparison.cells.find((cell) => cell.step === step.id && cell.column === column.id),
          view,
        ),
      );
      lines.push(`| ${step.id} | ${texts.join(" | ")} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}
