import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "@iommu-lab/core";
import type { Explanation } from "./explained.ts";
import { parseExplanations } from "./explained.ts";
import type { Recording } from "./recording.ts";
import { RECORDING_SCHEMA, kernelVersion, parseRecording, schemaOf } from "./recording.ts";
import { replay } from "./replay.ts";
import type { FileReport, TruthReport } from "./report.ts";
import { summarize } from "./report.ts";

/** Kernels that every vendor has a driver of. */
const driven: ReadonlySet<string> = new Set(["6.12", "7.2"]);

/** The recordings committed with this package. */
export const RECORDINGS: string = fileURLToPath(new URL("../recordings", import.meta.url));

/** The understood differences committed with this package. */
export function committedExplanations(): readonly Explanation[] {
  const file = fileURLToPath(new URL("../explained.json", import.meta.url));
  return parseExplanations(readFileSync(file, "utf8"), path.basename(file));
}

/**
 * Replays every recording of a directory.
 *
 * @throws InputError when the directory cannot be read or holds no JSON file
 */
export function runTruth(directory: string, explanations: readonly Explanation[]): TruthReport {
  if (!existsSync(directory)) {
    throw new InputError("no such directory", { file: directory });
  }
  const files = readdirSync(directory)
    .filter((file) => file.endsWith(".json"))
    .toSorted();
  if (files.length === 0) {
    throw new InputError("no recordings here: expected files such as vtd-sm-fsts-7.2.json", { file: directory });
  }
  return summarize(files.map((file) => runFile(directory, file, explanations)));
}

/** One file; what is wrong with it goes into the report, so that the others still run. */
function runFile(directory: string, file: string, explanations: readonly Explanation[]): FileReport {
  const report: FileReport = { file, reason: undefined, error: undefined, phases: [] };
  try {
    const text = readFileSync(path.join(directory, file), "utf8");
    const schema = schemaOf(text);
    if (schema !== RECORDING_SCHEMA) {
      return { ...report, reason: foreign(schema) };
    }
    const recording = parseRecording(text, file);
    const reason = unsupported(recording);
    if (reason !== undefined) {
      return { ...report, reason };
    }
    return { ...report, phases: replay(recording, readDump(directory, recording), explanations) };
  } catch (error) {
    if (error instanceof InputError) {
      return { ...report, error: error.message };
    }
    throw error;
  }
}

function foreign(schema: string | undefined): string {
  if (schema === undefined) {
    return "not a recording: it names no schema";
  }
  return schema.startsWith("iommu-oracle-qtest/")
    ? "table vectors are not replayed by this version"
    : `schema ${schema} is not read by this version`;
}

function unsupported(recording: Recording): string | undefined {
  const version = kernelVersion(recording.kernel);
  return driven.has(version) ? undefined : `kernel ${version} is not modelled by this version`;
}

/** The dump of config space that belongs to a recording. */
function readDump(directory: string, recording: Recording): { readonly text: string; readonly file: string } {
  const file = `${recording.name}.lspci-xxxx.txt`;
  const full = path.join(directory, file);
  if (!existsSync(full)) {
    throw new InputError(`needs ${file} beside it, the dump of config space`, { file: recording.file });
  }
  return { text: readFileSync(full, "utf8"), file };
}
