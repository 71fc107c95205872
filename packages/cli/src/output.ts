import { writeFileSync } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { InputError } from "@iommu-lab/core";

/**
 * Writes a document to a file, or to standard output. A reader that went away (`| head`) is no error.
 *
 * @throws InputError when the file cannot be written
 */
export function emit(text: string, file: string | undefined): void {
  if (file !== undefined) {
    try {
      writeFileSync(file, text);
    } catch (error) {
      throw new InputError(`cannot be written: ${error instanceof Error ? error.message : String(error)}`, { file });
    }
    return;
  }
  process.stdout.write(text);
}

/** Whether colours may be used on standard output: on a terminal alone, whatever a CI machine's environment says. */
export function colourful(file: string | undefined): boolean {
  return file === undefined && isatty(1) && process.env["NO_COLOR"] === undefined;
}

/** Shows how far a long work is, on a terminal's error stream only; `undefined` wipes it. */
export function progress(text: string | undefined): void {
  if (process.stderr.isTTY) {
    process.stderr.write(`\r\u001B[2K${text ?? ""}`);
  }
}
