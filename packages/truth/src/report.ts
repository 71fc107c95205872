import type pc from "picocolors";
import type { CommandVerdict, Difference } from "./compare.ts";

/** The palette of the output. */
export type Colors = ReturnType<typeof pc.createColors>;

/** What a comparison came to. */
export type Verdict = "agree" | "explained" | "differ" | "not yet";

/** A difference, and its cause when it is understood. */
export interface ReportedDifference extends Difference {
  readonly role: string;
  readonly cause: string | undefined;
}

/** One phase of a recording. */
export interface PhaseReport {
  readonly index: number;
  readonly name: string;
  readonly verdict: Verdict;
  /** Why it could not be replayed; only with `not yet`. */
  readonly reason: string | undefined;
  /** Steps that the recording took between two phases, without recording them. */
  readonly prepared: readonly string[];
  readonly differences: readonly ReportedDifference[];
  /** How the commands of its attaches compare; a difference is among the others as well. */
  readonly commands: CommandVerdict;
}

/** One file. */
export interface FileReport {
  readonly file: string;
  /** Why nothing of it was replayed. */
  readonly reason: string | undefined;
  /** What is wrong with it; it is then not replayed. */
  readonly error: string | undefined;
  readonly phases: readonly PhaseReport[];
}

/** The whole run. */
export interface TruthReport {
  readonly schema: "iommu-lab/truth@1";
  readonly files: readonly FileReport[];
  readonly totals: Readonly<Record<Verdict, number>>;
  /** Phases by how the commands of their attaches compare. */
  readonly commands: Readonly<Record<CommandVerdict, number>>;
}

/** Adds up. A file that was not replayed counts as one `not yet`. */
export function summarize(files: readonly FileReport[]): TruthReport {
  const totals: Record<Verdict, number> = { agree: 0, explained: 0, differ: 0, "not yet": 0 };
  const commands: Record<CommandVerdict, number> = { agree: 0, differ: 0, none: 0 };
  for (const file of files) {
    totals["not yet"] += file.reason === undefined ? 0 : 1;
    for (const phase of file.phases) {
      totals[phase.verdict] += 1;
      if (phase.verdict !== "not yet") {
        commands[phase.commands] += 1;
      }
    }
  }
  return { schema: "iommu-lab/truth@1", files, totals, commands };
}

/** 0 all agrees or is explained, 1 something differs, 2 a file could not be read. */
export function exitCode(report: TruthReport): 0 | 1 | 2 {
  if (report.files.some((file) => file.error !== undefined)) {
    return 2;
  }
  return report.totals.differ > 0 ? 1 : 0;
}

/** The report for people. */
export function formatReport(report: TruthReport, colors: Colors): string {
  const paint: Readonly<Record<Verdict, (text: string) => string>> = {
    agree: colors.green,
    explained: colors.yellow,
    differ: colors.red,
    "not yet": colors.dim,
  };
  const lines: string[] = [];
  for (const file of report.files) {
    lines.push(colors.bold(file.file));
    if (file.error !== undefined) {
      lines.push(`  ${colors.red("error")}      ${file.error}`);
    }
    if (file.reason !== undefined) {
      lines.push(`  ${paint["not yet"]("not yet")}    ${file.reason}`);
    }
    for (const phase of file.phases) {
      lines.push(
        `  ${paint[phase.verdict](phase.verdict.padEnd(9))}  ${phase.name}${phase.reason === undefined ? "" : colors.dim(`  (${phase.reason})`)}`,
      );
      lines.push(...phaseDetails(phase, colors));
    }
    lines.push("");
  }
  const { totals, commands } = report;
  lines.push(
    `${totals.agree} agree, ${totals.explained} explained, ${totals.differ} differ, ${totals["not yet"]} not yet`,
    `commands during attaches: ${commands.agree} agree, ${commands.differ} differ`,
  );
  return `${lines.join("\n")}\n`;
}

function phaseDetails(phase: PhaseReport, colors: Colors): string[] {
  const lines: string[] = [];
  if (phase.prepared.length > 0) {
    lines.push(colors.dim(`             before it, unrecorded: ${phase.prepared.join(", ")}`));
  }
  for (const difference of phase.differences) {
    lines.push(
      `             ${difference.role} ${difference.device}: ${difference.aspect}`,
      `               recorded ${difference.recorded}`,
      `               model    ${difference.model}`,
    );
    if (difference.cause !== undefined) {
      lines.push(colors.dim(`               because  ${difference.cause}`));
    }
  }
  if (phase.commands !== "none" && phase.verdict !== "not yet") {
    lines.push(colors.dim(`             commands ${phase.commands}`));
  }
  return lines;
}
